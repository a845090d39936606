// Global set-up of the conformance run: gives the tests the URL of a server, starting one unless told of one.

import { startServer } from "../server.mjs"
import build from "../build.mjs"

/** @param {import("vitest/node").TestProject} project */
export default async function setup(project) {
  const given = process.env.CONFORMANCE_TEST_URL
  if (given) {
    project.provide("baseUrl", given)
    return
  }
  build()
  // So low that every stream rotates all the time.
  const rotating = process.env.ROTATING ? { SEGMENT_MAX_MESSAGES: "3", SEGMENT_MAX_BYTES: "200" } : {}
  // The suite waits for a long-poll to time out, and gives it 5 seconds.
  const server = await startServer({ vars: { LONG_POLL_TIMEOUT_SECONDS: "2", ...rotating } })
  project.provide("baseUrl", server.url)
  return () => server.dispose()
}
