// A deployment, during which builds meet: this build's Worker in front of objects of an earlier build, the reverse, and
// objects of both that call each other. No data is lost, no answer is wrong, and no request fails.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Bucket } from "./bucket.mjs"
import { BUILDS, startBuilds } from "./builds.mjs"
import { Control, acksOf, pullWake } from "./control.mjs"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { keyOf, messagesOf } from "./segments.mjs"
import { CLOSED, JSON_TYPE, LONG_MS, PATIENT, numbers, producer, scratch, unique } from "./support.mjs"

const ADMIN_TOKEN = "the-token-of-these-tests"
/** More than the Worker sends one by one, so that the rest are appended together. */
const WRITERS = 48

const others = { earlier: "now", now: "earlier" }

/** For each build, a server whose registries run that build. */
const servers = {}
let bucket
beforeAll(async () => {
  bucket = await Bucket.open()
  for (const build of BUILDS) {
    const vars = { ...PATIENT, ADMIN_TOKEN, REGISTRY_BUILD: build, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" }
    servers[build] = await startBuilds(await scratch(), vars, build === "now" ? bucket : undefined)
  }
})
afterAll(async () => {
  for (const server of Object.values(servers)) await server.kill()
  bucket?.close()
})

/** Logged warnings and errors, without those of the earlier build about calls that it does not know. */
const trouble = ({ log }) => log.trouble.filter((line) => !/"cause":"unknown variant `(Record|List|Describe|Orphans)`.*"read question"/.test(line))
afterAll(() => {
  for (const server of Object.values(servers)) expect(trouble(server)).toEqual([])
})

describe.each(BUILDS)("the Worker of the build %s with objects of the other build", (worker) => {
  let server
  beforeAll(() => {
    server = servers.earlier
  })
  const created = async (headers = JSON_TYPE) => {
    const stream = server.stream(worker, unique(others[worker]))
    await stream.create(headers)
    return stream
  }

  test("appends and reads", async () => {
    const stream = await created()
    for (const n of numbers(5)) expect((await stream.append(`${n}`, { ...JSON_TYPE, ...producer(n) })).status).toBe(200)
    expect((await stream.append("4", { ...JSON_TYPE, ...producer(4) })).status).toBe(204)
    await stream.ask("POST", { body: "9", headers: { ...JSON_TYPE, ...producer(9) }, status: 409 })
    expect(await messagesOf(stream)).toEqual(numbers(5))
    const read = await stream.read()
    await stream.ask("GET", { query: "?offset=-1", headers: { "if-none-match": read.header("etag") }, status: 304 })
    expect((await stream.ask("HEAD", { status: 200 })).next).toBe(read.next)
    await stream.delete()
    await stream.ask("GET", { status: 404 })
    await stream.create()
    await stream.ask("GET", { query: `?offset=${read.next}`, status: 410 })
  })

  test("appends in groups", async () => {
    const stream = await created()
    const append = (n) => stream.append(`${n}`, { ...JSON_TYPE, ...producer(0, { id: `p${n}` }) })
    const answers = await Promise.all(numbers(WRITERS).map(append))
    expect(answers.map(({ status }) => status)).toEqual(numbers(WRITERS).map(() => 200))
    await server.log.until({ event: "appended_together", stream: stream.path })
    expect((await messagesOf(stream)).toSorted((a, b) => a - b)).toEqual(numbers(WRITERS))
    const again = await Promise.all(numbers(WRITERS).map(append))
    expect(again.map(({ status }) => status)).toEqual(numbers(WRITERS).map(() => 204))
  })

  test("waits by long-poll", async () => {
    const stream = await created()
    const { next } = await stream.append("0", JSON_TYPE)
    const waiting = [longPoll(stream, next), longPoll(stream, "now")]
    await readersAsked(server, stream, 1)
    await stream.append("1", JSON_TYPE)
    const [answer] = await Promise.all(waiting)
    expect([answer.status, answer.text]).toEqual([200, "[1]"])
    const last = longPoll(stream, answer.next)
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    expect((await last).header("stream-closed")).toBe("true")
  })

  test("follows by SSE", async () => {
    const stream = await created()
    await stream.append("0", JSON_TYPE)
    const readers = await Promise.all(["-1", "now"].map((offset) => SseReader.open(stream, { offset })))
    for (const reader of readers) await reader.untilAtTail()
    for (const n of numbers(20, 1)) await stream.append(`${n}`, JSON_TYPE)
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    for (const reader of readers) await reader.untilEnd()
    expect(readers.map(({ messages }) => messages)).toEqual([numbers(21), numbers(20, 1)])
    expect(readers.map(({ controls }) => controls.at(-1).streamClosed)).toEqual([true, true])
  })

  test("ends live reads when the stream is deleted", async () => {
    const stream = await created()
    const { next } = await stream.append("0", JSON_TYPE)
    const [waiting, reader] = [longPoll(stream, next), await SseReader.open(stream)]
    await readersAsked(server, stream, 2)
    await stream.delete()
    expect((await waiting).status).toBe(404)
    await reader.untilEnd()
    expect(reader.messages).toEqual([0])
  })
})

const from = ({ path }, headers = {}) => ({ "stream-forked-from": `/v1/stream/${path}`, ...headers })

describe.each(BUILDS)("with the Worker of the build %s", (worker) => {
  test.each(BUILDS)("forks may alternate between the builds, if the first source is of the build %s", { timeout: LONG_MS }, async (build) => {
    const server = servers.earlier
    const stream = (of) => server.stream(worker, unique(of))
    const [a, b, c] = [build, others[build], build].map(stream)
    const start = (await a.create(JSON_TYPE)).next
    for (const n of numbers(4)) await a.append(`${n}`, JSON_TYPE)
    await b.create(from(a, { "stream-fork-offset": start, "stream-fork-sub-offset": "3" }))
    await b.append("10", JSON_TYPE)
    // The offset is in the part that the source inherited, and only the part's owner can count its messages.
    await c.create(from(b, { "stream-fork-offset": start, "stream-fork-sub-offset": "2" }))
    await c.append("20", JSON_TYPE)
    await a.append("4", JSON_TYPE)
    const contents = [numbers(5), [0, 1, 2, 10], [0, 1, 20]]
    expect(await Promise.all([a, b, c].map((stream) => messagesOf(stream)))).toEqual(contents)
    for (const [stream, content] of [[b, contents[1]], [c, contents[2]]]) {
      const reader = await SseReader.open(stream)
      await reader.untilMessages(content.length)
      expect(reader.messages).toEqual(content)
      await reader.close()
    }

    const refused = stream(others[build])
    await refused.ask("PUT", { headers: from(stream(build)), status: 404 })
    await refused.ask("PUT", { headers: { ...from(a), "content-type": "text/plain" }, status: 409 })
    await refused.ask("PUT", { headers: from(a, { "stream-fork-offset": start, "stream-fork-sub-offset": "9" }), status: 400 })

    await a.delete()
    await b.delete()
    for (const { path } of [a, b]) await server.stream(others[worker], path).ask("GET", { status: 410 })
    expect(await messagesOf(c)).toEqual(contents[2])
    await c.delete()
    await server.log.until({ event: "released", stream: c.path })
    await server.log.until({ event: "released", stream: b.path })
    for (const stream of [a, b, c]) await stream.ask("GET", { status: 404 })
    await a.create(JSON_TYPE)
  })
})

describe.each(BUILDS)("a registry of the build %s", (build) => {
  test("learns of the streams of both builds, and is listed by both", async () => {
    const server = servers[build]
    const prefixes = BUILDS.map((of) => unique(of))
    const streams = BUILDS.flatMap((worker) => prefixes.map((prefix) => server.stream(worker, unique(`${prefix}/of-${worker}`))))
    for (const stream of streams) await stream.create(JSON_TYPE)
    for (const { path } of streams) await server.log.until({ event: "reported", stream: path })
    const ended = streams.filter((_, at) => at % 3 === 0)
    for (const stream of ended) await stream.delete()
    for (const { path } of ended) await server.log.until({ event: "reported", stream: path }, 2)

    const expected = [...streams.map(({ path }) => `insert ${path}`), ...ended.map(({ path }) => `delete ${path}`)].toSorted()
    const there = streams.filter((stream) => !ended.includes(stream)).map(({ path }) => path)
    for (const worker of BUILDS) {
      const chunks = await server.stream(worker, "__registry__").readAll()
      const events = chunks.flatMap(({ text }) => JSON.parse(text)).map(({ key, headers }) => `${headers.operation} ${key}`)
      const isOurs = (event) => prefixes.some((prefix) => event.includes(` ${prefix}/`))
      expect(events.filter(isOurs).toSorted()).toEqual(expected)
      for (const limit of [1, 40]) {
        const listed = (await Promise.all(prefixes.map((prefix) => list(server.url(worker), prefix, limit)))).flat()
        expect(listed.map(({ path }) => path).toSorted()).toEqual(there.toSorted())
        const shown = listed.map(({ contentType, closed, tail, createdAt }) => [contentType, closed, tail, typeof createdAt])
        const all = there.map(() => ["application/json", false, "0000000000000000_0000000000000000", "number"])
        expect(shown).toEqual(all)
      }
    }
  })
})

/** All pages of a listing. */
async function list(url, prefix, limit) {
  const streams = []
  for (let after = ""; after !== null; ) {
    const query = new URLSearchParams({ prefix, limit, ...(after === "" ? {} : { after }) })
    const response = await fetch(`${url}/v1/streams?${query}`)
    expect(response.status).toBe(200)
    const page = await response.json()
    streams.push(...page.streams)
    after = page.next
  }
  return streams
}

test("a subscription links a stream of the earlier build after the deployment", { timeout: LONG_MS }, async () => {
  const folder = await scratch()
  const vars = { ...PATIENT, REGISTRY_BUILD: "now" }
  let server = await startBuilds(folder, vars)
  try {
    const [old, fresh, wakes] = [unique("earlier"), unique("now"), unique("now-wakes")].map((path) => server.stream("now", path))
    for (const stream of [old, fresh, wakes]) await stream.create(JSON_TYPE)
    const id = unique("sub")
    const subscription = () => new Control(server.url("now")).subscription(id)
    expect((await subscription().put(pullWake(wakes, { streams: [old.path, fresh.path] }))).json.phase).toBe("linking")
    await fresh.append("1", JSON_TYPE)
    await server.log.until({ event: "notified", stream: fresh.path })
    const { json: claimed } = await subscription().claim()
    expect(claimed.streams.filter((stream) => stream.has_pending).map(({ path }) => path)).toEqual([fresh.path])
    const pending = { streams: claimed.streams.filter((stream) => stream.has_pending) }
    expect((await subscription().holds("ack", claimed, { acks: acksOf(pending), done: true })).status).toBe(200)
    // The earlier build serves the stream meanwhile.
    await old.append("1", JSON_TYPE)

    await server.kill()
    server = await startBuilds(folder, vars, undefined, true)
    await expect.poll(async () => (await subscription().shown()).phase, { timeout: LONG_MS }).toBe("active")
    await server.stream("now", old.path).append("2", JSON_TYPE)
    const { json: again } = await subscription().claim()
    expect(again.streams).toMatchObject([{ path: old.path, has_pending: true }])
    expect((await subscription().holds("ack", again, { acks: acksOf(again), done: true })).json).toEqual({ ok: true, next_wake: false })
  } finally {
    await server.kill()
  }
})

test("the audit deletes the orphans of both builds, and nothing else", { timeout: LONG_MS }, async () => {
  const server = servers.now
  const audit = async (worker, query) => {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` }
    const response = await fetch(`${server.url(worker)}/v1/admin/orphans${query}`, { method: "POST", headers })
    expect(response.status).toBe(200)
    const { orphans, unchecked, cursor } = await response.json()
    expect([unchecked, cursor]).toEqual([[], null])
    return orphans.map(({ key }) => key)
  }
  const streams = BUILDS.map((build) => server.stream("now", unique(build)))
  for (const stream of streams) {
    await stream.create(JSON_TYPE)
    for (const n of numbers(4)) await stream.append(`${n}`, JSON_TYPE)
    await server.log.until({ event: "rotated", stream: stream.path })
  }
  for (const worker of BUILDS) {
    const orphans = streams.map((stream) => keyOf(stream, 12)).toSorted()
    for (const key of orphans) bucket.objects.set(key.replace("/1/", "/2/"), Buffer.from("x"))
    const expected = orphans.map((key) => key.replace("/1/", "/2/"))
    expect((await audit(worker, "")).toSorted()).toEqual(expected)
    expect((await audit(worker, "?delete=true")).toSorted()).toEqual(expected)
    expect(await audit(worker, "")).toEqual([])
    expect(expected.filter((key) => bucket.objects.has(key))).toEqual([])
  }
  for (const stream of streams) expect(await messagesOf(stream)).toEqual(numbers(4))
})
