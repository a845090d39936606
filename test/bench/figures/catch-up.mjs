// Catch-up: how fast a reader receives a whole stream by following Stream-Next-Offset. A stream smaller than a segment
// is read from SQLite. Most of a large stream is in R2. The floor has no R2, so there large streams are compared with
// reads from SQLite, too.

import { p50 } from "../client/load.mjs"
import { atRest } from "../client/process.mjs"
import { append, countMessages, create, openConnections, readAll } from "../client/streams.mjs"
import { BINARY_TYPE, JSON_TYPE, binaryMessage, jsonBatch } from "./payloads.mjs"

/** An append of 100 kB: 1,000 JSON messages, or one binary message. */
const APPEND_BYTES = 100_000
/** Less than a segment of the default size. */
const HOT_BYTES_MAX = 3.5e6

const json = { contentType: JSON_TYPE, body: jsonBatch(1000, APPEND_BYTES / 1000 - 1), messages: 1000 }
const binary = { contentType: BINARY_TYPE, body: binaryMessage(APPEND_BYTES), messages: 1 }

const kinds = [
  { title: "JSON", ...json, streamBytesMax: HOT_BYTES_MAX },
  { title: "binary", ...binary, streamBytesMax: HOT_BYTES_MAX },
  { title: "JSON, most of it in R2", ...json, streamBytesMax: Infinity },
  { title: "binary, most of it in R2", ...binary, streamBytesMax: Infinity },
]

export const figures = [{ name: "catch-up", title: "Catch-up of 10 MB", unit: "MB/s", better: "higher" }]

async function run(server, plan) {
  const rates = {}
  for (const kind of kinds) rates[kind.title] = await rate(server, plan, kind)
  return { "catch-up": rates }
}

/** For every server the same bytes count: those that were appended. */
async function rate(server, plan, { contentType, body, messages, streamBytesMax }) {
  const [connection] = await openConnections(server, 1)
  const paths = Array.from({ length: Math.ceil(plan.catchUpBytes / streamBytesMax) || 1 })
  for (const at of paths.keys()) paths[at] = await create(connection, server, contentType)
  const appends = Math.ceil(plan.catchUpBytes / APPEND_BYTES)
  for (let count = 0; count < appends; count += 1) {
    await append(connection, server, paths[count % paths.length], contentType, body)
  }
  // Wait until segments have reached R2.
  await atRest(server)

  const read = async () => {
    const parts = []
    for (const path of paths) parts.push(...(await readAll(connection, server, path)))
    return parts
  }
  const warmUp = await read()
  const count = countMessages(warmUp)
  if (count !== appends * messages) throw new Error(`${count} messages of ${appends * messages} were returned`)
  const bytes = sizeOf(warmUp)
  const seconds = []
  for (const end = performance.now() + plan.catchUpMs; seconds.length < 3 || performance.now() < end; ) {
    const begin = performance.now()
    const parts = await read()
    seconds.push((performance.now() - begin) / 1000)
    if (sizeOf(parts) !== bytes) throw new Error(`${sizeOf(parts)} bytes received, ${bytes} the first time`)
  }
  connection.close()
  return (appends * body.length) / 1e6 / p50(seconds)
}

/** @param {Buffer[]} parts */
function sizeOf(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

/** Makes a fresh process compile the code of reads. */
export async function warmUp(server, plan) {
  for (const kind of kinds) await rate(server, { ...plan, catchUpMs: plan.readingMs / kinds.length }, kind)
}

export const measurements = [{ name: "catch-up", group: "catch-up", figures, run }]
