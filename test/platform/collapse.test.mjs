// Reads that many clients share: one request reaches the object, each client receives a response, and no response
// outlives its headers.

import { setTimeout } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { budget } from "../../src/cloudflare/js/budget.js"
import { abandon, collapse, setKinds } from "../../src/cloudflare/js/collapse.js"
import { AUTH_TOKEN, bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"
import { BYTES, JSON_TYPE, PATIENT, SOON_MS, START, numbers, start, unique, within } from "./support.mjs"

const READERS = 50

const poll = (stream, next, query = "", options = {}) =>
  stream.ask("GET", { query: `?offset=${next}&live=long-poll${query}`, ...options })

/** The reads that reached the object. */
const reads = (server, stream) => server.log.matching({ event: "served", stream: stream.path, method: "GET" })

const states = (answers) => answers.map((answer) => answer.header("x-cache")).sort()

const once = (state, others, count) => [state, ...Array(count - 1).fill(others)].sort()

describe("without tokens", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "2", CHUNK_MAX_BYTES: "1024" } })
  })
  afterAll(() => server?.dispose())

  test("long-polls of one URL are collapsed", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    const polls = numbers(READERS).map(() => poll(stream, next, "", { status: 200 }))
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    await stream.append("1", JSON_TYPE)
    const answers = await Promise.all(polls)
    for (const { text, header } of answers) {
      expect([text, header("cache-control")]).toEqual(["[1]", expect.stringContaining("public")])
    }
    expect(states(answers)).toEqual(once("MISS", "HIT", READERS))
    expect(reads(server, stream)).toHaveLength(1)
    // Later requests receive the cached response.
    expect((await poll(stream, next)).header("x-cache")).toBe("HIT")
    expect(reads(server, stream)).toHaveLength(1)
  })

  test("all collapsed long-polls end at one timeout", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    const answers = await Promise.all(numbers(READERS).map(() => poll(stream, next, "", { status: 204 })))
    expect(new Set(answers.map(({ header }) => header("stream-cursor"))).size).toBe(1)
    expect(reads(server, stream)).toHaveLength(1)
    await stream.append("1", JSON_TYPE)
    expect((await poll(stream, next)).text).toBe("[1]")
  })

  test("long-polls one past the tail are not collapsed", async () => {
    const stream = server.stream(unique("collapse"))
    await stream.create(BYTES)
    const { next } = await stream.append("ab")
    const past = next.replace(/2$/, "3")
    const answers = await Promise.all(numbers(3).map(() => poll(stream, past, "", { status: 204 })))
    expect(answers.map((answer) => answer.next)).toEqual([next, next, next])
    expect(states(answers)).not.toContain("HIT")
    expect(reads(server, stream)).toHaveLength(3)
  })

  test("a client that disconnects does not end the long-polls of others", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    const leaves = new AbortController()
    const url = `${stream.url}?offset=${next}&live=long-poll`
    const gone = fetch(url, { signal: leaves.signal }).catch(() => "gone")
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    const polls = numbers(5).map(() => poll(stream, next, "", { status: 200 }))
    // They have arrived once a later request is answered.
    await stream.ask("HEAD", { status: 200 })
    leaves.abort()
    expect(await gone).toBe("gone")
    await stream.ask("HEAD", { status: 200 })
    await stream.append("1", JSON_TYPE)
    for (const { text } of await Promise.all(polls)) expect(text).toBe("[1]")
    expect(reads(server, stream).length).toBeLessThanOrEqual(2)
  })

  test("chunks before the tail are cached, and a chunk with the tail is not", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(BYTES)
    await stream.append("x".repeat(3000))
    expect((await stream.read(START)).header("x-cache")).toBe("BYPASS")
    const seen = []
    for (let round = 0; round < 2; round += 1) {
      for (let at = next, chunk; chunk?.header("stream-up-to-date") !== "true"; at = chunk.next) {
        chunk = await stream.read(at)
        seen.push(chunk.header("x-cache"))
      }
    }
    expect(seen).toEqual(["MISS", "MISS", "BYPASS", "HIT", "HIT", "BYPASS"])
    const hit = await stream.read(next)
    expect(hit.text).toBe("x".repeat(1024))
    // The cache does not extend the lifetime in the object's response.
    const left = Number(/max-age=(\d+)/.exec(hit.header("cache-control"))[1])
    expect(left).toBeLessThan(60)
    expect(hit.header("x-kept-at")).toBeNull()
    const tagged = await stream.ask("GET", { query: `?offset=${next}`, headers: { "if-none-match": hit.header("etag") } })
    expect(tagged.status).toBe(304)
  })

  test("a read after an append returns it", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    await Promise.all(
      numbers(20).map(async (n) => {
        await stream.append(`${n}`, JSON_TYPE)
        const { text } = await stream.read(next)
        expect(JSON.parse(text)).toContain(n)
      }),
    )
  })

  test("the cache returns nothing of an earlier incarnation for the next one", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(BYTES)
    await stream.append("old".repeat(1000))
    expect((await stream.read(next)).header("x-cache")).toBe("MISS")
    await stream.delete()
    const again = await stream.create(BYTES)
    await stream.append("new".repeat(1000))
    expect((await stream.read(again.next)).text).toMatch(/^(new)+n?e?$/)
    expect((await stream.read(START)).text).toMatch(/^(new)+n?e?$/)
    // For the lifetime of its header, an offset of the earlier incarnation still returns its bytes.
    expect((await stream.read(next)).text).toMatch(/^(old)+o?l?$/)
  })

  test("a response is cached for at most the stream's remaining lifetime", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create({ ...BYTES, "stream-ttl": "1" })
    await stream.append("x".repeat(3000))
    const chunk = await stream.read(next)
    expect(chunk.header("cache-control")).toMatch(/max-age=[01],/)
  })
})

