// What a real cache shows of a stream that is deleted, created again, closed, or has another reader key: nothing for longer
// than a header promised, and no bytes of one life among those of another.

import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { BYTES, CLOSED, JSON_TYPE, SOON_MS, START, Stream, elsewhere, numbers, scratch, startWorkerd, unique, within } from "../platform/support.mjs"
import { PROMISED_MS, isInstalled, startNginx } from "./nginx.mjs"

const EVERY_MS = 50
/** How many ask for the same at the same time: to the first the cache may give another answer than to the rest. */
const CROWD = 3
const OLD = "old".repeat(1000)
const NEW = "new".repeat(1000)
const PUBLIC = { "stream-public": "true" }
const held = bearer(AUTH_TOKEN)

describe.skipIf(!isInstalled)("through nginx, where time passes faster", () => {
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

  /** The stream as its writer has it, and as readers have it. */
  function open(isGuarded = false) {
    const stream = new Stream((isGuarded ? guarded : worker).url, unique("life"))
    return { stream, through: new Stream((isGuarded ? guardedNginx : nginx).url, stream.path) }
  }

  const get = (stream, query, headers) => stream.ask("GET", { query, headers: { ...elsewhere(), ...headers } })

  /** Asks for what the cache then has; it answers the second time. */
  async function keep(through, queries, headers) {
    for (const query of queries) {
      const first = await get(through, query, headers)
      expect([query, first.status, first.header("x-cdn")]).toEqual([query, 200, "MISS"])
      expect(first.header("cache-control")).toMatch(/^public, max-age=1, stale-while-revalidate=2,/u)
      expect((await get(through, query, headers)).header("x-cdn")).toBe("HIT")
    }
    return Date.now() + PROMISED_MS
  }

  /** Asks again and again while the cache may show what it has, and once more; what it shows then is the last round. */
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
    ["is not there any more", 404, undefined],
    ["is there again", 410, NEW],
    ["is there again, and empty", 410, ""],
  ])("a stream that was deleted %s", async (_, status, content) => {
    const { stream, through } = open()
    const { next } = await stream.create(BYTES)
    await stream.append(OLD)
    const second = (await stream.read(next)).next
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    const end = `?live=long-poll&offset=${(await stream.ask("HEAD")).next}`
    expect([(await get(through, end)).status, (await get(through, end)).header("x-cdn")]).toEqual([204, "HIT"])
    // What has no offset in it is about whatever stream is there.
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
    // Whoever keeps a copy of a copy knows how old it is.
    const copies = during.filter(({ query, cache }) => cache === "HIT" && below(next).includes(query))
    for (const { date } of copies) expect(date).toBeLessThanOrEqual(keptUntil - PROMISED_MS)
    for (const { query, ...answer } of [...during, ...afterwards]) {
      if (answer.status === 204) expect(query).toBe(end)
      else if (answer.status !== 200) expect([query, answer.status]).toEqual([query, ofOld.includes(query) ? status : 404])
      else if (below(next).includes(query)) expect(slices(OLD)).toContain(answer.text)
      else expect([query, ofNew.includes(query), slices(content ?? "").has(answer.text) || answer.text === ""]).toEqual([query, true, true])
    }
    // It did show what was promised, or this test would show nothing.
    const isOld = ({ query, status }) => status < 300 && ofOld.includes(query)
    for (const kept of [...below(next), end]) {
      expect(during).toContainEqual(expect.objectContaining({ query: kept, cache: "HIT" }))
    }
    expect(afterwards.filter(isOld)).toEqual([])
  })

  test.concurrent("a public stream that is private in its next life", async () => {
    const { stream, through } = open(true)
    const { next } = await stream.create({ ...BYTES, ...held, ...PUBLIC })
    await stream.append(OLD, { ...BYTES, ...held })
    for (const query of ["", "?offset=-1"]) await through.ask("GET", { query, status: 200 })
    const keptUntil = await keep(through, below(next))
    await stream.ask("DELETE", { headers: held, status: 204 })
    const again = await stream.create({ ...BYTES, ...held })
    await stream.append(NEW, { ...BYTES, ...held })
    const key = again.header("stream-reader-key")
    const queries = [...below(next), ...below(again.next), "", "?offset=-1", ...below(`${again.next}&rk=guess`)]
    const { during, afterwards } = await watch(keptUntil, queries, async (query) => {
      // Those who may read it do so all the time, with the key and without.
      for (const url of [...below(again.next), ...below(`${again.next}&rk=${key}`)]) {
        expect(slices(NEW)).toContain((await get(through, url, held)).text)
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
  ])("a stream that is closed %s", async (_, last) => {
    const { stream, through } = open()
    const { next } = await stream.create(JSON_TYPE)
    await stream.append("1", JSON_TYPE)
    await stream.append("2", JSON_TYPE)
    /** Reads to the end as clients do. */
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
    // They wait once one of them has reached the worker from where all of them go on.
    await worker.log.until({ event: "served", stream: stream.path, method: "GET" }, 3)
    const tagged = await get(through, "?offset=-1")
    await stream.ask("POST", { headers: { ...JSON_TYPE, ...CLOSED }, body: last, status: 204 })
    const all = last === undefined ? [1, 2] : [1, 2, 3]
    for (const messages of await Promise.all(readers)) expect(messages).toEqual(all)
    // What the cache has of before says nothing of the end, and what comes after it does.
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

  test.concurrent("many who wait for a stream's end are told of it at once", async () => {
    const { stream, through } = open()
    const { next } = await stream.create(JSON_TYPE)
    const poll = () => get(through, `?live=long-poll&offset=${next}`)
    const waiting = numbers(200).map(poll)
    await worker.log.until({ event: "served", stream: stream.path, method: "GET" })
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    // One after the other they would take nginx half a second each.
    for (const { status, header } of await within(SOON_MS, "all are told", Promise.all(waiting))) {
      expect([status, header("stream-closed"), header("stream-cursor")]).toEqual([204, "true", null])
    }
    expect((await poll()).header("x-cdn")).toMatch(/HIT|EXPIRED/u)
  })

  test.concurrent("HEAD is about the stream, whatever the cache has of GET", async () => {
    const { stream, through } = open(true)
    const { next, header } = await stream.create({ ...BYTES, ...held })
    await stream.append(OLD, { ...BYTES, ...held })
    const query = `?offset=${next}&rk=${header("stream-reader-key")}`
    await keep(through, [query], held)
    for (const ask of [{ headers: held }, { headers: held, query }]) {
      const tail = (await stream.ask("HEAD", ask)).next
      const told = await through.ask("HEAD", { ...ask, status: 200 })
      expect([told.next, told.header("stream-reader-key")]).toEqual([tail, header("stream-reader-key")])
    }
    await through.ask("HEAD", { query, status: 401 })
    expect((await get(through, query, held)).header("x-cdn")).toBe("HIT")
  })

  test.concurrent("a reader key that is replaced", async () => {
    const { stream, through } = open(true)
    const created = await stream.create({ ...BYTES, ...held })
    const [{ next }, old] = [created, created.header("stream-reader-key")]
    const append = (body) => stream.append(body, { ...BYTES, ...held })
    await append(OLD)
    const tail = (await stream.ask("HEAD", { headers: held })).next
    const keyed = (offset, key) => below(offset).map((query) => `${query}&rk=${key}`)
    const keptUntil = await keep(through, keyed(next, old), held)
    // The key is what opens the cache's copies; without a token nothing else is given.
    expect((await get(through, keyed(next, old)[0])).header("x-cdn")).toBe("HIT")
    // Somebody who knows it waits behind somebody who may read.
    const waiting = keyed(tail, old)[1]
    const leads = get(through, waiting, held)
    await guarded.log.until({ event: "served", stream: stream.path, method: "GET" }, 3)
    const follows = get(through, waiting)

    const replaced = await stream.ask("PUT", { headers: { ...BYTES, ...held, "stream-reader-key": "new" }, status: 200 })
    const key = replaced.header("stream-reader-key")
    await append(NEW)
    const { status, header, text } = await leads
    expect([status, header("cache-control"), NEW.startsWith(text)]).toEqual([200, "private, no-cache", true])
    expect((await follows).status).toBe(401)

    const { during, afterwards } = await watch(keptUntil, [...keyed(next, old), ...keyed(tail, old)], async (query) => {
      const [stranger, holder] = [await get(through, query), await get(through, query, held)]
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
    // The new one is as good as the old one was.
    await keep(through, keyed(tail, key), held)
    await through.ask("HEAD", { status: 401 })
    expect((await through.ask("HEAD", { headers: held })).header("stream-reader-key")).toBe(key)
  })
})
