// Runs the tests that need workerd against the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/platform/**/*.test.mjs"],
    globalSetup: ["test/build.mjs", "test/platform/earlier.mjs"],
    reporters: ["default", new PlainReporter()],
    // Tests mostly wait, so two cores can run three at a time.
    maxWorkers: 3,
    retry: 0,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
