// Runs the official conformance suite against CONFORMANCE_TEST_URL, or against a server that it starts.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/conformance/conformance.test.mjs"],
    globalSetup: ["test/conformance/server.mjs"],
    // Fail if the suite runs fewer tests.
    reporters: ["default", new PlainReporter({ tests: 338 })],
    retry: 0,
    testTimeout: 30_000,
  },
})
