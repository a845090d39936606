// Measures one scenario with one number of readers: counts what happens once all readers are connected, and checks the
// result.

import { sleep } from "../bench/client/load.mjs"
import { cpuMs } from "../bench/client/process.mjs"
import { Connection } from "../bench/client/connection.mjs"
import { append, create } from "../bench/client/streams.mjs"
import { CachingProxy } from "./proxy.mjs"
import { JSON_TYPE, message } from "./readers/messages.mjs"
import { LongPollReader } from "./readers/long-poll.mjs"
import { SseReader } from "./readers/sse.mjs"
import { atLifetime } from "./bill.mjs"
import { SSE_LIFETIME_SECONDS, readCounters, startCountingServer } from "./server.mjs"

/** Time limit for what is expected soon. */
const SOON_MS = 10_000

/** The lifetime of responses that should outlive a measurement. */
const STAYING_SECONDS = 3600
/** The length of one part of the time in which an idle server is measured. */
const BASELINE_PART_MS = 500

/** How much longer than planned a window may be on a busy machine. */
const LATE_MAX_MS = 500

/**
 * @typedef {object} Measured
 * @property {number} readers
 * @property {number} seconds
 * @property {number} appends
 * @property {number} reconnects of SSE readers, scaled to the deployed lifetime
 * @property {number} timeouts of long-polls
 * @property {number} sockets open between the edge and the objects
 * @property {{ sinceStartMs: number, inWindowMs: number }} cpu of the process, including its idle use
 * @property {Record<string, number>} counts in the window, by name; `cpu_ms` excludes the idle use
 *
 * @param {import("./workload.mjs").Scenario} scenario
 * @param {number} readerCount
 * @param {import("./workload.mjs").Plan} plan
 * @returns {Promise<Measured>}
 */
export async function measure(scenario, readerCount, plan) {
  if (scenario.live !== "sse") return measureOnce(scenario, readerCount, plan, {})
  const lifetime = (seconds) => ({ SSE_LIFETIME_SECONDS: `${seconds}` })
  const [staying, recycling] = await Promise.all([
    measureOnce(scenario, readerCount, plan, lifetime(STAYING_SECONDS)),
    measureOnce(scenario, readerCount, plan, lifetime(plan.recycleSeconds)),
  ])
  const lifetimes = { lifetimeSeconds: SSE_LIFETIME_SECONDS, measuredSeconds: plan.recycleSeconds }
  return atLifetime({ staying, recycling }, lifetimes)
}

/** @param {Record<string, string>} vars @returns {Promise<Measured>} */
async function measureOnce(scenario, readerCount, plan, vars) {
  const server = await startCountingServer({ ...plan.vars, ...vars })
  const proxy = await new CachingProxy(server, scenario).start()
  const workload = new Workload(scenario, proxy)
  try {
    await workload.open()
    const idleCpu = await idleCpuPerMs(server, plan.baselineMs)
    const work = Promise.all([workload.append(), workload.read(readerCount, plan.arrivalMs)])
    const window = async () => {
      // The window begins and ends between two appends, when no request is in flight.
      await sleep(plan.arrivalMs + plan.settleMs)
      const before = await snapshot(server, proxy, workload)
      await sleep(plan.windowMs)
      const after = await snapshot(server, proxy, workload)
      return difference(before, after, idleCpu, plan.windowMs)
    }
    // A failure in the workload ends the measurement. The workload itself ends only when it is stopped.
    const measured = await Promise.race([window(), work.then(() => Promise.reject(new Error("the workload ended too soon")))])
    await workload.finish()
    await expectWhole(server, proxy, scenario)
    const result = { readers: readerCount, ...measured }
    const recycles = vars.SSE_LIFETIME_SECONDS !== `${STAYING_SECONDS}`
    expectSane(result, scenario, { ...plan, recycles })
    return result
  } finally {
    workload.stop()
    proxy.stop()
    await server.stop()
  }
}

/** The streams, their writer and their readers. */
class Workload {
  readers = []
  appends = 0

  constructor(scenario, proxy) {
    this.scenario = scenario
    this.proxy = proxy
    this.appended = Array(scenario.streams).fill(0)
  }

  async open() {
    this.writer = await Connection.open(this.proxy)
    this.paths = []
    for (const _ of this.appended) this.paths.push(await create(this.writer, this.proxy, JSON_TYPE))
  }

  /** Appends to the streams in turn until the workload is stopped. */
  async append() {
    const { appendsPerSecond, streams } = this.scenario
    if (appendsPerSecond === 0) return new Promise(() => {})
    const begin = performance.now()
    while (!this.finished) {
      const stream = this.appends % streams
      this.appending = append(this.writer, this.proxy, this.paths[stream], JSON_TYPE, message(this.appended[stream]))
      await this.appending
      this.appended[stream] += 1
      this.appends += 1
      await sleep(begin + (this.appends * 1000) / appendsPerSecond - performance.now())
    }
    return new Promise(() => {})
  }

  /** Connects readers at even intervals. Resolves when a reader ends, and rejects when a reader fails. */
  async read(count, arrivalMs) {
    const begin = performance.now()
    const Reader = this.scenario.live === "sse" ? SseReader : LongPollReader
    const reading = Array.from({ length: count }, async (_, index) => {
      await sleep(begin + ((index + 0.5) * arrivalMs) / count - performance.now())
      const stream = index % this.scenario.streams
      const reader = new Reader()
      this.readers.push({ reader, stream })
      await reader.start(this.proxy, this.paths[stream])
    })
    await Promise.race(reading)
  }

