// Runs the tests that need a real cache in front of the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/cdn/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    // Thousands of readers would disturb the tests that depend on time.
    fileParallelism: false,
    retry: 0,
    testTimeout: 150_000,
    hookTimeout: 30_000,
  },
})
