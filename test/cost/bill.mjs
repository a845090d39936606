// From counts to dollars: a line through measurements with two numbers of readers, extrapolated to a month at list
// prices.

import { OBJECT_GB, PLAN_DOLLARS, SOCKET_MESSAGES_A_REQUEST, prices } from "./prices.mjs"

export const MONTH_SECONDS = 30 * 24 * 60 * 60

/**
 * @typedef {object} Item a line of the bill
 * @property {string} name
 * @property {string} meter the price and the included amount, which items may share
 * @property {boolean} [extra] shown, but not part of the total
 * @property {(counts: Record<string, number>) => number} quantity
 */

/**
 * Cloudflare bills an object while it is active or cannot hibernate. An object that could hibernate is not billed,
 * "even before the runtime has hibernated" it. The bill shows what idle objects would cost, but does not count it. On
 * Cloudflare an object is active longer than here, because each append waits for other machines. That can add some
 * cents per month.
 */
const IDLE = "idle objects before they hibernate, GB-s"

/** @type {Item[]} */
export const items = [
  { name: "Worker requests", meter: "workerRequests", quantity: (counts) => counts.worker_requests },
  // The CPU time of the whole process. It is more than Cloudflare bills, because it includes objects and the system's
  // own work.
  { name: "Worker CPU, ms", meter: "workerCpuMs", quantity: (counts) => counts.cpu_ms },
  {
    name: "object requests, including alarms that fire",
    meter: "objectRequests",
    // Cloudflare does not document whether a socket's close is billed as a message. This bill assumes that it is.
    quantity: (counts) =>
      counts.object_requests +
      counts.alarms_rung +
      counts.socket_closes_received / SOCKET_MESSAGES_A_REQUEST,
  },
  { name: "active objects, GB-s", meter: "objectGbSeconds", quantity: (counts) => gbSeconds(counts.object_busy_ms) },
  {
    name: "rows written, including alarms set",
    meter: "rowsWritten",
    quantity: (counts) => counts.rows_written + counts.alarms_set,
  },
  { name: "rows read", meter: "rowsRead", quantity: (counts) => counts.rows_read },
  { name: "R2 class A", meter: "bucketClassA", quantity: (counts) => counts.bucket_class_a },
  { name: "R2 class B", meter: "bucketClassB", quantity: (counts) => counts.bucket_class_b },
  { name: "KV reads", meter: "kvReads", quantity: (counts) => counts.kv_reads },
  { name: "D1 rows written", meter: "mirrorRowsWritten", quantity: (counts) => counts.mirror_rows_written },
  {
    name: IDLE,
    meter: "objectGbSeconds",
    extra: true,
    quantity: (counts) => gbSeconds(counts.object_idle_ms),
  },
  {
    // Another CDN bills cache hits at its own price. Cloudflare's Workers Cache bills them as requests.
    name: "requests answered by the cache, if it is Cloudflare's",
    meter: "workerRequests",
    extra: true,
    quantity: (counts) => counts.proxy_answers,
  },
]

const gbSeconds = (millis) => (millis / 1000) * OBJECT_GB

/**
 * The line through two measurements. Noise must not make the bill cheaper: a line that would fall with the readers is
 * flat at the higher rate, and one that would begin below zero begins at zero with the higher rate per reader.
 * @param {{ readers: number, rate: number }} low
 * @param {{ readers: number, rate: number }} high
 * @returns {{ fixed: number, perReader: number }}
 */
export function lineThrough(low, high) {
  if (!(low.readers < high.readers)) throw new Error("a line needs two numbers of readers, the smaller first")
  const perReader = (high.rate - low.rate) / (high.readers - low.readers)
  if (perReader < 0) return { fixed: Math.max(low.rate, high.rate), perReader: 0 }
  const fixed = low.rate - perReader * low.readers
  if (fixed >= 0) return { fixed, perReader }
  return { fixed: 0, perReader: Math.max(low.rate / low.readers, high.rate / high.readers) }
}

/**
 * The counts for responses with the deployed lifetime. The cost of reconnections is measured with short responses, and
 * everything else with responses that outlive the measurement. Reconnections are then scaled to the deployed lifetime.
 * @param {{ staying: import("./measure.mjs").Measured, recycling: import("./measure.mjs").Measured }} measured
 * @param {{ lifetimeSeconds: number, measuredSeconds: number }} lifetimes as deployed, and of the short responses
 * @returns {import("./measure.mjs").Measured}
 */
export function atLifetime({ staying, recycling }, { lifetimeSeconds, measuredSeconds }) {
  if (staying.reconnects !== 0) throw new Error("a response that should stay open has ended")
  const share = measuredSeconds / lifetimeSeconds
  // Noise can make reconnections look cheaper than free. They count as free then.
  const of = (before, more) => before + Math.max(0, more - before) * share
  return {
    ...staying,
    reconnects: recycling.reconnects * share,
    sockets: Math.max(staying.sockets, recycling.sockets),
    counts: Object.fromEntries(
      Object.entries(staying.counts).map(([name, value]) => [name, of(value, recycling.counts[name])]),
    ),
  }
}

/**
 * The rate of each count per second, as a line over the number of readers.
 * @param {import("./measure.mjs").Measured[]} measured two measurements
 * @returns {Record<string, { fixed: number, perReader: number }>}
 */
export function lines([low, high]) {
  const at = ({ readers, seconds, counts }, name) => ({ readers, rate: counts[name] / seconds })
  return Object.fromEntries(Object.keys(low.counts).map((name) => [name, lineThrough(at(low, name), at(high, name))]))
}

/**
 * The counts of a month.
 * @param {ReturnType<typeof lines>} lines
 * @param {number} readers
 * @param {number} objects number of objects; none is awake for longer than the month
 */
export function month(lines, readers, objects, seconds = MONTH_SECONDS) {
  const counts = Object.fromEntries(
    Object.entries(lines).map(([name, { fixed, perReader }]) => [name, (fixed + perReader * readers) * seconds]),
  )
  const always = objects * seconds * 1000
  counts.object_busy_ms = Math.min(counts.object_busy_ms, always)
  counts.object_idle_ms = Math.min(counts.object_idle_ms, always - counts.object_busy_ms)
  return counts
}

/**
 * @param {Record<string, number>} counts of a month
 * @returns {{ lines: { name: string, meter: string, extra: boolean, quantity: number, dollars: number }[], total:
 * number, included: number, toPay: number, withIdle: number }} the total at list prices; the part that the plan
 * includes; the amount due with the plan's price; the total if idle objects were billed, too
 */
export function bill(counts) {
  const lines = items.map(({ name, meter, extra = false, quantity: of }) => {
    const quantity = of(counts)
    return { name, meter, extra, quantity, dollars: cost(quantity, meter) }
  })
  const billed = lines.filter(({ extra }) => !extra)
  const total = billed.reduce((sum, { dollars }) => sum + dollars, 0)
  const included = Object.entries(prices).reduce((sum, [meter, price]) => {
    const used = billed.filter((line) => line.meter === meter).reduce((sum, { quantity }) => sum + quantity, 0)
    return sum + cost(Math.min(used, price.included), meter)
  }, 0)
  const idle = lines.find(({ name }) => name === IDLE).dollars
  return { lines, total, included, toPay: total - included + PLAN_DOLLARS, withIdle: total + idle }
}

/** @param {number} quantity @param {string} meter */
function cost(quantity, meter) {
  const { dollars, per } = prices[meter]
  return (quantity / per) * dollars
}
