// What the chart of arrivals draws.

import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { RateMeter, SECONDS_SHOWN } from "../../src/console/rates.ts"

beforeEach(() => vi.useFakeTimers({ now: 1_000_000_000 }))
afterEach(() => vi.useRealTimers())

test("The chart begins where the stream was opened", () => {
  const rates = new RateMeter()
  rates.count([{ size: 10 }, { size: 5 }])
  vi.advanceTimersByTime(3_000)
  const [seconds, messages, bytes] = rates.series()
  expect(seconds).toHaveLength(SECONDS_SHOWN)
  expect(seconds.at(-1)).toBe(1_000_002)
  expect(messages.slice(-4)).toEqual([null, 2, 0, 0])
  expect(bytes.slice(-4)).toEqual([null, 15, 0, 0])
  expect(new Set(messages.slice(0, -3))).toEqual(new Set([null]))
  vi.advanceTimersByTime(SECONDS_SHOWN * 1_000)
  expect(rates.series()[1]).toEqual(Array.from({ length: SECONDS_SHOWN }, () => 0))
})
