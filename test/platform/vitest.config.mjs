// Runs what only workerd can show: tests against the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/platform/**/*.test.mjs"],
    globalSetup: ["test/build.mjs", "test/platform/earlier.mjs"],
    reporters: ["default", new PlainReporter()],
    // Most of a test's time is waiting: two cores are enough for three at a time.
    maxWorkers: 3,
    retry: 0,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
