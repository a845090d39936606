// Runs the standing attack: hostile requests, hostile tenants, and clients that stall, against the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/attack/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    // Memory and latency are measured: nothing else may run meanwhile.
    fileParallelism: false,
    retry: 0,
    testTimeout: 150_000,
    hookTimeout: 30_000,
  },
})
