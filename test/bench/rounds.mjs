// The rounds: in each, every target has a fresh process, and the targets take turns at each measurement. Every process
// first appends and reads: V8 optimises only code that has run often, which takes some seconds for WebAssembly, and a
// real server runs for hours.

import * as append from "./figures/append.mjs"
import * as catchUp from "./figures/catch-up.mjs"
import { FLOOR } from "./targets/index.mjs"

/**
 * @typedef {Map<string, number[]>} Samples by target, one for each round; a hole where a measurement failed
 *
 * @param {object} run
 * @param {import("./targets/index.mjs").Target[]} run.targets
 * @param {import("./figures/index.mjs").Measurement[]} run.measurements
 * @param {import("./options.mjs").Plan} run.plan
 * @param {(line: string) => void} run.tell
 * @returns {Promise<{ samples: Map<string, Map<string, Samples>>, failures: string[] }>} samples by figure and case
 */
export async function measure({ targets, measurements, plan, tell }) {
  const samples = new Map()
  const failures = []
  for (let round = 0; round < plan.rounds; round += 1) {
    const servers = new Servers(targets, plan)
    try {
      for (const [turn, measurement] of measurements.entries()) {
        for (const target of rotated(targets, turn + round)) {
          const where = `round ${round + 1}/${plan.rounds}  ${measurement.name}  ${target.name}`
          const begin = performance.now()
          try {
            const server = await servers.of(target)
            const numbers = await within(plan.timeoutMs, measurement.run(server, plan, target))
            record(samples, numbers, target.name, round)
            tell(`${where}  ${summary(numbers)}  (${((performance.now() - begin) / 1000).toFixed(1)} s)`)
          } catch (error) {
            failures.push(`${where}: ${error.message}`)
            tell(`${where}  FAILED: ${error.message}`)
            // Requests that are still in flight after a failure must not disturb the next measurement.
            await servers.stop(target)
          }
        }
      }
    } finally {
      await servers.stopAll()
    }
  }
  return { samples, failures }
}

/** The servers of one round. */
class Servers {
  constructor(targets, plan) {
    this.targets = targets
    this.plan = plan
    this.running = new Map()
  }

  async of(target) {
    if (!this.running.has(target)) {
      const server = await target.start()
      this.running.set(target, server)
      for (const { warmUp } of [append, catchUp]) await within(this.plan.timeoutMs, warmUp(server, this.plan))
    }
    return this.running.get(target)
  }

  async stop(target) {
    await this.running.get(target)?.stop()
    this.running.delete(target)
  }

  async stopAll() {
    for (const target of this.targets) await this.stop(target)
  }
}

/** The list, rotated so that it begins at another item. */
function rotated(list, by) {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

function within(timeoutMs, promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not finished within ${timeoutMs / 1000} s`)), timeoutMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function record(samples, numbers, target, round) {
  for (const [figure, cases] of Object.entries(numbers)) {
    for (const [name, value] of Object.entries(cases)) {
      const byTarget = at(at(samples, figure, () => new Map()), name, () => new Map())
      at(byTarget, target, () => [])[round] = value
    }
  }
}

/** The value of a key, created if it is missing. */
function at(map, key, make) {
  if (!map.has(key)) map.set(key, make())
  return map.get(key)
}

function summary(numbers) {
  const all = Object.values(numbers).flatMap((cases) => Object.values(cases))
  return all.map((value) => Number(value.toPrecision(3))).join("  ") || "-"
}

/** @typedef {{ min: number, median: number, max: number }} Spread */

/** The summary of one target's samples: their spread, and the spread of their ratios to the floor of the same round. */
export function describe(byTarget, target) {
  const floor = byTarget.get(FLOOR)
  const own = byTarget.get(target)
  if (!own) return undefined
  const rounds = own.map((value, round) => ({ value, ratio: value / (floor?.[round] ?? Number.NaN) }))
  return {
    samples: own.filter(Number.isFinite),
    ...spread(own),
    ratio: target === FLOOR ? undefined : spread(rounds.map(({ ratio }) => ratio)),
  }
}

/** @param {number[]} values @returns {Spread | undefined} */
function spread(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { min: sorted[0], median, max: sorted[sorted.length - 1] }
}
