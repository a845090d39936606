// The bill of a million wakes, checked against a sum done by hand, and the check of what each wake counts.

import { expect, test } from "vitest"
import { MONTH_SECONDS } from "./bill.mjs"
import { NO_COUNTS } from "./no-counts.mjs"
import { wakesTable } from "./report/wakes.mjs"
import { billOfMillion, expectCounts } from "./wakes.mjs"

const NOTHING = { ...NO_COUNTS, object_idle_ms: MONTH_SECONDS * 1000 }

test("a million events cost what the counts of a few say", () => {
  // Of each: 1 Worker request, 3 object requests and 2 alarms that ring, 3 rows and 2 alarms set, 5 ms of CPU, 10 ms at
  // work: $0.30 + $0.75 + $5 + $0.10 + $0.016.
  const each = {
    ...{ worker_requests: 1, object_requests: 3, alarms_rung: 2, rows_written: 3, alarms_set: 2 },
    ...{ rows_read: 20, cpu_ms: 5, object_busy_ms: 10 },
  }
  const counts = { ...NOTHING, ...Object.fromEntries(Object.entries(each).map(([name, value]) => [name, value * 4])) }
  const counted = { name: "a", title: "a wake", events: 4, counts }
  expect(billOfMillion(counted).total).toBeCloseTo(0.3 + 0.75 + 5 + 0.02 + 0.1 + 0.016, 9)
  expect(wakesTable([counted])).toContain("| a wake | 1 | 3 | 2, 2 | 3 | 20 | $0.10 | $0.02 | **$6.19** |")
})

test("an event that bills more or less than expected fails", () => {
  const check = (some) => expectCounts("an append", { ...NOTHING, ...some }, 5, { workerRequests: 1, objectRequests: 1, rows: 1 })
  const right = { worker_requests: 5, object_requests: 5, rows_written: 5 }
  expect(() => check(right)).not.toThrow()
  for (const wrong of [{ worker_requests: 6 }, { object_requests: 6 }, { rows_written: 6 }, { rows_written: 4 }]) {
    expect(() => check({ ...right, ...wrong })).toThrow(/^an append: /)
  }
})
