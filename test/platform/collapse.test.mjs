// Reads that many clients share: one request to the object, an answer for each, and nothing that a header did not promise.

import { setTimeout } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { budget } from "../../src/cloudflare/js/budget.js"
import { abandon, collapse, setKinds } from "../../src/cloudflare/js/collapse.js"
import { AUTH_TOKEN, bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"
import { BYTES, JSON_TYPE, PATIENT, SOON_MS, START, numbers, start, unique, within } from "./support.mjs"

const READERS = 50

const poll = (stream, next, query = "", options = {}) =>
  stream.ask("GET", { query: `?offset=${next}&live=long-poll${query}`, ...options })

/** What reached the object. */
const asked = (server, stream) => server.log.matching({ event: "served", stream: stream.path, method: "GET" })

const states = (answers) => answers.map((answer) => answer.header("x-cache")).sort()

const once = (state, others, count) => [state, ...Array(count - 1).fill(others)].sort()

describe("everybody may read", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "2", CHUNK_MAX_BYTES: "1024" } })
  })
  afterAll(() => server?.dispose())

  test("long-polls of one URL are one long-poll", async () => {
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
    expect(asked(server, stream)).toHaveLength(1)
    // It is kept for whoever asks later.
    expect((await poll(stream, next)).header("x-cache")).toBe("HIT")
    expect(asked(server, stream)).toHaveLength(1)
  })

  test("when time is up, all are told so", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    const answers = await Promise.all(numbers(READERS).map(() => poll(stream, next, "", { status: 204 })))
    expect(new Set(answers.map(({ header }) => header("stream-cursor"))).size).toBe(1)
    expect(asked(server, stream)).toHaveLength(1)
    await stream.append("1", JSON_TYPE)
    expect((await poll(stream, next)).text).toBe("[1]")
  })

  test("one past the tail, nobody is told what another was told", async () => {
    const stream = server.stream(unique("collapse"))
    await stream.create(BYTES)
    const { next } = await stream.append("ab")
    const past = next.replace(/2$/, "3")
    const answers = await Promise.all(numbers(3).map(() => poll(stream, past, "", { status: 204 })))
    expect(answers.map((answer) => answer.next)).toEqual([next, next, next])
    expect(states(answers)).not.toContain("HIT")
    expect(asked(server, stream)).toHaveLength(3)
  })

  test("who goes away leaves the others waiting, and nobody's long-poll ends with its client", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(JSON_TYPE)
    const leaves = new AbortController()
    const url = `${stream.url}?offset=${next}&live=long-poll`
    const gone = fetch(url, { signal: leaves.signal }).catch(() => "gone")
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    const polls = numbers(5).map(() => poll(stream, next, "", { status: 200 }))
    // They have come when a request that came after them is answered.
    await stream.ask("HEAD", { status: 200 })
    leaves.abort()
    expect(await gone).toBe("gone")
    await stream.ask("HEAD", { status: 200 })
    await stream.append("1", JSON_TYPE)
    for (const { text } of await Promise.all(polls)) expect(text).toBe("[1]")
    expect(asked(server, stream).length).toBeLessThanOrEqual(2)
  })

  test("chunks below the tail are kept, and none that has the tail in it", async () => {
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
    // No longer than was promised in the first place.
    const left = Number(/max-age=(\d+)/.exec(hit.header("cache-control"))[1])
    expect(left).toBeLessThan(60)
    expect(hit.header("x-kept-at")).toBeNull()
    const tagged = await stream.ask("GET", { query: `?offset=${next}`, headers: { "if-none-match": hit.header("etag") } })
    expect(tagged.status).toBe(304)
  })

  test("what was appended is there for whoever reads next", async () => {
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

  test("the next life of a URL has nothing of the last one", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create(BYTES)
    await stream.append("old".repeat(1000))
    expect((await stream.read(next)).header("x-cache")).toBe("MISS")
    await stream.delete()
    const again = await stream.create(BYTES)
    await stream.append("new".repeat(1000))
    expect((await stream.read(again.next)).text).toMatch(/^(new)+n?e?$/)
    expect((await stream.read(START)).text).toMatch(/^(new)+n?e?$/)
    // What the old life's header promised, and no longer than that: its own offset still has its own bytes.
    expect((await stream.read(next)).text).toMatch(/^(old)+o?l?$/)
  })

  test("what expires is kept no longer than it lives", async () => {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create({ ...BYTES, "stream-ttl": "1" })
    await stream.append("x".repeat(3000))
    const chunk = await stream.read(next)
    expect(chunk.header("cache-control")).toMatch(/max-age=[01],/)
  })
})

