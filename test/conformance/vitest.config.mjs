// Runs the official conformance suite against CONFORMANCE_TEST_URL, or against a server of its own.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

// Forks are answered 501 so far: the tests of these groups are counted as skipped, no others.
const withoutForks = /^(?!Fork - )/

export default defineConfig({
  test: {
    include: ["test/conformance/conformance.test.mjs"],
    globalSetup: ["test/conformance/server.mjs"],
    testNamePattern: withoutForks,
    // A suite that silently shrinks must not pass.
    reporters: ["default", new PlainReporter({ tests: 250, filter: withoutForks })],
    retry: 0,
    testTimeout: 30_000,
  },
})
