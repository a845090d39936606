// The results of a run as one plain object: the measurements, and the bills calculated from them.

import { commit } from "../bench/report/results.mjs"
import { bill, lineThrough, lines, month } from "./bill.mjs"
import { isBeyond } from "./limits.mjs"

/** The numbers of readers for which the bill is calculated. */
export const READERS = [1000, 10_000, 100_000]

/**
 * @typedef {{ readers: number, beyond: boolean, bill: ReturnType<typeof bill> }} Projection
 * @typedef {import("./workload.mjs").Scenario & {
 *   measured: import("./measure.mjs").Measured[], projections: Projection[] }} ScenarioResult
 *
 * @param {Map<import("./workload.mjs").Scenario, import("./measure.mjs").Measured[]>} measured
 * @param {import("./workload.mjs").Plan} plan
 */
export function resultsOf(measured, plan) {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    mode: plan.mode,
    windowSeconds: plan.windowMs / 1000,
    arrivalSeconds: plan.arrivalMs / 1000,
    scenarios: [...measured].map(([scenario, points]) => ({
      ...scenario,
      measured: points,
      projections: READERS.map((readers) => project(scenario, points, readers)),
    })),
  }
}

/** @returns {Projection} */
function project({ streams }, points, readers) {
  const rates = lines(points)
  const load = {
    requestsPerSecond: at(rates.object_requests, readers),
    sockets: at(lineThrough(...points.map((point) => ({ readers: point.readers, rate: point.sockets }))), readers),
  }
  return { readers, beyond: isBeyond(load, streams), bill: bill(month(rates, readers, streams)) }
}

const at = ({ fixed, perReader }, readers) => fixed + perReader * readers
