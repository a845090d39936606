// Runs the code blocks of README.md and docs/ against the built worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/docs/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    // Most of a page's time is waiting: the files run at once, and four pages.
    maxWorkers: 2,
    maxConcurrency: 4,
    retry: 0,
    testTimeout: 120_000,
    hookTimeout: 30_000,
  },
})
