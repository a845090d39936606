// Appends: the latency of one, and the rate with 32 in flight, on one stream and on 32.

import { closedLoop, p50, p99 } from "../client/load.mjs"
import { create, expectAppended, expectMessages, openConnections } from "../client/streams.mjs"
import { payloads } from "./payloads.mjs"

const WRITERS = 32

const latency = [
  { name: "append-p50", title: "Append, one at a time, p50", unit: "ms", better: "lower" },
  { name: "append-p99", title: "Append, one at a time, p99", unit: "ms", better: "lower" },
]
const oneStream = [
  { name: "append-one-stream", title: "Appends, 32 in flight on one stream", unit: "appends/s", better: "higher" },
]
const manyStreams = [
  { name: "append-32-streams", title: "Appends, 32 in flight on 32 streams", unit: "appends/s", better: "higher" },
]

/** Three measurements for each kind of payload. */
export const measurements = payloads.flatMap((payload) => {
  const measurement = (name, figures, run) => ({ name: `append-${name}-${payload.name}`, group: "append", figures, run })
  return [
    measurement("alone", latency, async (server, plan) => {
      const { latencies } = await load(server, plan, payload, 1, 1)
      return {
        "append-p50": { [payload.title]: p50(latencies) },
        "append-p99": { [payload.title]: p99(latencies) },
      }
    }),
    measurement("one-stream", oneStream, async (server, plan) => {
      const { perSecond } = await load(server, plan, payload, WRITERS, 1)
      return { "append-one-stream": { [payload.title]: perSecond } }
    }),
    measurement("32-streams", manyStreams, async (server, plan) => {
      const { perSecond } = await load(server, plan, payload, WRITERS, WRITERS)
      return { "append-32-streams": { [payload.title]: perSecond } }
    }),
  ]
})

/** Makes a fresh process compile the code of appends: single ones, which are the most common, and concurrent ones. */
export async function warmUp(server, plan) {
  for (const payload of payloads) {
    for (const streams of [8, 1]) {
      await load(server, { warmUpMs: 0, windowMs: plan.appendingMs / payloads.length / 2 }, payload, 8, streams)
    }
  }
}

/** @param {import("./payloads.mjs").Payload} payload */
async function load(server, plan, payload, writers, streams) {
  const connections = await openConnections(server, writers)
  const paths = []
  while (paths.length < streams) paths.push(await create(connections[0], server, payload.contentType))
  const pathOf = (writer) => paths[writer % streams]
  const requests = connections.map((_, writer) => payload.writer(server, pathOf(writer), writer))
  const measured = await closedLoop({
    connections,
    plan,
    next: (writer) => requests[writer](),
    check: expectAppended,
  })
  // Each acknowledged message is stored exactly once.
  for (const path of paths) {
    const appends = measured.sent.reduce((sum, sent, writer) => (pathOf(writer) === path ? sum + sent : sum), 0)
    await expectMessages(connections[0], server, path, appends * payload.messages)
  }
  for (const connection of connections) connection.close()
  return measured
}
