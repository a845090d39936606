// Runs the official conformance suite against CONFORMANCE_TEST_URL, or against a server of its own.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/conformance/conformance.test.mjs"],
    globalSetup: ["test/conformance/server.mjs"],
    // A suite that silently shrinks must not pass.
    reporters: ["default", new PlainReporter({ tests: 332 })],
    retry: 0,
    testTimeout: 30_000,
  },
})
