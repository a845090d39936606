// Long-polls through a real cache: how many requests of many readers reach the worker, and that nobody misses anything.

import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { CLOSED, JSON_TYPE, START, Stream, numbers, scratch, startWorkerd, unique } from "../platform/support.mjs"
import { isInstalled, startNginx } from "./nginx.mjs"
import { LongPollReader } from "./readers.mjs"

if (!isInstalled) {
  const missing = "there is no nginx here (Debian: apt-get install nginx), so nothing is shown of caches."
  if (process.env.CI) throw new Error(missing)
  console.error(`SKIPPED: ${missing}`)
}

const READERS = 1000
const APPENDS = 60
const EVERY_MS = 1000

describe.skipIf(!isInstalled)("through nginx", () => {
  let worker
  let nginx
  let guarded
  let guardedNginx
  beforeAll(async () => {
    // What nginx lets through is to be counted, not what the worker collapses besides.
    const vars = { LOG_LEVEL: "info", EDGE_CACHE: "off" }
    worker = await startWorkerd(await scratch(), vars)
    nginx = await startNginx(worker.url)
    guarded = await startWorkerd(await scratch(), { ...vars, AUTH_TOKEN })
    guardedNginx = await startNginx(guarded.url)
  })
  afterAll(async () => {
    await Promise.all([nginx?.stop(), guardedNginx?.stop()])
    await Promise.all([worker?.kill(), guarded?.kill()])
  })

  /** One append a second, past the cache. */
  async function write(stream, headers = {}) {
    for (const n of numbers(APPENDS)) {
      await sleep(EVERY_MS)
      await stream.append(`${n}`, { ...JSON_TYPE, ...headers })
    }
  }

  /** What the readers' long-polls were, and what of them reached the worker. */
  function longPolls(stream, cache = nginx) {
    const asked = cache.requests(stream.path).filter(({ uri }) => uri.includes("live=long-poll"))
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

  test.concurrent("a private stream, asked for with its reader key", async () => {
    const stream = new Stream(guarded.url, unique("cdn"))
    const held = bearer(AUTH_TOKEN)
    const { next, header } = await stream.create({ ...JSON_TYPE, ...held })
    const keyed = `${target(stream)}?rk=${header("stream-reader-key")}`
    const url = new URL(guardedNginx.url)
    const readers = numbers(READERS).map(() => new LongPollReader(url, keyed, held))
    await Promise.all([write(stream, held), ...readers.map((reader) => reader.follow(APPENDS, next))])
    for (const { messages } of readers) expect(messages).toEqual(numbers(APPENDS))
    const found = longPolls(stream, guardedNginx)
    told("1,000 readers of a private stream", found)
    expect(found.hitRate).toBeGreaterThanOrEqual(0.99)
    expect(found.perAppend).toBeLessThanOrEqual(2)
    // Without the key nothing is kept, and without a token nothing is given but what is kept under the key.
    const through = new Stream(guardedNginx.url, stream.path)
    for (let round = 0; round < 2; round += 1) {
      const answer = await through.ask("GET", { query: `?offset=${next}&live=long-poll`, headers: held, status: 200 })
      expect(answer.header("cache-control")).toBe("private, no-cache")
      await through.ask("GET", { query: `?offset=${next}&live=long-poll`, status: 401 })
      await through.ask("GET", { query: `?offset=${next}&live=long-poll&rk=guess`, status: 401 })
    }
  })
})
