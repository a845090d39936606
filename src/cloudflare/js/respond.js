// Makes a response in one call from Rust, instead of two calls for each header.

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
 * Makes a response whose body counts against the budget until the client has read it. Returns undefined if there is no room.
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

/** The most kinds of responses in `last`, which is more than there are. */
const KINDS_MAX = 64

/** @type {Map<number, { headers: Headers, lines: string[] }>} the headers of the last response of each kind */
const last = new Map()

/**
 * The headers of a response, which the response copies. Two responses of one kind usually differ only in an offset or two, so
 * this changes the headers of the last one.
 * @param {number} status @param {string} headerLines
 */
function headersOf(status, headerLines) {
  const lines = headerLines.split("\n")
  const kind = status * 100 + lines.length
  const known = last.get(kind)
  if (known !== undefined && lines.every((line, at) => at % 2 === 1 || line === known.lines[at])) {
    // Not in the map while it changes: `set` throws on an invalid value, and would leave a mixture of two responses.
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
 * The same response with some headers replaced.
 * @param {Response} response
 * @param {string} headerLines as above; an empty value removes the header
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
 * Some headers as one string for the module: names and values in turn, each followed by a line feed, which no value contains.
 * @param {Headers} headers
 * @param {string[]} names
 */
export function headerLines(headers, names) {
  let lines = ""
  for (const name of names) {
    const value = headers.get(name)
    if (value !== null) lines += `${name}\n${value}\n`
  }
  return lines
}
