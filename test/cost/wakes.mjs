// Counts what a subscription's wake bills, from the append that causes it to the stream's next cursor.

import { sleep } from "../bench/client/load.mjs"
import { cpuMs } from "../bench/client/process.mjs"
import { Control, acksOf, pullWake, webhook } from "../platform/control.mjs"
import { Receiver } from "../platform/receiver.mjs"
import { JSON_TYPE, Stream, numbers, unique } from "../platform/support.mjs"
import { bill } from "./bill.mjs"
import { readCounters, startCountingServer } from "./server.mjs"

/** The objects count as settled once this many looks at the counters, with this time between them, see no change. */
const LOOKS = 3
const LOOK_MS = 100
const SOON_MS = 20_000

/**
 * @typedef {object} WakeKind
 * @property {string} name
 * @property {string} title
 * @property {"webhook" | "pull-wake"} type
 * @property {number} heartbeats acks that only extend the lease
 * @property {boolean} callsBack whether the webhook calls back instead of answering `done`
 * @property {object} [answer] the webhook's answer, if it is another one
 * @property {number} [leaseMs] the lease, if it is not the default
 * @property {Record<string, string>} [vars] more variables of the server. Such wakes are counted in a row only.
 * @property {Expected} expected of a wake, without alarms
 *
 * @typedef {{ workerRequests: number, objectRequests?: number, rows: number }} Expected
 * @typedef {Record<string, number>} Counts by name
 * @typedef {{ name: string, title: string, events: number, counts: Counts }} CountedEvents
 */

/** @type {WakeKind[]} */
export const kinds = [
  {
    name: "webhook-done",
    title: "webhook that answers `done`",
    type: "webhook",
    callsBack: false,
    heartbeats: 0,
    // The append; then the notification and the new cursor.
    expected: { workerRequests: 1, objectRequests: 3, rows: 3 },
  },
  {
    name: "webhook-measured",
    title: "webhook that answers `done`, with metrics on",
    type: "webhook",
    callsBack: false,
    heartbeats: 0,
    // The first wake has sent a summary, and these follow it within five minutes.
    vars: { ADMIN_TOKEN: "an-administrator-of-32-characters" },
    expected: { workerRequests: 1, objectRequests: 3, rows: 3 },
  },
  {
    name: "webhook-callback",
    title: "webhook that calls back with `done`",
    type: "webhook",
    callsBack: true,
    heartbeats: 0,
    expected: { workerRequests: 2, objectRequests: 4, rows: 4 },
  },
  {
    name: "pull-wake",
    title: "pull-wake: claim, ack with `done`",
    type: "pull-wake",
    callsBack: false,
    heartbeats: 0,
    // In addition the event, the claim and the ack.
    expected: { workerRequests: 3, objectRequests: 6, rows: 5 },
  },
  {
    name: "pull-wake-ack",
    title: "pull-wake: claim, ack that extends the lease, ack with `done`",
    type: "pull-wake",
    callsBack: false,
    heartbeats: 1,
    expected: { workerRequests: 4, objectRequests: 7, rows: 6 },
  },
]

/** How many appends that wake nobody are counted, and what each must bill. */
const QUIET_APPENDS = 5
const APPEND = { workerRequests: 1, objectRequests: 1, rows: 1 }

/**
 * Counts one kind of wake: one after another of one subscription, and one each of subscriptions whose alarms have rung.
 * @param {WakeKind} kind
 * @param {import("./workload.mjs").Plan} plan
 * @returns {Promise<CountedEvents[]>}
 */
