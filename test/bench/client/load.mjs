// Closed loops: each connection sends its next request when it has received the last response.

import { performance } from "node:perf_hooks"

/**
 * @param {object} load
 * @param {import("./connection.mjs").Connection[]} load.connections
 * @param {{ warmUpMs: number, windowMs: number }} load.plan responses before the window do not count
 * @param {(worker: number) => Buffer} load.next returns the next request of a connection
 * @param {(answer: import("./connection.mjs").Answer) => void} load.check throws if the response is wrong
 * @returns {Promise<{ latencies: number[], perSecond: number, sent: number[] }>} `sent` counts each connection's
 * requests, including the warm-up; all have responses
 */
export async function closedLoop({ connections, plan, next, check }) {
  const begin = performance.now() + plan.warmUpMs
  const end = begin + plan.windowMs
  const latencies = []
  const sent = connections.map(() => 0)
  const work = async (connection, worker) => {
    for (let sentAt = performance.now(); sentAt < end; ) {
      sent[worker] += 1
      check(await connection.ask(next(worker)))
      const answered = performance.now()
      if (answered >= begin && answered < end) latencies.push(answered - sentAt)
      sentAt = answered
    }
  }
  await Promise.all(connections.map(work))
  return { latencies, perSecond: latencies.length / (plan.windowMs / 1000), sent }
}

/** The smallest sample that is not below this share of all samples (nearest rank). @param {number[]} samples */
export function percentile(samples, share) {
  if (samples.length === 0) throw new Error("nothing was measured")
  const sorted = Float64Array.from(samples).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
}

export const p50 = (samples) => percentile(samples, 0.5)
export const p99 = (samples) => percentile(samples, 0.99)

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
