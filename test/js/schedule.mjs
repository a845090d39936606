// Seeded schedules: what happens, and in which order, is decided by one number, so that a failure can be run again.

import assert from "node:assert/strict"
import { Random } from "../random.mjs"

/** How many schedules are run, and the first one's seed: `SEED=7` runs that one alone. */
const SEEDS = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 3000) : 1
const FIRST = Number(process.env.SEED ?? 1)
/** When it is over: far longer than anything may wait. */
const ENDS_AFTER_MS = 3_600_000
/** How much of what happened a failure shows. */
const SHOWN_MAX = 40

/** What is still to happen. Of what is due at the same time, the seed says what comes first. */
export class Schedule {
  now = 1_000_000
  trace = []
  #ends = this.now + ENDS_AFTER_MS
  #events = []

  constructor(seed) {
    this.random = new Random(seed)
  }

  /** Has something happen later. @returns what takes it back */
  after(millis, happens) {
    const event = { at: this.now + millis, order: this.random.next(), happens }
    const before = this.#events.findLastIndex(({ at, order }) => at > event.at || (at === event.at && order > event.order))
    this.#events.splice(before + 1, 0, event)
    return () => (event.happens = () => {})
  }

  note(...words) {
    this.trace.push(`${this.now} ${words.join(" ")}`)
  }

  /** Runs until nothing is left to happen. */
  run() {
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) {
      this.now = event.at
      assert.ok(this.now < this.#ends, "something goes on for ever")
      event.happens()
    }
  }
}

/**
 * Plays with many seeds.
 * @param {(schedule: Schedule) => void} play fails if something is wrong
 * @param {string[]} events what its traces have to show, lest nothing is tested
 */
export function eachSeed(play, events) {
  let missing = events
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const trace = played(seed, play)
    missing = missing.filter((event) => !trace.some((line) => line.includes(event)))
  }
  assert.ok(SEEDS < 100 || missing.length === 0, `never happened: ${missing.join(", ")}`)
}

/** A seed says it all: what happens is the same each time. */
export function assertReproducible(play) {
  for (const seed of [1, 2, 3]) {
    const trace = played(seed, play)
    assert.ok(trace.length > 10, "much happens")
    assert.deepEqual(played(seed, play), trace)
  }
}

function played(seed, play) {
  const schedule = new Schedule(seed)
  try {
    play(schedule)
  } catch (error) {
    const last = schedule.trace.slice(-SHOWN_MAX).join("\n  ")
    throw new Error(`SEED=${seed}: ${error.message}\nWhat happened last:\n  ${last}`, { cause: error })
  }
  return schedule.trace
}
