// Runs what only workerd can show: tests against the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/platform/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    retry: 0,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
