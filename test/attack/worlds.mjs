// The three modes of a server from an attacker's view: which tokens exist, and who owns which streams.

import { createHash } from "node:crypto"
import { producer } from "../platform/support.mjs"
import { bearer, makeToken } from "../tokens.mjs"
import { STREAMS, inGeneration } from "./hostile-requests.mjs"

/** Bytes that only the innocent stream contains, so no response to an attacker may contain them. */
export const MARKER = "the innocent stream alone has this"

/** A fixed date far in the future, so that the same seed makes the same tokens. */
const NEVER = 4_000_000_000
const PAST = 1_500_000_000

/** The same key in each run. */
const keyOf = (name) => ({ kty: "oct", kid: "1", k: createHash("sha256").update(name).digest("base64url") })
export const tokenOf = (project, claims = {}) => makeToken(keyOf(project), { sub: project, exp: NEVER, ...claims })
export const projectKeys = (...names) => JSON.stringify(Object.fromEntries(names.map((name) => [name, { keys: [keyOf(name)] }])))

const unsigned = (header, claims) => `${[header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")}.`

function hostileTokens() {
  const key = keyOf("mallory")
  const of = (claims, header) => makeToken(key, { sub: "mallory", exp: NEVER, ...claims }, header)
  const right = of({})
  return [
    ...["", "a", "..", "a.b.c", "\x80", "null", "x".repeat(8192), "x".repeat(8193)],
    ...[right.slice(0, -1), right.slice(0, 20), `${right}.`, `${right}A`],
    ...[of({ exp: PAST }), of({ exp: `${NEVER}` }), of({ exp: 1e300 }), of({ exp: -1 }), of({ exp: undefined })],
    ...[of({ nbf: NEVER }), of({ nbf: "x" })],
    ...[of({ sub: "innocent" }), of({ sub: "eve" }), of({ sub: "" }), of({ sub: ["mallory"] }), of({ sub: "__registry__" })],
    of({ sub: "x".repeat(300) }),
    ...["", "read", "write", "manage", ["read"], "READ *"].map((scope) => of({ scope })),
    ...["mallory/json", "mallory/*", "*", "innocent/*"].map((stream) => of({ stream })),
    ...[of({ aud: "x" }), of({ iss: 1 }), of({}, { alg: "none" }), of({}, { alg: "RS256" }), of({}, { kid: "2" })],
    ...[of({}, { kid: { a: 1 } }), of({}, { crit: ["exp"] }), of({}, { b64: false })],
    ...[unsigned({ alg: "none" }, { sub: "innocent", scope: "read write manage", exp: NEVER }), of({ more: "x".repeat(5000) })],
    ...[tokenOf("eve"), makeToken(keyOf("another"), { sub: "mallory", exp: NEVER }), makeToken(key, { sub: "innocent", exp: NEVER })],
  ]
}

/** Each mode: the server's variables, the attacker's token, and the innocent client's stream and token. */
export const WORLDS = {
  open: { vars: {} },
  token: { vars: { AUTH_TOKEN: keyOf("token").k }, token: keyOf("token").k, innocentToken: keyOf("token").k },
  projects: {
    vars: { PROJECT_KEYS: projectKeys("mallory", "eve", "innocent") },
    token: tokenOf("mallory"),
    innocentToken: tokenOf("innocent"),
  },
}

for (const [mode, world] of Object.entries(WORLDS)) {
  world.hostileTokens = hostileTokens()
  world.innocentPath = "innocent/stream"
  // In the other modes every valid token may read all streams, so the attacker does not name the innocent one there.
  world.otherPaths = ["mallory/json", "mallory/text", "eve/json", ...(mode === "projects" ? [world.innocentPath, "innocent/__registry__"] : [])]
}

/** The headers of a request, with the token if there is one. */
export const withToken = (token, headers = {}) => ({ ...headers, ...(token ? bearer(token) : {}) })

/** Creates the streams that the requests of a generation name. */
export async function createStreams(server, { token }, generation) {
  const ask = (method, name, headers, rest) => {
    const stream = server.stream(inGeneration(`mallory/${name}`, generation))
    return stream.ask(method, { headers: withToken(token, headers), ...rest })
  }
  const flags = { closed: { "stream-closed": "true" } }
  for (const [name, type] of Object.entries(STREAMS)) {
    await ask("PUT", name, { "content-type": type, ...flags[name] }, { status: [200, 201] })
  }
  const shared = { "content-type": STREAMS.text, ...producer(0, { id: "shared", epoch: 5 }) }
  await ask("POST", "text", shared, { body: "once" })
  // It has a fork when it is deleted, so it stays as gone (410).
  await ask("PUT", "gone-fork", { "stream-forked-from": inGeneration("/v1/stream/mallory/gone", generation) })
  await ask("DELETE", "gone")
}
