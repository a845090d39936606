// Checks the description of the HTTP API, and the built worker against it.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/openapi/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    retry: 0,
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
})
