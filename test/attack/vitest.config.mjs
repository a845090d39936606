// Runs the standing attack against the built worker: hostile requests, hostile tenants, and clients that stall.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/attack/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    // The tests measure memory and latency, so nothing else may run meanwhile.
    fileParallelism: false,
    retry: 0,
    testTimeout: 150_000,
    hookTimeout: 30_000,
  },
})
