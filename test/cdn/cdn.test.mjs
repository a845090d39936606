// Long-polls through a real cache: how many requests of many readers reach the worker, and that nobody misses anything.

import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { CLOSED, JSON_TYPE, START, Stream, numbers, scratch, startWorkerd, unique } from "../platform/support.mjs"
import { isInstalled, startNginx } from "./nginx.mjs"
import { LongPollReader } from "./readers.mjs"

const installed = isInstalled()
if (!installed) {
  console.error("SKIPPED: there is no nginx here (Debian: apt-get install nginx-light), so nothing is shown of caches.")
}

const READERS = 1000
const APPENDS = 60
const EVERY_MS = 1000

describe.skipIf(!installed)("through nginx", () => {
  let worker
  let nginx
  beforeAll(async () => {
    worker = await startWorkerd(await scratch(), { LOG_LEVEL: "info" })
    nginx = await startNginx(worker.url)
  })
  afterAll(async () => {
    await nginx?.stop()
    await worker?.kill()
  })

  /** One append a second, past the cache. */
  async function write(stream) {
    for (const n of numbers(APPENDS)) {
      await sleep(EVERY_MS)
      await stream.append(`${n}`, JSON_TYPE)
    }
  }

  /** What the readers' long-polls were, and what of them reached the worker. */
  function longPolls(stream) {
    const asked = nginx.requests(stream.path).filter(({ uri }) => uri.includes("live=long-poll"))
    const upstream = asked.filter(({ cache }) => cache !== "HIT")
    return { hitRate: 1 - upstream.length / asked.length, perAppend: upstream.length / APPENDS }
  }

  const told = (what, { hitRate, perAppend }) =>
    console.log(`${what}: hit rate ${(100 * hitRate).toFixed(2)} %, ${perAppend.toFixed(2)} requests upstream for each append`)

  const target = (stream) => `/v1/stream/${stream.path}`

  test.concurrent("1,000 readers, an append a second for a minute", async () => {
    const stream = new Stream(worker.url, unique("cdn"))
    const { next } = await stream.create(JSON_TYPE)
    const readers = numbers(READERS).map(() => new LongPollReader(new URL(nginx.url), target(stream)))
    await Promise.all([write(stream), ...readers.map((reader) => reader.follow(APPENDS, next))])
    for (const { messages } of readers) expect(messages).toEqual(numbers(APPENDS))
    const found = longPolls(stream)
    told("1,000 readers", found)
    expect(found.hitRate).toBeGreaterThanOrEqual(0.99)
    expect(found.perAppend).toBeLessThanOrEqual(2)
  })

  test.concurrent("readers who join in the middle", async () => {
    const stream = new Stream(worker.url, unique("cdn"))
    await stream.create(JSON_TYPE)
    const readers = numbers(READERS).map(() => new LongPollReader(new URL(nginx.url), target(stream)))
    const joining = readers.map(async (reader, index) => {
      await sleep((index / READERS) * (APPENDS / 2) * EVERY_MS)
      await reader.follow(APPENDS)
    })
    await Promise.all([write(stream), ...joining])
    for (const { messages } of readers) expect(messages).toEqual(numbers(APPENDS))
    const found = longPolls(stream)
    told("1,000 readers who join within half a minute", found)
    expect(found.hitRate).toBeGreaterThanOrEqual(0.99)
    expect(found.perAppend).toBeLessThanOrEqual(2)
  })
})
