// The isolate's memory budget, without a server: what it counts, and which tenant runs out first.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { BUDGET_MAX_BYTES, Budget, SMALL_MAX_BYTES, STALE_MS } from "../../src/cloudflare/js/budget.js"
import { numbers } from "./support.mjs"

const MIB = 2 ** 20
const LARGE = SMALL_MAX_BYTES + 1
/** The memory of an isolate. */
const ISOLATE_BYTES = 128 * MIB

/** Takes holds of one size until the budget refuses one. */
function fill(budget, bytes, tenant, address = () => "a") {
  const holds = []
  for (;;) {
    const hold = budget.hold(bytes, tenant, address(holds.length))
    if (hold === undefined) return holds
    holds.push(hold)
  }
}

const sum = (holds, bytes) => holds.length * bytes

test("the budget leaves half of an isolate to the module, its caches and the engine", () => {
  expect(BUDGET_MAX_BYTES).toBeLessThanOrEqual(ISOLATE_BYTES / 2)
})

describe("a tenant that takes all it can leaves as much for others", () => {
  test("the largest append and the largest message fit next to two such tenants", () => {
    const budget = new Budget()
    for (const tenant of ["x", "y"]) expect(sum(fill(budget, LARGE, tenant), LARGE)).toBeGreaterThan(8 * MIB)
    expect(budget.hold(16 * MIB, "good", "a")).toBeDefined()
  })

  test("the largest append fits next to the small holds of two such tenants", () => {
    const budget = new Budget()
    for (const tenant of ["x", "y"]) fill(budget, 128 << 10, tenant)
    expect(budget.hold(16 * MIB, "good", "a")).toBeDefined()
    expect(budget.used).toBeLessThanOrEqual(BUDGET_MAX_BYTES)
  })

  test("small holds fit next to any number of large ones", () => {
    const budget = new Budget()
    for (const n of numbers(50)) fill(budget, LARGE, `t${n}`)
    expect(budget.room("good", "a")).toBeLessThan(MIB)
    expect(sum(fill(budget, 64 << 10, "good"), 64 << 10)).toBeGreaterThanOrEqual(7 * MIB)
  })

  test("the small holds of one tenant leave room for those of another", () => {
    const budget = new Budget()
    expect(sum(fill(budget, 1, "x"), 1024)).toBeLessThanOrEqual(BUDGET_MAX_BYTES / 2)
    expect(sum(fill(budget, 1, "good"), 1024)).toBeGreaterThanOrEqual(BUDGET_MAX_BYTES / 8)
  })

  test("one client address leaves room for others of its tenant", () => {
    const budget = new Budget()
    const mine = sum(fill(budget, LARGE, "x"), LARGE)
    expect(mine).toBeLessThanOrEqual(17 * MIB)
    expect(sum(fill(budget, LARGE, "x", () => "other"), LARGE)).toBeGreaterThanOrEqual(4 * MIB)
  })
})

test("leastRoom is never more than any client's room", () => {
  const budget = new Budget()
  for (const _ of numbers(40)) {
    budget.hold(LARGE, "x", "a")
    expect(budget.leastRoom).toBeLessThanOrEqual(budget.room("x", "a"))
  }
})

test("shrinking or releasing a hold is never refused", () => {
  const budget = new Budget()
  const hold = budget.hold(12 * MIB, "x", "a")
  fill(budget, 64 << 10, "x")
  expect(hold.resize(256 << 10)).toBe(true)
  const used = budget.used
  hold.release()
  expect(used - budget.used).toBe(256 << 10)
})

describe("what the budget counts", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"] }))
  afterEach(() => vi.useRealTimers())

  test("a hold counts while it is renewed, and expires if its owner is gone", () => {
    const budget = new Budget()
    const [kept, lost] = [budget.hold(MIB, "x", "a"), budget.hold(MIB, "x", "a")]
    vi.setSystemTime(Date.now() + STALE_MS - 1)
    kept.renew()
    expect(budget.room("x", "a")).toBe(BUDGET_MAX_BYTES - 16 * MIB - 6 * MIB)
    vi.setSystemTime(Date.now() + 1)
    budget.room("x", "a")
    expect(budget.used).toBe(MIB)
    lost.release()
    kept.release()
    expect(budget.used).toBe(0)
  })

  test("after any sequence of holds the count is their sum, within the budget, and zero at the end", () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      let state = seed
      const random = (below) => {
        state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
        return ((state ^ (state >>> 13)) >>> 0) % below
      }
      const budget = new Budget(8 * MIB)
      const holds = new Map()
      for (const _ of numbers(300)) {
        const bytes = 1024 + random(random(2) ? 40_000 : 2 * MIB)
        const known = [...holds.keys()]
        const hold = known[random(known.length + 1)]
        if (hold === undefined) {
          const taken = budget.hold(bytes, `t${random(3)}`, `a${random(2)}`)
          if (taken) holds.set(taken, bytes)
        } else if (random(2)) {
          if (hold.resize(bytes)) holds.set(hold, bytes)
        } else {
          hold.release()
          holds.delete(hold)
        }
        const counted = [...holds.values()].reduce((one, other) => one + other, 0)
        expect(budget.used, `seed ${seed}`).toBe(counted)
        expect(budget.used).toBeLessThanOrEqual(8 * MIB)
      }
      for (const hold of holds.keys()) hold.release()
      expect(budget.used).toBe(0)
      expect(fill(budget, LARGE, "t0").length + fill(budget, LARGE, "t1").length).toBe(0)
    }
  })
})
