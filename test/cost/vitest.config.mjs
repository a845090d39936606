// Runs the tests of the bill's arithmetic and of the proxy in front of the measured worker. They need no worker.

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
