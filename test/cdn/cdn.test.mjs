// Long-polls through a real cache: how many requests of many readers reach the worker, and that every reader receives
// every message.

import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { JSON_TYPE, Stream, numbers, scratch, startWorkerd, unique } from "../platform/support.mjs"
import { isInstalled, startNginx } from "./nginx.mjs"
import { LongPollReader } from "./readers.mjs"

const READERS = 1000
const APPENDS = 60
const EVERY_MS = 1000

describe.skipIf(!isInstalled)("through nginx", () => {
  let worker
  let nginx
  let guarded
  let guardedNginx
  beforeAll(async () => {
    // Only requests that nginx lets through count, so the worker itself must not collapse any.
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

  /** Sends one append per second, past the cache. */
  async function write(stream, headers = {}) {
    for (const n of numbers(APPENDS)) {
      await sleep(EVERY_MS)
      await stream.append(`${n}`, { ...JSON_TYPE, ...headers })
    }
  }

  const targetOf = (stream) => `/v1/stream/${stream.path}`

  /** The share of the readers' long-polls that the cache answered, and how many reached the worker per append. */
  function longPolls(stream, cache) {
    const polls = cache.requests(stream.path).filter(({ uri }) => uri.includes("live=long-poll"))
    const upstream = polls.filter(({ cache }) => cache !== "HIT")
    return { hitRate: 1 - upstream.length / polls.length, perAppend: upstream.length / APPENDS }
  }

  /**
   * Lets 1,000 readers follow the writer. Each receives every message, and few of their long-polls reach the worker.
   */
  async function follow(what, stream, begin, { cache = nginx, target = targetOf(stream), headers } = {}) {
    const readers = numbers(READERS).map(() => new LongPollReader(new URL(cache.url), target, headers))
    await Promise.all([write(stream, headers), ...readers.map(begin)])
    for (const { messages } of readers) expect(messages).toEqual(numbers(APPENDS))
    const { hitRate, perAppend } = longPolls(stream, cache)
    const percent = (100 * hitRate).toFixed(2)
    console.log(`${what}: hit rate ${percent} %, ${perAppend.toFixed(2)} upstream requests per append`)
    expect(hitRate).toBeGreaterThanOrEqual(0.99)
    expect(perAppend).toBeLessThanOrEqual(2)
  }

  test.concurrent("1,000 readers receive an append per second for a minute", async () => {
    const stream = new Stream(worker.url, unique("cdn"))
    const { next } = await stream.create(JSON_TYPE)
    await follow("1,000 readers", stream, (reader) => reader.follow(APPENDS, next))
  })

  test.concurrent("1,000 readers who join in the middle receive every message", async () => {
    const stream = new Stream(worker.url, unique("cdn"))
    await stream.create(JSON_TYPE)
    await follow("1,000 readers that join within half a minute", stream, async (reader, index) => {
      await sleep((index / READERS) * (APPENDS / 2) * EVERY_MS)
      await reader.follow(APPENDS)
    })
  })

  test.concurrent("1,000 readers share a private stream's reader key", async () => {
    const stream = new Stream(guarded.url, unique("cdn"))
    const headers = bearer(AUTH_TOKEN)
    const { next, header } = await stream.create({ ...JSON_TYPE, ...headers })
    const target = `${targetOf(stream)}?rk=${header("stream-reader-key")}`
    const begin = (reader) => reader.follow(APPENDS, next)
    await follow("1,000 readers of a private stream", stream, begin, { cache: guardedNginx, target, headers })
    // Without the key nginx caches nothing, and without a token it returns only copies cached under the key.
    const through = new Stream(guardedNginx.url, stream.path)
    for (let round = 0; round < 2; round += 1) {
      const answer = await through.ask("GET", { query: `?offset=${next}&live=long-poll`, headers, status: 200 })
      expect(answer.header("cache-control")).toBe("private, no-cache")
      await through.ask("GET", { query: `?offset=${next}&live=long-poll`, status: 401 })
      await through.ask("GET", { query: `?offset=${next}&live=long-poll&rk=guess`, status: 401 })
    }
  })
})
