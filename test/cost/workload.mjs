// The workload: the scenarios, each with two numbers of readers, and how long each is measured.

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} title
 * @property {"sse" | "long-poll"} live
 * @property {boolean} caching whether the proxy caches and collapses, or only forwards and counts
 * @property {number} streams
 * @property {number} appendsPerSecond to all streams together, in turn
 * @property {[number, number]} readers spread evenly over the streams
 * @property {string} [mark] refers to a footnote
 *
 * @typedef {object} Plan
 * @property {string} mode
 * @property {Scenario[]} scenarios
 * @property {Record<string, string>} vars
 * @property {number} recycleSeconds lifetime of the SSE responses whose reconnections are counted
 * @property {number} baselineMs time for which an idle server is measured
 * @property {number} arrivalMs time over which the readers connect, at even intervals
 * @property {number} settleMs time until the window begins: half a second more than a whole number of seconds
 * @property {number} windowMs time for which events are counted
 * @property {{ wakesInRow: number, apart: number, alarmMs: number }} wakes how many wakes of one subscription are counted in
 * a row; of how many subscriptions one wake each is counted, minutes apart; and the time in which alarms ring
 */

const one = { streams: 1, appendsPerSecond: 1, caching: false }
const many = { streams: 100, appendsPerSecond: 1, caching: false }
const idle = { streams: 1, appendsPerSecond: 0, caching: false }

/** @type {Scenario[]} */
const scenarios = [
  { ...one, name: "one-sse", title: "1 stream, 1 append/s, SSE", live: "sse", readers: [20, 100] },
  {
    ...one,
    name: "one-long-poll-cached",
    title: "1 stream, 1 append/s, long-poll behind a cache",
    live: "long-poll",
    caching: true,
    readers: [20, 100],
    mark: "‡",
  },
  { ...one, name: "one-long-poll", title: "1 stream, 1 append/s, long-poll", live: "long-poll", readers: [20, 100] },
  { ...many, name: "many-sse", title: "100 streams, 1 append/s in all, SSE", live: "sse", readers: [100, 300] },
  {
    ...many,
    name: "many-long-poll-cached",
    title: "100 streams, 1 append/s in all, long-poll behind a cache",
    live: "long-poll",
    caching: true,
    readers: [100, 300],
  },
  { ...idle, name: "idle-sse", title: "1 stream, no appends, SSE", live: "sse", readers: [20, 100] },
  { ...idle, name: "idle-long-poll", title: "1 stream, no appends, long-poll", live: "long-poll", readers: [20, 100] },
]

/** The lifetime of the responses whose readers reconnect. A reconnection costs the same for any lifetime. */
const RECYCLE_SECONDS = 60

/** @type {Record<string, Plan>} */
export const plans = {
  full: {
    mode: "full",
    scenarios,
    vars: {},
    recycleSeconds: RECYCLE_SECONDS,
    baselineMs: 5000,
    // Readers that connect evenly over one lifetime also reconnect evenly. In two lifetimes each reconnects twice.
    arrivalMs: RECYCLE_SECONDS * 1000,
    settleMs: 5500,
    windowMs: 2 * RECYCLE_SECONDS * 1000,
    wakes: { wakesInRow: 50, apart: 20, alarmMs: 65_000 },
  },
  tiny: {
    mode: "tiny",
    scenarios: scenarios.map((scenario) => ({
      ...scenario,
      title: scenario.title.replace(/^100 /, "3 "),
      streams: Math.min(scenario.streams, 3),
      readers: [3, 6],
    })),
    vars: { LONG_POLL_TIMEOUT_SECONDS: "2" },
    recycleSeconds: 2,
    baselineMs: 500,
    arrivalMs: 2000,
    settleMs: 500,
    windowMs: 5000,
    wakes: { wakesInRow: 5, apart: 0, alarmMs: 0 },
  },
}
