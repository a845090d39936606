// Catch-up: how fast a reader gets all of a large stream, following Stream-Next-Offset.

import { p50 } from "../client/load.mjs"
import { append, countMessages, create, openConnections, readAll } from "../client/streams.mjs"
import { BINARY_TYPE, JSON_TYPE, binaryMessage, jsonBatch } from "./payloads.mjs"

/** An append of 100 kB: 1,000 messages of JSON, or one of bytes. */
const APPEND_BYTES = 100_000

const kinds = [
  { title: "JSON", contentType: JSON_TYPE, body: jsonBatch(1000, APPEND_BYTES / 1000 - 1), messages: 1000 },
  { title: "binary", contentType: BINARY_TYPE, body: binaryMessage(APPEND_BYTES), messages: 1 },
]

export const figures = [{ name: "catch-up", title: "Catch-up of 10 MB", unit: "MB/s", better: "higher" }]

async function run(server, plan) {
  const rates = {}
  for (const kind of kinds) rates[kind.title] = await rate(server, plan, kind)
  return { "catch-up": rates }
}

/** The same bytes are counted for every server: those that were appended. */
async function rate(server, plan, { contentType, body, messages }) {
  const [connection] = await openConnections(server, 1)
  const path = await create(connection, server, contentType)
  const appends = Math.ceil(plan.catchUpBytes / APPEND_BYTES)
  for (let count = 0; count < appends; count += 1) await append(connection, server, path, contentType, body)

  const warmUp = await readAll(connection, server, path)
  const count = countMessages(warmUp)
  if (count !== appends * messages) throw new Error(`${count} messages of ${appends * messages} came back`)
  const bytes = sizeOf(warmUp)
  const seconds = []
  for (const end = performance.now() + plan.catchUpMs; seconds.length < 3 || performance.now() < end; ) {
    const begin = performance.now()
    const parts = await readAll(connection, server, path)
    seconds.push((performance.now() - begin) / 1000)
    if (sizeOf(parts) !== bytes) throw new Error(`${sizeOf(parts)} bytes came, ${bytes} the first time`)
  }
  connection.close()
  return (appends * body.length) / 1e6 / p50(seconds)
}

/** @param {Buffer[]} parts */
function sizeOf(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

export const measurements = [{ name: "catch-up", group: "catch-up", figures, run }]
