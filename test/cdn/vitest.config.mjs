// Runs what only a real cache in front of the built worker can show.

import { defineConfig } from "vitest/config"
import PlainReporter from "../reporter.mjs"

export default defineConfig({
  test: {
    include: ["test/cdn/**/*.test.mjs"],
    globalSetup: ["test/build.mjs"],
    reporters: ["default", new PlainReporter()],
    // Readers by the thousand and what is shown at some instant do not go together.
    fileParallelism: false,
    retry: 0,
    testTimeout: 150_000,
    hookTimeout: 30_000,
  },
})