export async function countWakes(kind, plan) {
  return withServer(async (world) => {
    const { wakesInRow, apart } = plan.wakes
    const one = await Subscribed.created(world, kind)
    // The first wake sets alarms, which the next ones share.
    await one.wake()
    const row = await world.counted(plan, () => inTurn(wakesInRow, () => one.wake()))
    const counted = [{ name: `${kind.name}-row`, title: kind.title, events: wakesInRow, counts: row }]
    expectCounts(kind.title, row, wakesInRow, kind.expected)
    if (apart === 0 || kind.vars) return counted
    const all = await Promise.all(numbers(apart).map(() => Subscribed.created(world, kind)))
    await world.alarmsHaveRung(plan)
    const counts = await world.counted(plan, async () => {
      for (const each of all) await each.wake()
      await world.alarmsHaveRung(plan)
    })
    // Objects that were loaded again also call each other, because they have forgotten what they know of each other.
    expectCounts(kind.title, counts, apart, { ...kind.expected, objectRequests: undefined })
    return [...counted, { name: `${kind.name}-apart`, title: `${kind.title}, minutes apart`, events: apart, counts }]
  }, kind.vars)
}

/**
 * Counts appends that cause no wake: no subscription watches the stream, or a wake is in flight.
 * @param {import("./workload.mjs").Plan} plan
 * @returns {Promise<CountedEvents[]>}
 */
export async function countQuietAppends(plan) {
  return withServer(async (world) => {
    const unwatched = await world.stream()
    // The wake's lease does not end during the appends, however busy the machine is.
    const watched = await Subscribed.created(world, { ...kinds[0], answer: { status: 202 }, leaseMs: 600_000 })
    await watched.stream.append("0", JSON_TYPE)
    await world.receiver.until(watched.path)
    const counted = []
    for (const [name, title, stream] of [
      ["append-unwatched", "append to a stream that no subscription watches", unwatched],
      ["append-in-flight", "append while a wake is in flight", watched.stream],
    ]) {
      await world.settled()
      const counts = await world.counted(plan, () => inTurn(QUIET_APPENDS, (n) => stream.append(`${n}`, JSON_TYPE)))
      expectCounts(title, counts, QUIET_APPENDS, APPEND)
      if (counts.alarms_set > 0) throw new Error(`${title}: ${counts.alarms_set} alarms`)
      counted.push({ name, title, events: QUIET_APPENDS, counts })
    }
    return counted
  })
}

async function inTurn(count, action) {
  for (const n of numbers(count)) await action(n)
}

/** A counting server with a receiver of webhooks. @param {(world: World) => Promise<CountedEvents[]>} count @param {object} [vars] */
async function withServer(count, vars = {}) {
  const server = await startCountingServer({ ALLOW_LOCAL_WEBHOOKS: "1", ...vars }, { reachesThisMachine: true })
  const receiver = await Receiver.open()
  try {
    return await count(new World(server, receiver))
  } finally {
    receiver.close()
    await server.stop()
  }
}

class World {
  constructor(server, receiver) {
    this.server = server
    this.receiver = receiver
    this.origin = `http://${server.host}:${server.port}`
    this.control = new Control(this.origin)
  }

  /** A new stream that the registry knows, so that its report is not counted later. */
  async stream() {
    const stream = new Stream(this.origin, unique())
    await stream.create(JSON_TYPE)
    const listing = `${this.origin}/v1/streams?prefix=${stream.path}`
    for (const until = performance.now() + SOON_MS; performance.now() < until; await sleep(LOOK_MS)) {
      const { streams } = await (await fetch(listing)).json()
      if (streams.length > 0) return stream
    }
    throw new Error("the registry does not list the stream")
  }

  /** Waits until nothing happens. Returns the counts. */
  async settled() {
    const withoutTime = (counts) => JSON.stringify({ ...counts, object_busy_ms: 0, object_idle_ms: 0 })
    for (let waited = 0, last, same = 0; waited < SOON_MS; waited += LOOK_MS) {
      const counts = await readCounters(this.server)
      same = last === withoutTime(counts) ? same + 1 : 0
      if (same === LOOKS) return counts
      last = withoutTime(counts)
      await sleep(LOOK_MS)
    }
    throw new Error("the objects did not settle")
  }

