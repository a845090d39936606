// The payloads of appends: each has a content type, a body and the requests that one writer sends.

import { MARK, request } from "../client/streams.mjs"

export const JSON_TYPE = "application/json"
export const BINARY_TYPE = "application/octet-stream"

/** A JSON message of exactly this many bytes. @param {number} bytes @param {string} [text] the message's text */
export function jsonMessage(bytes, text = "") {
  const around = `{"m":"${MARK}${text}"}`.length
  return Buffer.from(`{"m":"${MARK}${text}${"x".repeat(bytes - around)}"}`)
}

/** A batch: a JSON array of equal messages. */
export function jsonBatch(messages, bytes) {
  return Buffer.from(`[${Array(messages).fill(jsonMessage(bytes)).join(",")}]`)
}

/** Bytes of all values except the mark, which is the first byte only. */
export function binaryMessage(bytes) {
  const body = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; at += 1) body[at] = (at * 131) % 256
  for (let at = body.indexOf(MARK); at >= 0; at = body.indexOf(MARK, at + 1)) body[at] = 0
  body.write(MARK, 0)
  return body
}

/**
 * @typedef {object} Payload
 * @property {string} name
 * @property {string} title
 * @property {string} contentType
 * @property {number} messages number of messages per append
 * @property {(server: import("../targets/index.mjs").Process, path: string, writer: number) => () => Buffer} writer
 * returns a function that makes the next request of one writer
 */

/** The same request every time. @returns {Payload} */
function plain(name, title, contentType, body, messages = 1) {
  const writer = (server, path) => {
    const bytes = request(server, "POST", path, { "Content-Type": contentType }, body)
    return () => bytes
  }
  return { name, title, contentType, messages, writer }
}

/** @type {Payload} */
const producer = {
  name: "producer",
  title: "100 B JSON, producer headers",
  contentType: JSON_TYPE,
  messages: 1,
  writer: (server, path, writer) => {
    const body = jsonMessage(100)
    let seq = -1
    return () => {
      seq += 1
      const headers = { "Producer-Id": `writer-${writer}`, "Producer-Epoch": "0", "Producer-Seq": `${seq}` }
      return request(server, "POST", path, { "Content-Type": JSON_TYPE, ...headers }, body)
    }
  },
}

/** @type {Payload[]} */
export const payloads = [
  plain("json", "100 B JSON", JSON_TYPE, jsonMessage(100)),
  plain("binary", "1 kB binary", BINARY_TYPE, binaryMessage(1000)),
  producer,
  plain("batch", "batch of 100 × 100 B JSON", JSON_TYPE, jsonBatch(100, 100), 100),
]
