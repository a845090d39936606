// All measurements, in the order in which they run. Each returns the numbers of one or more figures.

import * as append from "./append.mjs"
import * as catchUp from "./catch-up.mjs"
import * as forks from "./forks.mjs"
import * as freshProcess from "./fresh-process.mjs"
import * as longPoll from "./long-poll.mjs"
import * as size from "./size.mjs"
import * as small from "./small.mjs"
import * as sse from "./sse.mjs"

/**
 * @typedef {object} Figure
 * @property {string} name
 * @property {string} title
 * @property {string} unit
 * @property {"higher" | "lower"} better
 * @property {boolean} [withoutFloor] true if the floor cannot be compared
 *
 * @typedef {Record<string, Record<string, number>>} Numbers of each figure by its name, of each of its cases
 *
 * @typedef {object} Measurement
 * @property {string} name
 * @property {string} group another name by which `--figures` selects it
 * @property {Figure[]} figures
 * @property {(server: import("../targets/index.mjs").Process, plan: import("../options.mjs").Plan,
 *   target: import("../targets/index.mjs").Target) => Promise<Numbers>} run
 */

/** @type {Measurement[]} */
export const measurements = [append, catchUp, forks, small, longPoll, sse, freshProcess, size].flatMap(
  (module) => module.measurements,
)

/** Each figure of these measurements once. @param {Measurement[]} chosen @returns {Figure[]} */
export function figuresOf(chosen) {
  return [...new Map(chosen.flatMap(({ figures }) => figures).map((figure) => [figure.name, figure])).values()]
}