  /** Waits until no alarm is set, while looking as often as `settled` does. */
  async alarmsHaveRung({ wakes }) {
    await this.#looks(wakes.alarmMs)
    await this.settled()
  }

  async #looks(millis) {
    for (const until = performance.now() + millis; performance.now() < until; await sleep(LOOK_MS)) await readCounters(this.server)
  }

  /** The counts of some work. The looks at the counters use CPU time, too, which is subtracted. */
  async counted(plan, work) {
    const { cpu: idleMs, millis: idleFor } = await this.#cpuOf(() => this.#looks(plan.baselineMs))
    const before = await this.settled()
    const { cpu, millis } = await this.#cpuOf(work)
    const after = await this.settled()
    const counts = Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name]]))
    return { ...counts, proxy_answers: 0, cpu_ms: Math.max(0, cpu - (idleMs / idleFor) * millis) }
  }

  async #cpuOf(work) {
    const [before, begin] = [cpuMs(this.server.pid), performance.now()]
    await work()
    return { cpu: cpuMs(this.server.pid) - before, millis: performance.now() - begin }
  }
}

/** A subscription to one stream of its own, and its worker. */
class Subscribed {
  #wakes = 0

  constructor(world, kind, stream, path, subscription) {
    Object.assign(this, { world, kind, stream, path, subscription })
  }

  static async created(world, kind) {
    const stream = await world.stream()
    const path = unique("hook")
    const subscription = world.control.subscription()
    const answer = kind.answer ?? (kind.callsBack ? { status: 202 } : { body: `{"done":true}` })
    const more = { streams: [stream.path], lease_ttl_ms: kind.leaseMs }
    const body = kind.type === "webhook" ? webhook(world.receiver.at(path, answer), more) : pullWake(await world.stream(), more)
    await subscription.put(body)
    await world.settled()
    return new Subscribed(world, kind, stream, path, subscription)
  }

  /** Appends a message, and processes the wake. */
  async wake() {
    const { world, kind, subscription } = this
    this.#wakes += 1
    await this.stream.append(`${this.#wakes}`, JSON_TYPE)
    if (kind.type === "webhook") {
      const deliveries = await world.receiver.until(this.path, this.#wakes)
      await world.settled()
      if (kind.callsBack) await this.#holds("callback", deliveries.at(-1).body, done(deliveries.at(-1).body))
    } else {
      // The event is in the wake stream by then.
      await world.settled()
      const { json: claimed } = await subscription.claim()
      for (const _ of numbers(kind.heartbeats)) await this.#holds("ack", claimed, {})
      await this.#holds("ack", claimed, done(claimed))
    }
    await world.settled()
  }

  async #holds(action, wake, body) {
    const { status, text } = await this.subscription.holds(action, wake, body)
    if (status !== 200) throw new Error(`${action}: ${status} ${text}`)
  }
}

/** The body that acknowledges a whole wake, and ends it. */
const done = (wake) => ({ acks: acksOf(wake), done: true })

/**
 * Checks that events bill what they did when the expectation was written. Alarms depend on the time, and do not count.
 * @param {string} title @param {Counts} counts @param {number} events @param {Expected} expected
 */
export function expectCounts(title, counts, events, { workerRequests, objectRequests, rows }) {
  const { worker_requests, object_requests, rows_written } = counts
  const counted = [worker_requests, object_requests, rows_written]
  const due = [workerRequests, objectRequests, rows].map((each) => each && each * events)
  if (counted.some((count, at) => due[at] !== undefined && count !== due[at])) {
    throw new Error(`${title}: ${counted} Worker requests, object requests and rows written for ${events}, not ${due}`)
  }
}

/**
 * The bill of a million such events, at list prices.
 * @param {CountedEvents} counted
 */
export function billOfMillion({ events, counts }) {
  const scaled = Object.entries(counts).map(([name, value]) => [name, (value / events) * 1e6])
  return bill(Object.fromEntries(scaled))
}
