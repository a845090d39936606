// Forks: the cost of reading inherited messages, and of appending to a fork. Each number is a fork's speed as a share
// of its source's, measured alternately in one process. The floor has no forks, so there is no comparison with it.

import { p50 } from "../client/load.mjs"
import { atRest } from "../client/process.mjs"
import { append, create, createFork, openConnections, readAll } from "../client/streams.mjs"
import { FLOOR } from "../targets/index.mjs"
import { BINARY_TYPE, JSON_TYPE, binaryMessage, jsonBatch } from "./payloads.mjs"

const APPEND_BYTES = 100_000
/** Less than a segment of the default size. */
const HOT_BYTES_MAX = 3.5e6
const APPENDS_MIN = 50

const json = { contentType: JSON_TYPE, body: jsonBatch(1000, APPEND_BYTES / 1000 - 1) }
const binary = { contentType: BINARY_TYPE, body: binaryMessage(APPEND_BYTES) }
const small = { contentType: JSON_TYPE, body: jsonBatch(1, 100) }

const kinds = [
  { title: "read, JSON", ...json, streamBytesMax: HOT_BYTES_MAX },
  { title: "read, binary", ...binary, streamBytesMax: HOT_BYTES_MAX },
  { title: "read, JSON, most of it in R2", ...json, streamBytesMax: Infinity },
  { title: "read, binary, most of it in R2", ...binary, streamBytesMax: Infinity },
]

export const figures = [
  { name: "forks", title: "Speed of a fork, as a share of its source's", unit: "", better: "higher", withoutFloor: true },
]

async function run(server, plan, target) {
  if (target.name === FLOOR) return {}
  const shares = {}
  for (const kind of kinds) shares[kind.title] = await readShare(server, plan, kind)
  shares.append = await appendShare(server, plan)
  return { forks: shares }
}

/** Streams with 10 MB in total, and a fork at the tail of each. */
async function readShare(server, plan, { contentType, body, streamBytesMax }) {
  const [connection] = await openConnections(server, 1)
  const sources = Array.from({ length: Math.ceil(plan.catchUpBytes / streamBytesMax) || 1 })
  for (const at of sources.keys()) sources[at] = await create(connection, server, contentType)
  for (let count = 0; count < Math.ceil(plan.catchUpBytes / APPEND_BYTES); count += 1) {
    await append(connection, server, sources[count % sources.length], contentType, body)
  }
  // Wait until segments have reached R2.
  await atRest(server)
  const forks = []
  for (const source of sources) forks.push(await createFork(connection, server, source))
  const read = async (paths) => {
    let bytes = 0
    for (const path of paths) for (const part of await readAll(connection, server, path)) bytes += part.length
    return bytes
  }
  const share = await timeShare(plan, [() => read(sources), () => read(forks)])
  connection.close()
  return share
}

async function appendShare(server, plan) {
  const [connection] = await openConnections(server, 1)
  const source = await create(connection, server, small.contentType)
  const fork = await createFork(connection, server, source)
  const to = (path) => async () => {
    for (let count = 0; count < APPENDS_MIN; count += 1) {
      await append(connection, server, path, small.contentType, small.body)
    }
  }
  const share = await timeShare(plan, [to(source), to(fork)])
  connection.close()
  return share
}

/** The first operation's time as a share of the second's. Both must return the same result. */
async function timeShare(plan, [first, second]) {
  const seconds = [[], []]
  for (const end = performance.now() + 2 * plan.catchUpMs; seconds[0].length < 6 || performance.now() < end; ) {
    const results = []
    for (const [at, one] of [first, second].entries()) {
      const begin = performance.now()
      results.push(await one())
      seconds[at].push((performance.now() - begin) / 1000)
    }
    if (results[0] !== results[1]) throw new Error(`the source returned ${results[0]}, the fork ${results[1]}`)
  }
  // The first runs are slow because V8 has not compiled the code yet.
  return p50(seconds[0].slice(2)) / p50(seconds[1].slice(2))
}

export const measurements = [{ name: "forks", group: "forks", figures, run }]