  /** Stops appending, and waits until every reader has every message. */
  async finish() {
    this.finished = true
    await this.appending
    const missing = () => this.readers.filter(({ reader, stream }) => reader.seen.count !== this.appended[stream])
    for (let waited = 0; missing().length > 0; waited += 50) {
      if (waited > SOON_MS) throw new Error(`${missing().length} readers have not received every message`)
      await sleep(50)
    }
  }

  stop() {
    this.finished = true
    for (const { reader } of this.readers) reader.stop()
    this.writer?.close()
  }
}

/**
 * The CPU time that an idle server uses per millisecond: that of the least busy part. On a busy machine the server may
 * still be starting during the first parts.
 */
async function idleCpuPerMs({ pid }, millis) {
  const parts = []
  for (let waited = 0; waited < millis; waited += BASELINE_PART_MS) {
    const before = cpuMs(pid)
    await sleep(BASELINE_PART_MS)
    parts.push((cpuMs(pid) - before) / BASELINE_PART_MS)
  }
  return Math.min(...parts)
}

async function snapshot(server, proxy, { appends, readers }) {
  const counters = await readCounters(server)
  const sum = (of) => readers.reduce((total, { reader }) => total + of(reader), 0)
  return {
    at: performance.now(),
    appends,
    reconnects: sum((reader) => reader.ends ?? 0),
    timeouts: sum((reader) => reader.timeouts ?? 0),
    sockets: counters.sockets_opened - counters.socket_closes_received,
    counts: { ...counters, cpu_ms: cpuMs(server.pid), proxy_answers: proxy.counts.answered },
  }
}

function difference(before, after, idleCpu, windowMs) {
  const late = Math.abs(after.at - before.at - windowMs)
  if (late > LATE_MAX_MS) throw new Error(`a window of ${windowMs} ms was off by ${Math.round(late)} ms`)
  const counts = Object.fromEntries(
    Object.entries(after.counts).map(([name, value]) => [name, value - before.counts[name]]),
  )
  const cpu = { sinceStartMs: after.counts.cpu_ms, inWindowMs: counts.cpu_ms }
  counts.cpu_ms = Math.max(0, counts.cpu_ms - idleCpu * windowMs)
  return {
    cpu,
    // The planned length: the number of appends follows the plan, and a rate must not vary with the time of the
    // snapshots.
    seconds: windowMs / 1000,
    appends: after.appends - before.appends,
    reconnects: after.reconnects - before.reconnects,
    timeouts: after.timeouts - before.timeouts,
    sockets: Math.max(before.sockets, after.sockets),
    counts,
  }
}

/** Checks that the counters saw every request and every object, so that the whole server is one isolate. */
async function expectWhole(server, proxy, { streams }) {
  let counters = await readCounters(server)
  // A request may still be in flight.
  for (let waited = 0; counters.worker_requests !== proxy.counts.forwarded; waited += 50) {
    if (waited > SOON_MS) {
      throw new Error(`${proxy.counts.forwarded} requests sent, but ${counters.worker_requests} counted`)
    }
    await sleep(50)
    counters = await readCounters(server)
  }
  const { worker_requests, object_requests, objects, objects_left_out } = counters
  if (object_requests < worker_requests) throw new Error(`only ${object_requests} of ${worker_requests} requests reached an object`)
  // The streams were created before the counts began. The registry's object is the one more.
  if (objects !== streams + 1 || objects_left_out > 0) throw new Error(`${streams} streams, ${objects} objects`)
}

/** Checks what must hold of any measurement, on any machine and for any code. @param {Measured} measured */
export function expectSane(measured, { live, streams, appendsPerSecond }, plan) {
  const { readers, seconds, appends, reconnects, timeouts, cpu, counts } = measured
  const expect = (holds, what) => {
    if (!holds) throw new Error(`${what}: ${JSON.stringify(measured)}`)
  }
  expect(Object.values(counts).every((value) => value >= 0), "no count decreases")
  expect(Math.abs(appends - appendsPerSecond * seconds) <= 1, "no append is missing")
  expect(Math.abs(counts.rows_written + counts.alarms_set - appends) <= 1, "an append writes one row, and a read none")
  expect(counts.object_requests >= appends, "each append reaches its object")
  expect(live !== "sse" || !plan.recycles || reconnects >= readers, "each SSE reader reconnects")
  expect(live !== "long-poll" || appendsPerSecond > 0 || timeouts >= readers, "a long-poll without new messages times out")
  const awake = (objects) => (counts.object_busy_ms + counts.object_idle_ms) / (objects * seconds * 1000)
  expect(awake(streams + 1) <= 1.05, "no object is awake for longer than the window")
  expect(awake(streams) >= 0.95 || streams > 1 || appendsPerSecond < 1, "an object with an append per second never hibernates")
  // The total of the process. `cpu_ms`, without the idle use, may be 0 on a busy machine.
  expect(cpu.sinceStartMs > 0, "CPU was used")
  // The clock's tick is 10 ms, and the few requests of a tiny run may use less.
  expect(plan.mode === "tiny" || cpu.inWindowMs > 0, "CPU was used for requests")
}