describe("with tokens", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { AUTH_TOKEN, PUBLIC_STREAMS: "on", CHUNK_MAX_BYTES: "1024" } })
  })
  afterAll(() => server?.dispose())

  const authorized = bearer(AUTH_TOKEN)
  const get = (stream, query, headers = authorized) => stream.ask("GET", { query, headers })

  const created = async (headers = {}) => {
    const stream = server.stream(unique("collapse"))
    const { next, header } = await stream.create({ ...BYTES, ...authorized, ...headers })
    await stream.append("x".repeat(3000), { ...BYTES, ...authorized })
    return { stream, next, key: header("stream-reader-key") }
  }

  test("a private stream is cached under its reader key, for clients with a token", async () => {
    const { stream, next, key } = await created()
    const head = await stream.ask("HEAD", { headers: authorized, status: 200 })
    expect(head.header("stream-reader-key")).toBe(key)
    for (const state of ["BYPASS", "BYPASS"]) {
      const { header } = await get(stream, `?offset=${next}`)
      expect([header("x-cache"), header("cache-control")]).toEqual([state, "private, no-cache"])
    }
    for (const state of ["MISS", "HIT"]) {
      const { header } = await get(stream, `?offset=${next}&rk=${key}`)
      expect([header("x-cache"), header("cache-control")]).toEqual([state, expect.stringContaining("public")])
    }
    const before = reads(server, stream).length
    for (const query of [`?offset=${next}&rk=${key}`, `?offset=${next}`, `?offset=${next}&rk=x`]) {
      const { status, text } = await get(stream, query, {})
      expect([status, text.includes("xxx")]).toEqual([401, false])
    }
    expect(reads(server, stream).length).toBeGreaterThan(before)
    expect((await get(stream, `?offset=${next}&rk=x`)).header("x-cache")).toBe("BYPASS")
  })

  test("a replaced reader key opens what was cached under it, and no new responses", async () => {
    const { stream, next, key } = await created()
    await get(stream, `?offset=${next}&rk=${key}`)
    const replaced = await stream.ask("PUT", { headers: { ...BYTES, ...authorized, "stream-reader-key": "new" }, status: 200 })
    const other = replaced.header("stream-reader-key")
    expect(other).not.toBe(key)
    const second = (await get(stream, `?offset=${next}&rk=${other}`)).next
    expect((await get(stream, `?offset=${second}&rk=${key}`)).header("cache-control")).toBe("private, no-cache")
    expect((await get(stream, `?offset=${second}&rk=${other}`)).header("cache-control")).toMatch(/^public/)
  })

  test("a public stream is cached for clients without a token", async () => {
    const { stream, next, key } = await created({ "stream-public": "true" })
    expect(key).toBeNull()
    for (const state of ["MISS", "HIT"]) {
      const { header } = await get(stream, `?offset=${next}`, {})
      expect([header("x-cache"), header("cache-control")]).toEqual([state, expect.stringContaining("public")])
    }
  })

  test("a long-poll without a token is not collapsed with those of clients with a token", async () => {
    const { stream } = await created()
    const { next } = await stream.ask("HEAD", { headers: authorized })
    const holds = poll(stream, next, "", { headers: authorized })
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    expect((await poll(stream, next)).status).toBe(401)
    await stream.append("y", { ...BYTES, ...authorized })
    expect((await holds).text).toBe("y")
  })
})

