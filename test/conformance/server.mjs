// Global setup of the conformance run: starts a server, unless CONFORMANCE_TEST_URL names one, and gives the tests its
// URL.

import { startServer } from "../server.mjs"
import { AUTH_TOKEN, secretKey } from "../tokens.mjs"
import build from "../build.mjs"

/** The project of the suite, and the host at which a gateway serves it. */
const PROJECT = "suite"
const GATEWAY = `http://${PROJECT}.localhost`

/**
 * The server's variables for the mode in `AUTH`, and what its clients need to know.
 * @returns {{ vars: Record<string, string>, guard?: { token?: string, gateway?: Omit<import("./guarded.mjs").Gateway, "server"> } }}
 */
function guardOf(mode = "open") {
  const key = secretKey()
  const guards = {
    open: { vars: {} },
    token: { vars: { AUTH_TOKEN }, guard: { token: AUTH_TOKEN } },
    project: {
      vars: { PROJECT_KEYS: JSON.stringify({ [PROJECT]: { keys: [key] } }), PUBLIC_URL: "http://{project}.localhost" },
      guard: { gateway: { origin: GATEWAY, project: PROJECT, key } },
    },
  }
  if (!(mode in guards)) throw new Error(`AUTH must be one of ${Object.keys(guards).join(", ")}, not ${mode}`)
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
  // Limits so low that streams rotate constantly.
  const rotating = process.env.ROTATING ? { SEGMENT_MAX_APPENDS: "3", SEGMENT_MAX_BYTES: "200", SEGMENT_MIN_BYTES: "1" } : {}
  // The suite waits up to 5 seconds for a long-poll to time out.
  const { vars, guard } = guardOf(process.env.AUTH)
  // Its webhooks are on this machine.
  const own = { LONG_POLL_TIMEOUT_SECONDS: "2", ALLOW_LOCAL_WEBHOOKS: "1" }
  const server = await startServer({ vars: { ...own, ...rotating, ...vars } })
  const gateway = guard?.gateway && { ...guard.gateway, server: server.url }
  project.provide("baseUrl", gateway?.origin ?? server.url)
  if (guard) project.provide("guard", { ...guard, gateway })
  return () => server.dispose()
}
