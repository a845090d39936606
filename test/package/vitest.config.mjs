// Runs what a user without Rust runs: the packed npm package, its command, and the release.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/package/*.test.mjs"],
    globalSetup: ["test/package/pack.mjs"],
    reporters: ["default", new PlainReporter()],
    maxWorkers: 2,
    retry: 0,
    // Wrangler starts often, and slowly on a busy machine.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