describe("reading takes a token", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { AUTH_TOKEN, PUBLIC_STREAMS: "on", CHUNK_MAX_BYTES: "1024" } })
  })
  afterAll(() => server?.dispose())

  const held = bearer(AUTH_TOKEN)
  const get = (stream, query, headers = held) => stream.ask("GET", { query, headers })

  const created = async (headers = {}) => {
    const stream = server.stream(unique("collapse"))
    const { next, header } = await stream.create({ ...BYTES, ...held, ...headers })
    await stream.append("x".repeat(3000), { ...BYTES, ...held })
    return { stream, next, key: header("stream-reader-key") }
  }

  test("a private stream is kept under its reader key, for holders of a token", async () => {
    const { stream, next, key } = await created()
    const head = await stream.ask("HEAD", { headers: held, status: 200 })
    expect(head.header("stream-reader-key")).toBe(key)
    for (const state of ["BYPASS", "BYPASS"]) {
      const { header } = await get(stream, `?offset=${next}`)
      expect([header("x-cache"), header("cache-control")]).toEqual([state, "private, no-cache"])
    }
    for (const state of ["MISS", "HIT"]) {
      const { header } = await get(stream, `?offset=${next}&rk=${key}`)
      expect([header("x-cache"), header("cache-control")]).toEqual([state, expect.stringContaining("public")])
    }
    const before = asked(server, stream).length
    for (const query of [`?offset=${next}&rk=${key}`, `?offset=${next}`, `?offset=${next}&rk=x`]) {
      const { status, text } = await get(stream, query, {})
      expect([status, text.includes("xxx")]).toEqual([401, false])
    }
    expect(asked(server, stream).length).toBeGreaterThan(before)
    expect((await get(stream, `?offset=${next}&rk=x`)).header("x-cache")).toBe("BYPASS")
  })

  test("a reader key that was replaced finds what was kept under it, and nothing new", async () => {
    const { stream, next, key } = await created()
    await get(stream, `?offset=${next}&rk=${key}`)
    const replaced = await stream.ask("PUT", { headers: { ...BYTES, ...held, "stream-reader-key": "new" }, status: 200 })
    const other = replaced.header("stream-reader-key")
    expect(other).not.toBe(key)
    const second = (await get(stream, `?offset=${next}&rk=${other}`)).next
    expect((await get(stream, `?offset=${second}&rk=${key}`)).header("cache-control")).toBe("private, no-cache")
    expect((await get(stream, `?offset=${second}&rk=${other}`)).header("cache-control")).toMatch(/^public/)
  })

  test("a public stream is kept for strangers", async () => {
    const { stream, next, key } = await created({ "stream-public": "true" })
    expect(key).toBeNull()
    for (const state of ["MISS", "HIT"]) {
      const { header } = await get(stream, `?offset=${next}`, {})
      expect([header("x-cache"), header("cache-control")]).toEqual([state, expect.stringContaining("public")])
    }
  })

  test("a stranger waits with strangers only", async () => {
    const { stream } = await created()
    const { next } = await stream.ask("HEAD", { headers: held })
    const holds = poll(stream, next, "", { headers: held })
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    expect((await poll(stream, next)).status).toBe(401)
    await stream.append("y", { ...BYTES, ...held })
    expect((await holds).text).toBe("y")
  })
})

