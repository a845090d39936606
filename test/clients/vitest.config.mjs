// Runs clients by other authors, as published on npm and PyPI, against the built worker.

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
