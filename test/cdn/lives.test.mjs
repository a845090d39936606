// What a real cache returns for a stream that is deleted, created again, closed, or given another reader key. It
// returns nothing for longer than a header allowed, and never mixes the bytes of two incarnations.

import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { BYTES, CLOSED, JSON_TYPE, SOON_MS, START, Stream, elsewhere, numbers, scratch, startWorkerd, unique, within } from "../platform/support.mjs"
import { PROMISED_MS, isInstalled, startNginx } from "./nginx.mjs"

const EVERY_MS = 50
/** Identical concurrent requests: the cache may answer the first one differently from the rest. */
const CROWD = 3
const OLD = "old".repeat(1000)
const NEW = "new".repeat(1000)
const PUBLIC = { "stream-public": "true" }
const authorized = bearer(AUTH_TOKEN)

describe.skipIf(!isInstalled)("through nginx, with shortened cache lifetimes", () => {
  let worker, nginx, guarded, guardedNginx
  beforeAll(async () => {
    const vars = { CHUNK_MAX_BYTES: "1024" }
    worker = await startWorkerd(await scratch(), vars)
    nginx = await startNginx(worker.url, { isFast: true })
    guarded = await startWorkerd(await scratch(), { ...vars, AUTH_TOKEN, PUBLIC_STREAMS: "on" })
    guardedNginx = await startNginx(guarded.url, { isFast: true })
  })
  afterAll(async () => {
    await Promise.all([nginx?.stop(), guardedNginx?.stop()])
    await Promise.all([worker?.kill(), guarded?.kill()])
  })

  /** The same stream, as its writer reaches it and as readers reach it through nginx. */
  function open(isGuarded = false) {
    const stream = new Stream((isGuarded ? guarded : worker).url, unique("life"))
    return { stream, through: new Stream((isGuarded ? guardedNginx : nginx).url, stream.path) }
  }

  const get = (stream, query, headers) => stream.ask("GET", { query, headers: { ...elsewhere(), ...headers } })

  /** Requests what the cache may store, and checks that the second response comes from the cache. */
  async function keep(through, queries, headers) {
    for (const query of queries) {
      const first = await get(through, query, headers)
      expect([query, first.status, first.header("x-cdn")]).toEqual([query, 200, "MISS"])
      expect(first.header("cache-control")).toMatch(/^public, max-age=1, stale-while-revalidate=2,/u)
      expect((await get(through, query, headers)).header("x-cdn")).toBe("HIT")
    }
    return Date.now() + PROMISED_MS
  }

  /**
   * Repeats requests while the cache may return stored responses, and once more after that. The last round is
   * `afterwards`.
   */
  async function watch(keptUntil, queries, ask) {
    const round = () => Promise.all(queries.flatMap((query) => numbers(CROWD).map(() => ask(query))))
    const during = []
    while (Date.now() <= keptUntil) {
      during.push(...(await round()))
      await sleep(EVERY_MS)
    }
    return { during, afterwards: await round() }
  }

  const below = (next) => [`?offset=${next}`, `?live=long-poll&offset=${next}`]

  const slices = (text) => new Set([text, text.slice(0, 1024), text.slice(1024, 2048), text.slice(2048)])

  test.concurrent.each([
    ["does not exist any more", 404, undefined],
    ["was created again", 410, NEW],
    ["was created again, and is empty", 410, ""],
  ])("a cache forgets a deleted stream in time, if it %s", async (_, status, content) => {
    const { stream, through } = open()
    const { next } = await stream.create(BYTES)
    await stream.append(OLD)
    const second = (await stream.read(next)).next
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    const end = `?live=long-poll&offset=${(await stream.ask("HEAD")).next}`
    expect([(await get(through, end)).status, (await get(through, end)).header("x-cdn")]).toEqual([204, "HIT"])
    // Reads without an offset address whichever incarnation exists.
    const ofAny = ["", "?offset=-1", "?offset=now", ...(content === "" ? [] : ["?live=long-poll&offset=-1"])]
    for (const query of ofAny) expect((await get(through, query)).header("cache-control")).toMatch(/^no-(cache|store)$/u)
    const keptUntil = await keep(through, below(next))
    await stream.delete()
    const again = content === undefined ? undefined : await stream.create(BYTES)
    if (content) await stream.append(content)

    const ofOld = [...below(next), ...below(second), end]
    const ofNew = [...ofAny, ...(content ? below(again.next) : [])]
    const { during, afterwards } = await watch(keptUntil, [...ofOld, ...ofNew], async (query) => {
      const { status, text, header } = await get(through, query)
      return { query, status, text, cache: header("x-cdn"), date: Date.parse(header("date")) }
    })
    // The `Date` of a cached copy tells a downstream cache how old it is.
    const copies = during.filter(({ query, cache }) => cache === "HIT" && below(next).includes(query))
    for (const { date } of copies) expect(date).toBeLessThanOrEqual(keptUntil - PROMISED_MS)
    for (const { query, ...answer } of [...during, ...afterwards]) {
      if (answer.status === 204) expect(query).toBe(end)
      else if (answer.status !== 200) expect([query, answer.status]).toEqual([query, ofOld.includes(query) ? status : 404])
      else if (below(next).includes(query)) expect(slices(OLD)).toContain(answer.text)
      else expect([query, ofNew.includes(query), slices(content ?? "").has(answer.text) || answer.text === ""]).toEqual([query, true, true])
    }
    // The cache did return the allowed copies. Otherwise this test would prove nothing.
    const isOld = ({ query, status }) => status < 300 && ofOld.includes(query)
    for (const kept of [...below(next), end]) {
      expect(during).toContainEqual(expect.objectContaining({ query: kept, cache: "HIT" }))
    }
    expect(afterwards.filter(isOld)).toEqual([])
  })

  test.concurrent("a cache does not disclose a private stream that replaced a public one", async () => {
    const { stream, through } = open(true)
    const { next } = await stream.create({ ...BYTES, ...authorized, ...PUBLIC })
    await stream.append(OLD, { ...BYTES, ...authorized })
    for (const query of ["", "?offset=-1"]) await through.ask("GET", { query, status: 200 })
    const keptUntil = await keep(through, below(next))
    await stream.ask("DELETE", { headers: authorized, status: 204 })
    const again = await stream.create({ ...BYTES, ...authorized })
    await stream.append(NEW, { ...BYTES, ...authorized })
    const key = again.header("stream-reader-key")
    const queries = [...below(next), ...below(again.next), "", "?offset=-1", ...below(`${again.next}&rk=guess`)]
    const { during, afterwards } = await watch(keptUntil, queries, async (query) => {
      // Clients with a token can read all the time, with the reader key and without it.
      for (const url of [...below(again.next), ...below(`${again.next}&rk=${key}`)]) {
        expect(slices(NEW)).toContain((await get(through, url, authorized)).text)
      }
      const { status, text } = await get(through, query)
      return { query, status, text }
    })
    for (const { query, status, text } of during) {
      if (status === 200) expect([below(next).includes(query), slices(OLD).has(text)]).toEqual([true, true])
      else expect([query, status]).toEqual([query, 401])
    }
    expect(new Set(afterwards.map(({ status }) => status))).toEqual(new Set([401]))
  })

  test.concurrent.each([
    ["with a last message", "[3]"],
    ["without one", undefined],
  ])("readers through a cache reach the end of a stream that is closed %s", async (_, last) => {
    const { stream, through } = open()
    const { next } = await stream.create(JSON_TYPE)
    await stream.append("1", JSON_TYPE)
    await stream.append("2", JSON_TYPE)
    /** Follows the stream to its end, as clients do. */
    const follow = async (query, found = []) => {
      const { status, text, header, next } = await get(through, query)
      expect([200, 204], `${query}: ${text}`).toContain(status)
      if (status === 200) found.push(...JSON.parse(text))
      if (header("stream-closed") === "true") return found
      return follow(`?cursor=${header("stream-cursor")}&live=long-poll&offset=${next}`, found)
    }
    await keep(through, [`?live=long-poll&offset=${next}`])
    const readers = [START, next].flatMap((offset) =>
      numbers(CROWD).map(() => follow(offset === START ? "?offset=-1" : `?live=long-poll&offset=${offset}`)),
    )
    // All readers wait once one of them has reached the worker from the common offset.
    await worker.log.until({ event: "served", stream: stream.path, method: "GET" }, 3)
    const tagged = await get(through, "?offset=-1")
    await stream.ask("POST", { headers: { ...JSON_TYPE, ...CLOSED }, body: last, status: 204 })
    const all = last === undefined ? [1, 2] : [1, 2, 3]
    for (const messages of await Promise.all(readers)) expect(messages).toEqual(all)
    // The cached copies from before do not announce the end, but the responses that follow them do.
    expect(await follow(`?live=long-poll&offset=${next}`)).toEqual(all)
    for (const query of ["", "?offset=-1", `?offset=${next}`, "?offset=now"]) {
      const { status, header } = await get(through, query)
      expect([query, status, header("stream-closed")]).toEqual([query, 200, "true"])
    }
    const known = await get(through, "?offset=-1", { "if-none-match": tagged.header("etag") })
    expect([known.status, known.header("stream-closed")]).toEqual([200, "true"])
    const { header } = await through.ask("HEAD", { status: 200 })
    expect(header("stream-closed")).toBe("true")
  })

  test.concurrent("all waiting readers receive a stream's end at once", async () => {
    const { stream, through } = open()
    const { next } = await stream.create(JSON_TYPE)
    const poll = () => get(through, `?live=long-poll&offset=${next}`)
    const waiting = numbers(200).map(poll)
    await worker.log.until({ event: "served", stream: stream.path, method: "GET" })
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    // One after another, the requests would take nginx half a second each.
    for (const { status, header } of await within(SOON_MS, "all readers receive the end", Promise.all(waiting))) {
      expect([status, header("stream-closed"), header("stream-cursor")]).toEqual([204, "true", null])
    }
    expect((await poll()).header("x-cdn")).toMatch(/HIT|EXPIRED/u)
  })

  test.concurrent("a HEAD describes the stream, whatever the cache stores of a GET", async () => {
    const { stream, through } = open(true)
    const { next, header } = await stream.create({ ...BYTES, ...authorized })
    await stream.append(OLD, { ...BYTES, ...authorized })
    const query = `?offset=${next}&rk=${header("stream-reader-key")}`
    await keep(through, [query], authorized)
    for (const ask of [{ headers: authorized }, { headers: authorized, query }]) {
      const tail = (await stream.ask("HEAD", ask)).next
      const described = await through.ask("HEAD", { ...ask, status: 200 })
      expect([described.next, described.header("stream-reader-key")]).toEqual([tail, header("stream-reader-key")])
    }
    await through.ask("HEAD", { query, status: 401 })
    expect((await get(through, query, authorized)).header("x-cdn")).toBe("HIT")
  })

  test.concurrent("a replaced reader key stops opening cached copies in time", async () => {
    const { stream, through } = open(true)
    const created = await stream.create({ ...BYTES, ...authorized })
    const [{ next }, old] = [created, created.header("stream-reader-key")]
    const append = (body) => stream.append(body, { ...BYTES, ...authorized })
    await append(OLD)
    const tail = (await stream.ask("HEAD", { headers: authorized })).next
    const keyed = (offset, key) => below(offset).map((query) => `${query}&rk=${key}`)
    const keptUntil = await keep(through, keyed(next, old), authorized)
    // The key opens the cache's copies. Without a token nginx returns nothing else.
    expect((await get(through, keyed(next, old)[0])).header("x-cdn")).toBe("HIT")
    // A client with only the key waits behind a client with a token.
    const waiting = keyed(tail, old)[1]
    const leads = get(through, waiting, authorized)
    await guarded.log.until({ event: "served", stream: stream.path, method: "GET" }, 3)
    const follows = get(through, waiting)

    const replaced = await stream.ask("PUT", { headers: { ...BYTES, ...authorized, "stream-reader-key": "new" }, status: 200 })
    const key = replaced.header("stream-reader-key")
    await append(NEW)
    const { status, header, text } = await leads
    expect([status, header("cache-control"), NEW.startsWith(text)]).toEqual([200, "private, no-cache", true])
    expect((await follows).status).toBe(401)

    const { during, afterwards } = await watch(keptUntil, [...keyed(next, old), ...keyed(tail, old)], async (query) => {
      const [stranger, holder] = [await get(through, query), await get(through, query, authorized)]
      return { query, stranger, holder }
    })
    for (const { query, stranger, holder } of [...during, ...afterwards]) {
      expect(holder.status).toBe(200)
      if (stranger.status === 200) expect([keyed(next, old).includes(query), slices(OLD).has(stranger.text)]).toEqual([true, true])
      else expect(stranger.status).toBe(401)
      if (keyed(tail, old).includes(query)) expect(holder.header("cache-control")).toBe("private, no-cache")
    }
    for (const { stranger, holder } of afterwards) {
      expect([stranger.status, holder.header("x-cdn"), holder.header("cache-control")]).toEqual([401, expect.not.stringMatching("HIT"), "private, no-cache"])
    }
    // The new key works as the old one did.
    await keep(through, keyed(tail, key), authorized)
    await through.ask("HEAD", { status: 401 })
    expect((await through.ask("HEAD", { headers: authorized })).header("stream-reader-key")).toBe(key)
  })
})