test("whoever waits for what others asked waits no longer than its own token allows", async () => {
  const key = secretKey()
  const server = await start({ vars: { ...PATIENT, PROJECT_KEYS: JSON.stringify({ a: { keys: [key] } }) } })
  try {
    const stream = server.stream(`a/${unique("collapse")}`)
    const held = bearer(makeToken(key, { sub: "a" }))
    const { next, header } = await stream.create({ ...BYTES, ...held })
    const query = `&rk=${header("stream-reader-key")}`
    const leads = poll(stream, next, query, { headers: held, status: 200 })
    await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    const brief = bearer(makeToken(key, { sub: "a", exp: inSeconds(2) }))
    const { status, header: told } = await poll(stream, next, query, { headers: brief })
    expect([status, told("stream-next-offset")]).toEqual([204, next])
    await stream.append("for those whose token is valid", { ...BYTES, ...held })
    expect((await leads).text).toBe("for those whose token is valid")
    expect((await poll(stream, next, query, { headers: brief })).status).toBe(401)
  } finally {
    await server.dispose()
  }
})

// What workerd cannot be made to do: leaders that end in the middle.
describe("who leads is gone without a word", () => {
  const context = { waitUntil() {} }
  const ask = (answer) => vi.fn(async () => new Response(answer, { headers: { "cache-control": "public, max-age=60" } }))
  const never = () => Promise.withResolvers().promise
  const client = (signal = new AbortController().signal) => ({ signal, request: new Request("https://a.example"), path: "a" })
  const read = (key, upstream, who = client()) => collapse(`https://a.example/${key}`, "readers", context, who, upstream)
  /** What is told without waiting any longer. */
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

  test("with the module's memory: those who wait ask for themselves, at once", async () => {
    read("a", never)
    const follows = read("a", ask("own"))
    abandon()
    expect(await text(follows)).toBe("own")
  })

  test("the place is free for others after a while", async () => {
    for (const n of numbers(1000)) read(`gone/${n}`, never)
    // There is no room: both ask.
    const alone = [ask("1"), ask("2")]
    for (const upstream of alone) read("b", upstream)
    for (const upstream of alone) expect(upstream).toHaveBeenCalledOnce()
    vi.setSystemTime(Date.now() + 30_000)
    const [leads, follows] = [ask("shared"), ask("own")]
    const answers = [read("b", leads), read("b", follows)]
    expect(await Promise.all(answers.map(text))).toEqual(["shared", "shared"])
    expect(follows).not.toHaveBeenCalled()
  })

  test("who follows and leaves is done with, and asks for nothing", async () => {
    read("c", never)
    const leaves = new AbortController()
    const upstream = ask("own")
    const follows = read("c", upstream, client(leaves.signal))
    leaves.abort()
    expect(await text(follows)).toBe("")
    expect(upstream).not.toHaveBeenCalled()
  })

  test("who follows and leaves as the answer comes takes no room with it", async () => {
    const leads = read("d", ask("shared"))
    const leaves = new AbortController()
    const follows = read("d", ask("own"), client(leaves.signal))
    await leads
    leaves.abort()
    expect(await text(follows)).toBe("")
    expect(budget.used).toBe(0)
  })
})

test("EDGE_CACHE=off shares and keeps nothing", async () => {
  const server = await start({ vars: { EDGE_CACHE: "off", CHUNK_MAX_BYTES: "1024" } })
  try {
    const stream = server.stream(unique("collapse"))
    const { next } = await stream.create()
    await stream.append("x".repeat(3000))
    for (let round = 0; round < 2; round += 1) expect((await stream.read(next)).header("x-cache")).toBe("MISS")
    expect(asked(server, stream)).toHaveLength(2)
  } finally {
    await server.dispose()
  }
})
