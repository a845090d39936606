// Runs the clients of others, as npm and PyPI publish them, against the built worker: each does its whole job.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/clients/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    maxWorkers: 3,
    retry: 0,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
