// The checks that a measurement must pass before it counts.

import { expect, test } from "vitest"
import { expectSane } from "./measure.mjs"
import { plans } from "./workload.mjs"

const scenario = { live: "sse", streams: 1, appendsPerSecond: 1 }
const measured = (cpu, cpu_ms = 0) => ({
  readers: 20,
  seconds: 120,
  appends: 120,
  reconnects: 40,
  timeouts: 0,
  cpu,
  counts: { rows_written: 120, alarms_set: 0, object_requests: 160, object_busy_ms: 1000, object_idle_ms: 118_000, cpu_ms },
})

const passes = (measured, plan) => expect(() => expectSane(measured, scenario, plan)).not.toThrow()
const fails = (measured, plan, why) => expect(() => expectSane(measured, scenario, plan)).toThrow(why)

test("a measurement without CPU time fails", () => {
  for (const plan of Object.values(plans)) {
    fails(measured({ sinceStartMs: 0, inWindowMs: 0 }), plan, /^CPU was used:/)
    fails(measured({ sinceStartMs: NaN, inWindowMs: NaN }), plan, /^CPU was used:/)
  }
  fails(measured({ sinceStartMs: 500, inWindowMs: 0 }), plans.full, /^CPU was used for requests:/)
})

test("a measurement passes if a busy machine uses as much CPU time for the start as for all requests", () => {
  passes(measured({ sinceStartMs: 900, inWindowMs: 400 }, 0), plans.full)
})

test("a tiny run passes if it uses less CPU time than one tick of the clock", () => {
  passes(measured({ sinceStartMs: 500, inWindowMs: 0 }), plans.tiny)
})
