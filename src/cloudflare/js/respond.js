// Makes a response in one call from Rust instead of two for each header.

import { budget } from "./budget.js"
import { sent } from "./sending.js"

/**
 * @param {number} status
 * @param {string} headerLines names and values in turn, each followed by a line feed
 * @param {Uint8Array<ArrayBuffer> | ReadableStream} [body]
 * @param {WebSocket} [webSocket]
 */
export function respond(status, headerLines, body, webSocket) {
  return new Response(body, { status, headers: headersOf(status, headerLines), webSocket })
}

/**
 * The same, of a body that counts until the client has read it; without room for it there is none.
 * @param {number} status
 * @param {string} headerLines as above
 * @param {Uint8Array} body that does not change
 * @param {string} tenant
 * @param {string} address
 * @returns {Response | undefined}
 */
export function respondCounted(status, headerLines, body, tenant, address) {
  const hold = budget.hold(body.byteLength, tenant, address)
  return hold && respond(status, headerLines, sent(body, hold).readable)
}

/** How many kinds of responses there are to be made again; there are fewer. */
const KINDS_MAX = 64

/** @type {Map<number, { headers: Headers, lines: string[] }>} the headers of the last response of each kind */
const last = new Map()

/**
 * Headers for one response, which copies them: one like the last of its kind differs in an offset or two.
 * @param {number} status @param {string} headerLines
 */
function headersOf(status, headerLines) {
  const lines = headerLines.split("\n")
  const kind = status * 100 + lines.length
  const known = last.get(kind)
  if (known !== undefined && lines.every((line, at) => at % 2 === 1 || line === known.lines[at])) {
    // Not known while it changes: a value that is no header's would leave it half another's.
    last.delete(kind)
    for (let at = 1; at < lines.length; at += 2) {
      if (lines[at] !== known.lines[at]) known.headers.set(lines[at - 1], lines[at])
    }
    known.lines = lines
    last.set(kind, known)
    return known.headers
  }
  const headers = new Headers()
  for (let at = 0; at + 1 < lines.length; at += 2) headers.set(lines[at], lines[at + 1])
  if (last.size >= KINDS_MAX) last.clear()
  last.set(kind, { headers, lines })
  return headers
}

/**
 * The same response with other headers.
 * @param {Response} response
 * @param {string} headerLines as above; each instead of the one of its name, which goes where the value is empty
 */
export function withHeaders(response, headerLines) {
  const headers = new Headers(response.headers)
  const lines = headerLines.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) {
    if (lines[at + 1] === "") headers.delete(lines[at])
    else headers.set(lines[at], lines[at + 1])
  }
  return new Response(response.body, { status: response.status, headers })
}

/**
 * Headers on their way into the module, in one call: names and values in turn, each followed by a line feed, which no value has.
 * @param {Headers} headers
 * @param {string[]} names of those that matter
 */
export function headerLines(headers, names) {
  let lines = ""
  for (const name of names) {
    const value = headers.get(name)
    if (value !== null) lines += `${name}\n${value}\n`
  }
  return lines
}
