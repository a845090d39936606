// The arithmetic of the bill, checked against sums done by hand.

import { describe, expect, test } from "vitest"
import { MONTH_SECONDS, atLifetime, bill, items, lineThrough, lines, month } from "./bill.mjs"
import { isBeyond } from "./limits.mjs"
import { NO_COUNTS } from "./no-counts.mjs"
import { prices } from "./prices.mjs"
import { dollars } from "./report/table.mjs"

/** The counts of a month: these, and zero for all others. */
const counts = (some) => ({ ...NO_COUNTS, ...some })

const totalOf = (some) => bill(counts(some)).total

describe("the line through two measurements", () => {
  const through = (low, high) => lineThrough({ readers: 20, rate: low }, { readers: 100, rate: high })

  test("has a fixed part and a part per reader", () => {
    expect(through(3, 11)).toEqual({ fixed: 1, perReader: 0.1 })
  })

  test("is flat if readers cost nothing", () => {
    expect(through(1, 1)).toEqual({ fixed: 1, perReader: 0 })
  })

  test("is flat at the higher rate instead of falling with the readers", () => {
    expect(through(5, 4)).toEqual({ fixed: 5, perReader: 0 })
  })

  test("begins at zero with the higher rate per reader instead of below zero", () => {
    expect(through(1, 10)).toEqual({ fixed: 0, perReader: 0.1 })
  })

  test("needs two numbers of readers, the smaller first", () => {
    expect(() => lineThrough({ readers: 20, rate: 1 }, { readers: 20, rate: 2 })).toThrow("the smaller first")
  })

  test("uses rates, so the two windows may differ in length", () => {
    const measured = [
      { readers: 20, seconds: 10, counts: { rows_read: 30 } },
      { readers: 100, seconds: 20, counts: { rows_read: 220 } },
    ]
    expect(lines(measured)).toEqual({ rows_read: { fixed: 1, perReader: 0.1 } })
  })
})

describe("the lifetime of SSE responses", () => {
  const measured = (reconnects, counts, sockets = 20) => ({ readers: 20, seconds: 120, reconnects, sockets, counts })
  const hour = { lifetimeSeconds: 3600, measuredSeconds: 60 }

  test("scales the cost of reconnections, and nothing else", () => {
    const staying = measured(0, { worker_requests: 0, object_requests: 120, cpu_ms: 100 })
    const recycling = measured(42, { worker_requests: 42, object_requests: 162, cpu_ms: 160 }, 23)
    expect(atLifetime({ staying, recycling }, hour)).toEqual({
      ...measured(0.7, { worker_requests: 0.7, object_requests: 120.7, cpu_ms: 101 }, 23),
    })
  })

  test("changes nothing if it is the measured lifetime", () => {
    const [staying, recycling] = [measured(0, { cpu_ms: 100 }), measured(42, { cpu_ms: 160 })]
    expect(atLifetime({ staying, recycling }, { lifetimeSeconds: 60, measuredSeconds: 60 })).toEqual(recycling)
  })

  test("does not make reconnections cheaper than free", () => {
    const [staying, recycling] = [measured(0, { cpu_ms: 100 }), measured(42, { cpu_ms: 90 })]
    expect(atLifetime({ staying, recycling }, hour).counts.cpu_ms).toBe(100)
  })

  test("is not measured with responses that end", () => {
    const both = { staying: measured(1, {}), recycling: measured(42, {}) }
    expect(() => atLifetime(both, hour)).toThrow("has ended")
  })
})