test("a collapsed long-poll ends when the client's own token expires", async () => {
  const key = secretKey()
  const server = await start({ vars: { ...PATIENT, PROJECT_KEYS: JSON.stringify({ a: { keys: [key] } }) } })
  try {
    const stream = server.stream(`a/${unique("collapse")}`)
    const authorized = bearer(makeToken(key, { sub: "a" }))
    const { next, header } = await stream.create({ ...BYTES, ...authorized })
    const query = `&rk=${header("stream-reader-key")}`
    const leads = poll(stream, next, query, { headers: authorized, status: 200 })
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    const brief = bearer(makeToken(key, { sub: "a", exp: inSeconds(2) }))
    const { status, header: headerOf } = await poll(stream, next, query, { headers: brief })
    expect([status, headerOf("stream-next-offset")]).toEqual([204, next])
    await stream.append("for those whose token is valid", { ...BYTES, ...authorized })
    expect((await leads).text).toBe("for those whose token is valid")
    expect((await poll(stream, next, query, { headers: brief })).status).toBe(401)
  } finally {
    await server.dispose()
  }
})

// workerd cannot be made to end a leader in the middle of its request.
describe("a leader that disappears", () => {
  const context = { waitUntil() {} }
  const ask = (answer) => vi.fn(async () => new Response(answer, { headers: { "cache-control": "public, max-age=60" } }))
  const never = () => Promise.withResolvers().promise
  const client = (signal = new AbortController().signal) => ({ signal, request: new Request("https://a.example"), path: "a" })
  const read = (key, upstream, who = client()) => collapse(`https://a.example/${key}`, "readers", context, who, upstream)
  /** The text of an answer that arrives soon. */
  const text = async (answer) => (await within(SOON_MS, "an answer", answer)).text()

  beforeEach(() => {
    setKinds(200, 204)
    vi.stubGlobal("scheduler", { wait: (millis) => setTimeout(millis, undefined, { ref: false }) })
    vi.useFakeTimers({ toFake: ["Date"] })
  })
  afterEach(() => {
    abandon()
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  test("if the module has lost its memory, the followers send their own requests at once", async () => {
    read("a", never)
    const follows = read("a", ask("own"))
    abandon()
    expect(await text(follows)).toBe("own")
  })

  test("frees its place for others after a while", async () => {
    for (const n of numbers(1000)) read(`gone/${n}`, never)
    // All places are taken, so both requests go to the object.
    const alone = [ask("1"), ask("2")]
    for (const upstream of alone) read("b", upstream)
    for (const upstream of alone) expect(upstream).toHaveBeenCalledOnce()
    vi.setSystemTime(Date.now() + 30_000)
    const [leads, follows] = [ask("shared"), ask("own")]
    const answers = [read("b", leads), read("b", follows)]
    expect(await Promise.all(answers.map(text))).toEqual(["shared", "shared"])
    expect(follows).not.toHaveBeenCalled()
  })

  test("a follower that disconnects ends, and sends no request", async () => {
    read("c", never)
    const leaves = new AbortController()
    const upstream = ask("own")
    const follows = read("c", upstream, client(leaves.signal))
    leaves.abort()
    expect(await text(follows)).toBe("")
    expect(upstream).not.toHaveBeenCalled()
  })

  test("a follower that disconnects as the answer arrives occupies no memory", async () => {
    const leads = read("d", ask("shared"))
    const leaves = new AbortController()
    const follows = read("d", ask("own"), client(leaves.signal))
    await leads
    leaves.abort()
    expect(await text(follows)).toBe("")
    expect(budget.used).toBe(0)
  })
})

test("EDGE_CACHE=off collapses and caches nothing", async () => {
  const server = await start({ vars: { EDGE_CACHE: "off", CHUNK_MAX_BYTES: "1024" } })
  try {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create()
    await stream.append("x".repeat(3000))
    for (let round = 0; round < 2; round += 1) expect((await stream.read(next)).header("x-cache")).toBe("MISS")
    expect(reads(server, stream)).toHaveLength(2)
  } finally {
    await server.dispose()
  }
})
