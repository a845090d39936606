// Serves requests to a stream that does not exist, once, before the first real request. V8 compiles each function of the
// module at its first call. The rehearsal moves this into the start of the isolate, which Cloudflare does during the client's
// TLS handshake.

import { Edge, StreamObject } from "./index.js"
import { respond } from "./respond.js"

const url = "https://rehearsal/v1/stream/a"
const body = new TextEncoder().encode('{"a":1}')

const NOTHING = new Uint8Array(0)

/** Storage that forgets all writes, and has one message to read. */
const storage = {
  sql: {
    exec: (/** @type {string} */ statement) => ({ raw: () => (statement.startsWith("SELECT key") ? [[0, 1, body.buffer]] : []) }),
  },
  transactionSync: (/** @type {() => void} */ change) => change(),
  setAlarm() {},
}

export function rehearse() {
  const { Response } = globalThis
  // Before the first request, the platform allows neither responses nor random numbers.
  globalThis.Response = /** @type {any} */ (class {})
  crypto.randomUUID = () => ""
  try {
    play()
  } finally {
    globalThis.Response = Response
    delete (/** @type {{ randomUUID?: unknown }} */ (crypto).randomUUID)
  }
}

function play() {
  const object = new StreamObject({ storage, getWebSockets: () => [] }, {})
  /** @param {string} method @param {string} query @param {Record<string, string>} [headers] */
  const answer = (method, query, headers) =>
    object.answer({ headers: new Headers(headers) }, method, url + query, NOTHING)
  /** @param {string} lines of headers */
  const append = (lines) => respond(...object.append(url, lines, body))
  const edge = new Edge({ ALLOW_OPEN: "1" })
  edge.passedOnTo("PUT", url)
  const lines = "content-type\napplication/json\n"
  answer("PUT", "", { "content-type": "application/json" })
  append(`${lines}producer-id\na\nproducer-epoch\n0\nproducer-seq\n0\n`)
  append(lines)
  answer("GET", "?offset=-1")
  answer("GET", "?offset=now")
  answer("HEAD", "")
  edge.free()
  object.free()
}