describe("a month", () => {
  const flat = (fixed, perReader = 0) => ({ fixed, perReader })

  test("has 30 days", () => {
    expect(MONTH_SECONDS).toBe(2_592_000)
    const rates = { ...lines([point(1, 0), point(2, 0)]), worker_requests: flat(1, 0.01) }
    // A fixed 1, and 1,000 readers of 0.01 each, are 11 per second.
    expect(month(rates, 1000, 1).worker_requests).toBe(28_512_000)
  })

  test("has no object that is awake for longer than the month, active or idle", () => {
    const rates = { object_busy_ms: flat(0, 1), object_idle_ms: flat(900) }
    // 300 readers keep one object active for 300 ms of each second.
    expect(month(rates, 300, 1, 10)).toEqual({ object_busy_ms: 3000, object_idle_ms: 7000 })
    expect(month(rates, 5000, 1, 10)).toEqual({ object_busy_ms: 10_000, object_idle_ms: 0 })
    expect(month(rates, 5000, 4, 10)).toEqual({ object_busy_ms: 40_000, object_idle_ms: 0 })
  })

  const point = (readers, value) => ({ readers, seconds: 1, counts: counts({ object_idle_ms: value }) })
})

describe("the bill at list prices", () => {
  test.each([
    ["Worker requests", { worker_requests: 10e6 }, 3],
    ["CPU", { cpu_ms: 1e9 }, 20],
    ["object requests", { object_requests: 10e6 }, 1.5],
    ["alarms that fire are object requests", { alarms_rung: 10e6 }, 1.5],
    ["20 closed sockets are one object request", { socket_closes_received: 200e6 }, 1.5],
    // One object that is active all month: 2,592,000 s of 0.128 GB are 331,776 GB-s.
    ["active objects", { object_busy_ms: MONTH_SECONDS * 1000 }, 4.1472],
    ["rows written", { rows_written: 7e6 }, 7],
    ["alarms that are set are rows written", { alarms_set: 7e6 }, 7],
    ["rows read", { rows_read: 5e9 }, 5],
    ["R2 writes", { bucket_class_a: 2e6 }, 9],
    ["R2 reads", { bucket_class_b: 10e6 }, 3.6],
    ["KV reads", { kv_reads: 10e6 }, 5],
    ["D1 rows written", { mirror_rows_written: 3e6 }, 3],
    ["outgoing socket messages are free", { socket_messages_sent: 1e12 }, 0],
  ])("%s", (_, some, expected) => {
    expect(totalOf(some)).toBeCloseTo(expected, 9)
  })

  test("adds up the items, and lists separately what is not in the total", () => {
    const used = { worker_requests: 10e6, rows_written: 7e6, object_idle_ms: 1e9, proxy_answers: 10e6 }
    const { lines, total, withIdle } = bill(counts(used))
    expect(total).toBeCloseTo(10, 9)
    expect(withIdle).toBeCloseTo(11.6, 9)
    const extra = lines.filter((line) => line.extra).map(({ dollars }) => dollars)
    expect(extra).toEqual([expect.closeTo(1.6, 9), expect.closeTo(3, 9)])
  })

  test("has an item for every price", () => {
    expect(new Set(items.map(({ meter }) => meter))).toEqual(new Set(Object.keys(prices)))
  })
})

describe("the amount included in the plan", () => {
  test("is subtracted once, and the plan's price is added", () => {
    const { included, toPay } = bill(counts({ worker_requests: 25e6 }))
    expect(included).toBeCloseTo(3, 9)
    expect(toPay).toBeCloseTo(4.5 + 5, 9)
  })

  test("is never more than what was used", () => {
    const { total, included, toPay } = bill(counts({ rows_written: 1e6, object_busy_ms: 1e6 }))
    expect(included).toBe(total)
    expect(toPay).toBe(5)
  })
})

test("one object serves up to 1,000 requests per second and 30,000 sockets", () => {
  expect(isBeyond({ requestsPerSecond: 1000, sockets: 30_000 }, 1)).toBe(false)
  expect(isBeyond({ requestsPerSecond: 1001, sockets: 0 }, 1)).toBe(true)
  expect(isBeyond({ requestsPerSecond: 0, sockets: 30_001 }, 1)).toBe(true)
  expect(isBeyond({ requestsPerSecond: 1001, sockets: 30_001 }, 2)).toBe(false)
})

test("dollars are rounded to cents, or to dollars from $100", () => {
  const texts = [0, 0.001, 0.125, 4.1472, 1234.5, -6.5].map(dollars)
  expect(texts).toEqual(["$0", "<$0.01", "$0.13", "$4.15", "$1,235", "-$6.50"])
})
