// Runs the tests of the bill: its arithmetic, and the proxy it is measured behind. They need no worker.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/cost/**/*.test.mjs"],
    reporters: ["default", new PlainReporter()],
    retry: 0,
    testTimeout: 10_000,
  },
})
