// Seeded schedules: one number decides all events and their order, so that a failure can be reproduced.

import assert from "node:assert/strict"
import { Random } from "../random.mjs"

/** The number of schedules, and the seed of the first one. `SEED=7` runs only that one. */
const SEEDS = process.env.SEED === undefined ? Number(process.env.SEEDS ?? 3000) : 1
const FIRST = Number(process.env.SEED ?? 1)
/** The longest simulated time of a schedule: far longer than anything may wait. */
const ENDS_AFTER_MS = 3_600_000
/** How many lines of the trace a failure shows. */
const SHOWN_MAX = 40

/** The queue of future events. The seed decides the order of events at the same time. */
export class Schedule {
  now = 1_000_000
  trace = []
  #ends = this.now + ENDS_AFTER_MS
  #events = []

  constructor(seed) {
    this.random = new Random(seed)
  }

  /** Schedules an event. @returns a function that cancels it */
  after(millis, happens) {
    const event = { at: this.now + millis, order: this.random.next(), happens }
    const before = this.#events.findLastIndex(({ at, order }) => at > event.at || (at === event.at && order > event.order))
    this.#events.splice(before + 1, 0, event)
    return () => (event.happens = () => {})
  }

  note(...words) {
    this.trace.push(`${this.now} ${words.join(" ")}`)
  }

  /** Runs all events. */
  run() {
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) {
      this.now = event.at
      assert.ok(this.now < this.#ends, "the schedule does not end")
      event.happens()
    }
  }
}

/**
 * Runs `play` with many seeds.
 * @param {(schedule: Schedule) => void} play throws if an assertion fails
 * @param {string[]} events texts that must occur in the traces, so that the schedules cover them
 */
export function eachSeed(play, events) {
  let missing = events
  for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
    const trace = played(seed, play)
    missing = missing.filter((event) => !trace.some((line) => line.includes(event)))
  }
  assert.ok(SEEDS < 100 || missing.length === 0, `never happened: ${missing.join(", ")}`)
}

/** Asserts that a seed reproduces its trace. */
export function assertReproducible(play) {
  for (const seed of [1, 2, 3]) {
    const trace = played(seed, play)
    assert.ok(trace.length > 10, "the trace is too short")
    assert.deepEqual(played(seed, play), trace)
  }
}

function played(seed, play) {
  const schedule = new Schedule(seed)
  try {
    play(schedule)
  } catch (error) {
    const last = schedule.trace.slice(-SHOWN_MAX).join("\n  ")
    throw new Error(`SEED=${seed}: ${error.message}\nThe last events:\n  ${last}`, { cause: error })
  }
  return schedule.trace
}
