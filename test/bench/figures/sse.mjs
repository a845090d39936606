// Server-sent events: the time from sending an append until each client has the event, and the server's CPU time per
// event.

import { p50, p99 } from "../client/load.mjs"
import { atRest, cpuMs } from "../client/process.mjs"
import { SseReader, numbered } from "../client/sse-reader.mjs"
import { append, create, openConnections } from "../client/streams.mjs"
import { JSON_TYPE, jsonMessage } from "./payloads.mjs"

export const figures = [
  { name: "sse-p50", title: "SSE, append to delivery, p50", unit: "ms", better: "lower" },
  { name: "sse-p99", title: "SSE, append to delivery, p99", unit: "ms", better: "lower" },
  {
    name: "sse-acknowledged",
    title: "Append acknowledged under SSE readers, p50",
    unit: "ms",
    better: "lower",
    // The floor sends events before it acknowledges the append, which delivers them soonest.
    withoutFloor: true,
  },
  { name: "sse-cpu", title: "Server CPU for each delivered event", unit: "µs", better: "lower" },
]

/** Readers that connect at the same time. */
const CONNECTING = 50

async function run(server, plan) {
  const numbers = { "sse-p50": {}, "sse-p99": {}, "sse-acknowledged": {}, "sse-cpu": {} }
  const audience = await Audience.open(server)
  // The number of readers only grows, so that each client connects once.
  for (const { readers, events } of plan.sse) {
    await audience.growTo(readers)
    const { latencies, acknowledged, cpu } = await audience.show(events)
    const title = readers === 1 ? "1 client" : `${readers.toLocaleString("en")} clients`
    numbers["sse-p50"][title] = p50(latencies)
    numbers["sse-p99"][title] = p99(latencies)
    numbers["sse-acknowledged"][title] = p50(acknowledged)
    if (cpu !== undefined && readers * events >= plan.cpuEvents) {
      numbers["sse-cpu"][title] = (cpu * 1000) / (readers * events)
    }
  }
  audience.close()
  return numbers
}

/** All readers of one stream, and its writer. */
class Audience {
  static async open(server) {
    const [writer] = await openConnections(server, 1)
    const path = await create(writer, server, JSON_TYPE)
    const offset = await append(writer, server, path, JSON_TYPE, Buffer.from('{"m":"before all"}'))
    return new Audience(server, writer, path, offset)
  }

  constructor(server, writer, path, offset) {
    Object.assign(this, { server, writer, path, offset })
    /** @type {SseReader[]} */
    this.readers = []
    this.shown = 0
    this.delivered = (_reader, _number) => {}
    this.failed = (_error) => {}
  }

  /** An error between two events fails the next event. */
  fail(error) {
    this.failure ??= error
    this.failed(this.failure)
  }

  async growTo(count) {
    while (this.readers.length < count) {
      const joining = Math.min(CONNECTING, count - this.readers.length)
      const readers = Array.from({ length: joining }, () => {
        return new SseReader((reader, number) => this.delivered(reader, number), (error) => this.fail(error))
      })
      await Promise.all(readers.map((reader) => reader.connect(this.server, this.path, this.offset, this.shown)))
      this.readers.push(...readers)
    }
  }

  async show(events) {
    await this.event()
    await atRest(this.server)
    const cpuBefore = this.server.pid && cpuMs(this.server.pid)
    const latencies = []
    const acknowledged = []
    for (let event = 0; event < events; event += 1) {
      const { arrivals, answered } = await this.event()
      for (const arrival of arrivals) latencies.push(arrival)
      acknowledged.push(answered)
    }
    await atRest(this.server)
    if (this.failure) throw this.failure
    const cpu = this.server.pid && cpuMs(this.server.pid) - cpuBefore
    return { latencies, acknowledged, cpu }
  }

  /** Sends one append. Returns when it was acknowledged and when each reader had it, in ms after sending. */
  async event() {
    if (this.failure) throw this.failure
    const arrivals = []
    const body = jsonMessage(100, numbered(this.shown))
    const sentAt = performance.now()
    const all = new Promise((resolve, reject) => {
      this.failed = reject
      this.delivered = (_reader, number) => {
        if (number !== this.shown) reject(new Error(`message ${number} arrived while ${this.shown} was expected`))
        if (arrivals.push(performance.now() - sentAt) === this.readers.length) resolve()
      }
    })
    // Readers that join later begin at this offset.
    const appended = append(this.writer, this.server, this.path, JSON_TYPE, body).then((offset) => {
      this.offset = offset
      return performance.now() - sentAt
    })
    const [answered] = await Promise.all([appended, all])
    this.shown += 1
    return { arrivals, answered }
  }

  close() {
    for (const reader of this.readers) reader.close()
    this.writer.close()
  }
}

export const measurements = [{ name: "sse", group: "sse", figures, run }]
