// Global set-up of the conformance run: gives the tests the URL of a server, starting one unless told of one.

import { startServer } from "../server.mjs"
import { AUTH_TOKEN, secretKey } from "../tokens.mjs"
import build from "../build.mjs"

/** How a server is guarded, as `AUTH` says: its variables, and what its clients have to know. */
function guardOf(mode = "open") {
  const key = secretKey()
  const guards = {
    open: { vars: {} },
    token: { vars: { AUTH_TOKEN }, guard: { token: AUTH_TOKEN } },
    project: {
      vars: { PROJECT_KEYS: JSON.stringify({ suite: { keys: [key] } }) },
      guard: { project: "suite", key },
    },
  }
  if (!(mode in guards)) throw new Error(`AUTH is ${Object.keys(guards).join(", ")}, and not ${mode}`)
  return guards[mode]
}

/** @param {import("vitest/node").TestProject} project */
export default async function setup(project) {
  const given = process.env.CONFORMANCE_TEST_URL
  if (given) {
    project.provide("baseUrl", given)
    return
  }
  build()
  // So low that every stream rotates all the time.
  const rotating = process.env.ROTATING ? { SEGMENT_MAX_APPENDS: "3", SEGMENT_MAX_BYTES: "200", SEGMENT_MIN_BYTES: "1" } : {}
  // The suite waits for a long-poll to time out, and gives it 5 seconds.
  const { vars, guard } = guardOf(process.env.AUTH)
  // Its webhooks are on this machine.
  const own = { LONG_POLL_TIMEOUT_SECONDS: "2", ALLOW_LOCAL_WEBHOOKS: "1" }
  const server = await startServer({ vars: { ...own, ...rotating, ...vars } })
  project.provide("baseUrl", server.url)
  if (guard) project.provide("guard", guard)
  return () => server.dispose()
}
