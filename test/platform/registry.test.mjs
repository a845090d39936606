// The registry on workerd: other objects report to it, clients read it like any stream, listings have pages, and it is
// complete after a SIGKILL.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { AUTH_TOKEN, bearer, makeToken, secretKey } from "../tokens.mjs"
import { SseReader } from "./readers.mjs"
import { alarmsIn, eachFile, startKnown } from "./segments.mjs"
import {
  BYTES,
  CLOSED,
  JSON_TYPE,
  LONG_MS,
  PATIENT,
  SOON_MS,
  TEXT,
  numbers,
  producer,
  scratch,
  start,
  startWorkerd,
  unique,
} from "./support.mjs"

const insert = (path, contentType = BYTES["content-type"]) => event("insert", path, contentType)
const gone = (path, contentType = BYTES["content-type"]) => event("delete", path, contentType)
const event = (operation, path, contentType) => ({
  type: "stream",
  key: path,
  value: { path, contentType, createdAt: expect.any(Number) },
  headers: { operation },
})

/** Waits until a stream has reported this many times. */
const reported = (server, stream, count = 1) => server.log.until({ event: "reported", stream: stream.path }, count)

/** All events of a registry, page by page. */
async function eventsOf(registry, headers = {}) {
  const events = []
  for (let offset = "-1"; ; ) {
    const { text, next, header } = await registry.ask("GET", { query: `?offset=${offset}`, headers, status: 200 })
    events.push(...JSON.parse(text))
    if (header("stream-up-to-date")) return events
    offset = next
  }
}

/** One page of a listing. */
async function list(server, query = {}, { headers = {}, status = 200 } = {}) {
  const url = `${server.url}/v1/streams?${new URLSearchParams(query)}`
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(SOON_MS) })
  const page = await response.json()
  expect([response.status, page.error?.message]).toEqual([status, page.error && expect.stringMatching(/\.$/)])
  expect(response.headers.get("cache-control")).toBe("no-store")
  return { ...page, code: page.error?.code, headers: response.headers }
}

/** All pages of a listing. */
async function listAll(server, query, options) {
  const streams = []
  for (let after; ; ) {
    const page = await list(server, { ...query, ...(after && { after }) }, options)
    streams.push(...page.streams)
    if (page.next === null) return streams
    expect(after === undefined || page.next > after).toBe(true)
    after = page.next
  }
}

describe("the registry of all streams", () => {
  let server, registry
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
    registry = server.stream("__registry__")
    // The first stream creates the registry.
    await registry.ask("GET", { query: "?offset=-1", status: 404 })
    const first = server.stream(unique("first"))
    await first.create()
    await reported(server, first)
  })
  afterAll(() => server?.kill())

  test("is an ordinary stream to live readers", async () => {
    const reader = await SseReader.open(registry, { offset: "now" })
    const stream = server.stream(unique("seen"))
    const before = Date.now()
    await reader.untilAtTail()
    await stream.create(TEXT)
    await reader.untilMessages(1)
    await stream.append("hello", TEXT)
    await stream.delete()
    await reader.untilMessages(2)
    await stream.create(JSON_TYPE)
    await reader.untilMessages(3)
    const { messages } = reader
    expect(messages).toEqual([
      insert(stream.path, TEXT["content-type"]),
      gone(stream.path, TEXT["content-type"]),
      insert(stream.path, "application/json"),
    ])
    expect(messages[0].value.createdAt).toBe(messages[1].value.createdAt)
    expect(Math.abs(messages[0].value.createdAt - before)).toBeLessThan(SOON_MS)
    reader.close()
  })

  test("is cacheable, and supports long-polls", async () => {
    const head = await registry.ask("HEAD", { status: 200 })
    expect(head.header("content-type")).toBe("application/json")
    const waiting = registry.ask("GET", { query: `?offset=${head.next}&live=long-poll`, status: 200 })
    const stream = server.stream(unique("waited-for"))
    await stream.create()
    const { text, header } = await waiting
    expect(JSON.parse(text)).toContainEqual(insert(stream.path))
    expect(header("cache-control")).toMatch(/^public, max-age=60/u)
  })

  test("cannot be written by clients", async () => {
    const before = await eventsOf(registry)
    const forged = { headers: { ...JSON_TYPE, ...producer(0, { id: "forged", epoch: 1 }) }, body: "{}" }
    for (const [method, options] of [
      ["PUT", { headers: JSON_TYPE }],
      ["PUT", { headers: { ...JSON_TYPE, "stream-forked-from": "/v1/stream/x" } }],
      ["POST", forged],
      ["POST", { headers: CLOSED }],
      ["DELETE", {}],
    ]) {
      for (const path of ["__registry__", "__%72egistry__", "a/__registry__", "a%2F__registry__"]) {
        const { text } = await server.stream(path).ask(method, { ...options, status: 403 })
        expect(JSON.parse(text).error.code).toBe("read_only")
      }
    }
    expect(await eventsOf(registry)).toEqual(before)
    expect((await list(server, { prefix: "forged" })).streams).toEqual([])
  })

  test("costs one row in each reporting stream, and two in the registry", async () => {
    const stream = server.stream(unique("rows"))
    const rows = (event, path, count) =>
      server.log.until({ event, stream: path }, count).then((lines) => lines.map(({ rows_written }) => rows_written))
    await stream.create()
    await reported(server, stream)
    await stream.append("x")
    await stream.read()
    await stream.delete()
    expect(await rows("reported", stream.path, 2)).toEqual([1, 1])
    // One row of the delete is its alarm.
    expect(await rows("served", stream.path, 4)).toEqual([5, 1, 0, 2])
    const recorded = await rows("recorded", "__registry__", 3)
    // The first event creates the registry's own stream and its table of producers.
    expect(recorded[0]).toBe(5 + 4)
    expect(new Set(recorded.slice(1))).toEqual(new Set([2]))
  })

  test("receives the end of a stream that expires", async () => {
    const stream = server.stream(unique("ends"))
    await stream.create({ ...BYTES, "stream-ttl": "1" })
    await reported(server, stream, 2)
    const events = (await eventsOf(registry)).filter(({ key }) => key === stream.path)
    expect(events).toEqual([insert(stream.path), gone(stream.path)])
    expect(server.log.matching({ event: "served", stream: stream.path })).toHaveLength(1)
    expect(server.log.matching({ event: "rearmed", stream: stream.path })).toEqual([])
  })

  test("receives the end of a stream that is gone at once, and not again when its last fork ends", async () => {
    const reader = await SseReader.open(registry, { offset: "now" })
    await reader.untilAtTail()
    const source = server.stream(unique("source"))
    await source.create(TEXT, "hello")
    await reader.untilMessages(1)
    const fork = server.stream(unique("fork"))
    await fork.create({ "stream-forked-from": `/v1/stream/${source.path}` })
    await reader.untilMessages(2)
    await source.delete()
    await source.ask("HEAD", { status: 410 })
    await reader.untilMessages(3)
    expect((await list(server, { prefix: source.path })).streams).toEqual([])
    expect((await list(server, { prefix: fork.path })).streams).toMatchObject([{ path: fork.path, closed: false }])
    await fork.delete()
    await reader.untilMessages(4)
    // The source ends with its last fork, and can be created again.
    await server.log.until({ event: "released", stream: fork.path })
    await source.create(TEXT)
    await reader.untilMessages(5)
    const text = TEXT["content-type"]
    expect(reader.messages).toEqual([
      insert(source.path, text),
      insert(fork.path, text),
      gone(source.path, text),
      gone(fork.path, text),
      insert(source.path, text),
    ])
    reader.close()
  })

  test("lists existing streams page by page", async () => {
    const prefix = `${unique("listed")}/`
    const streams = numbers(230).map((n) => server.stream(`${prefix}${String(n).padStart(3, "0")}`))
    const other = server.stream(unique("listed"))
    const reader = await SseReader.open(registry, { offset: "now" })
    await reader.untilAtTail()
    await Promise.all([other.create(), ...streams.map((stream) => stream.create(TEXT))])
    await streams[1].append("hello", TEXT)
    await streams[2].append(undefined, CLOSED)
    for (const n of numbers(100, 100)) await streams[n].delete()
    await reader.untilMessages(231 + 100)
    reader.close()

    const there = streams.filter((_, n) => n < 100 || n >= 200)
    const row = ({ path }, more) => ({
      path,
      contentType: TEXT["content-type"],
      createdAt: expect.any(Number),
      closed: false,
      tail: "0000000000000000_0000000000000000",
      ...more,
    })
    const expected = there.map((stream) => row(stream))
    expected[1].tail = "0000000000000000_0000000000000005"
    expected[2].closed = true
    for (const limit of ["7", "40", "100"]) expect(await listAll(server, { prefix, limit })).toEqual(expected)
    expect((await list(server, { prefix })).streams).toHaveLength(40)
    expect(await listAll(server, { prefix, after: streams[220].path })).toEqual(expected.slice(-9))
    const all = await listAll(server, { limit: "100" })
    expect(all.map(({ path }) => path)).toEqual(expect.arrayContaining([other.path, ...there.map(({ path }) => path)]))
    expect(all.map(({ path }) => path)).not.toContain("__registry__")
    // A stream that has ended, but has not reported it yet, is left out and reports it.
    const late = server.stream(`${prefix}late`)
    await late.create({ ...TEXT, "stream-ttl": "1" })
    await reported(server, late, 2)
    expect((await list(server, { prefix: late.path })).streams).toEqual([])
  }, LONG_MS)

  test("refuses an invalid listing, and says what to change", async () => {
    for (const query of [{ limit: "0" }, { limit: "101" }, { limit: "x" }, { after: "" }, { prefix: "x".repeat(742) }, { token: "x" }]) {
      expect((await list(server, query, { status: 400 })).code).toBe("invalid_query")
    }
    const response = await fetch(`${server.url}/v1/streams`, { method: "DELETE" })
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, OPTIONS"])
    await response.text()
    const { headers } = await list(server, {}, { headers: { origin: "https://app.example" } })
    expect(headers.get("access-control-allow-origin")).toBe("*")
  })
})

test("the registry rotates like any stream, and stays complete", async () => {
  const server = await start({ vars: { SEGMENT_MAX_APPENDS: "3", ADMIN_TOKEN: AUTH_TOKEN } })
  onTestFinished(() => server.dispose())
  const streams = numbers(10).map((n) => server.stream(unique(`rotated-${n}`)))
  for (const stream of streams) {
    await stream.create()
    await reported(server, stream)
  }
  await server.log.until({ event: "rotated", stream: "__registry__" }, 3)
  expect(await eventsOf(server.stream("__registry__"))).toEqual(streams.map(({ path }) => insert(path)))
  const paths = streams.map(({ path }) => path).sort()
  expect((await listAll(server, { prefix: "rotated-", limit: "4" })).map(({ path }) => path)).toEqual(paths)
  const orphans = await fetch(`${server.url}/v1/admin/orphans`, { method: "POST", headers: bearer(AUTH_TOKEN) })
  expect(await orphans.json()).toMatchObject({ orphans: [], unchecked: [], foreign: [], checked: 3 })
})

test("the registry receives an event from the stream's alarm after a failure, without any request", async () => {
  const persistTo = await scratch()
  let stream
  /** Runs a server, and kills it. */
  const live = async (life) => {
    const server = await startKnown({ persistTo })
    try {
      await life(server)
    } finally {
      await server.kill()
    }
  }
  /** Sets the schema version of the registry's row, or restores it. The server cannot read an unknown version. */
  const tamper = async (version) => {
    let had
    await eachFile(persistTo, (database) => {
      if (!database.prepare("SELECT name FROM sqlite_master WHERE name = 'stream'").get()) return
      had ??= database.prepare("SELECT schema_version FROM stream WHERE path = '__registry__'").get()?.schema_version
      database.exec(`UPDATE stream SET schema_version = ${version} WHERE path = '__registry__'`)
    })
    return had
  }
  await live(async (server) => {
    stream = server.stream(unique("failing"))
    await stream.create()
    await reported(server, stream)
  })
  const readable = await tamper(99)
  await live(async (server) => {
    await server.stream(stream.path).delete()
    const [{ cause }] = await server.log.until({ level: "error", operation: "report stream" })
    expect(cause).toContain("schema version 99")
    // The object answers again once its alarm is stored.
    await server.stream(stream.path).ask("HEAD", { status: 404 })
    expect((await list(server, {}, { status: 503 })).code).toBe("unavailable")
  })
  const [inMs, ...more] = await alarmsIn(persistTo, { ringNow: true })
  expect(inMs).toBeGreaterThan(0)
  expect(inMs).toBeLessThanOrEqual(60_000)
  expect(more).toHaveLength(1)
  await tamper(readable)
  await live(async (server) => {
    await reported(server, stream)
    expect(server.log.matching({ event: "served" })).toEqual([])
    expect(await eventsOf(server.stream("__registry__"))).toEqual([insert(stream.path), gone(stream.path)])
  })
})

test("a registry that is turned on later receives existing streams", async () => {
  const folder = await scratch()
  const off = await startWorkerd(folder, { REGISTRY_STREAM: "off" })
  const stream = off.stream(unique("quiet"))
  await stream.create()
  await stream.delete()
  await stream.create(JSON_TYPE)
  expect((await list(off, {}, { status: 501 })).code).toBe("not_implemented")
  await off.stream("__registry__").ask("GET", { query: "?offset=-1", status: 404 })
  const served = await off.log.until({ event: "served", stream: stream.path }, 3)
  expect(served.map(({ rows_written }) => rows_written)).toEqual([5, 1, 3])
  await off.kill()
  const on = await startWorkerd(folder)
  onTestFinished(() => on.kill())
  await on.stream(stream.path).ask("HEAD", { status: 200 })
  await reported(on, stream)
  expect(await eventsOf(on.stream("__registry__"))).toEqual([insert(stream.path, "application/json")])
})

describe("the registry of each project", () => {
  const keys = { victim: secretKey(), mallory: secretKey() }
  const PROJECT_KEYS = JSON.stringify(Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, { keys: [key] }])))
  const as = (sub, claims = {}) => ({ headers: bearer(makeToken(keys[sub], { sub, ...claims })) })
  let server, stream, other
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), { ...PATIENT, PROJECT_KEYS, CORS_ORIGINS: "https://app.example" })
    stream = server.stream(`victim/${unique()}`)
    other = server.stream(`mallory/${unique()}`)
    for (const [sub, made] of Object.entries({ victim: stream, mallory: other })) {
      await made.ask("PUT", { headers: { ...BYTES, ...as(sub).headers }, status: 201 })
      await reported(server, made)
    }
  })
  afterAll(() => server?.kill())

  const registryOf = (project) => server.stream(`${project}/__registry__`)

  test("belongs to its project: no other client reads it, and no other stream is in it", async () => {
    expect(await eventsOf(registryOf("victim"), as("victim").headers)).toEqual([insert(stream.path)])
    expect(await eventsOf(registryOf("mallory"), as("mallory").headers)).toEqual([insert(other.path)])
    const attempts = {
      401: [{}, { headers: bearer("x") }, { headers: bearer(makeToken(keys.mallory, { sub: "victim" })) }],
      403: [as("mallory"), as("mallory", { stream: "victim/*" }), as("victim", { scope: "write manage" }), as("victim", { stream: "victim/a/*" })],
    }
    for (const [status, given] of Object.entries(attempts)) {
      for (const { headers } of given) {
        for (const query of ["?offset=-1", "?offset=-1&live=sse", "?offset=now&live=long-poll"]) {
          await registryOf("victim").ask("GET", { query, headers, status: Number(status) })
        }
        await registryOf("victim").ask("HEAD", { headers, status: Number(status) })
      }
    }
    // The registry of a server without projects belongs to no client here.
    for (const { headers } of [{}, as("victim"), as("mallory")]) {
      const { status } = await server.stream("__registry__").ask("GET", { query: "?offset=-1", headers })
      expect([401, 403]).toContain(status)
    }
    for (const method of ["PUT", "POST", "DELETE"]) {
      for (const { headers } of [{}, as("victim"), as("mallory")]) {
        const body = method === "POST" ? "{}" : undefined
        await registryOf("victim").ask(method, { headers: { ...JSON_TYPE, ...headers }, body, status: 403 })
      }
    }
    expect(await eventsOf(registryOf("victim"), as("victim").headers)).toEqual([insert(stream.path)])
  })

  test("can be listed with the scope manage, within the token's streams", async () => {
    const paths = async (query, options) => (await list(server, query, options)).streams.map(({ path }) => path)
    expect(await paths({}, as("victim"))).toEqual([stream.path])
    expect(await paths({ prefix: "victim/" }, as("victim", { scope: "manage" }))).toEqual([stream.path])
    expect(await paths({ prefix: "v" }, as("victim"))).toEqual([stream.path])
    expect(await paths({ after: "a" }, as("mallory"))).toEqual([other.path])
    expect(await paths({}, as("victim", { stream: "victim/a/*" }))).toEqual([])
    for (const [query, options] of [
      [{}, as("victim", { scope: "read write" })],
      [{}, as("victim", { stream: stream.path })],
      [{ prefix: "victim/" }, as("mallory")],
      [{ prefix: "victim/" }, as("mallory", { stream: "victim/*" })],
      [{}, as("mallory", { stream: "victim/*" })],
      [{ prefix: "__registry__" }, as("mallory")],
    ]) {
      expect((await list(server, query, { ...options, status: 403 })).code).toBe("forbidden")
    }
    const token = makeToken(keys.victim, { sub: "victim" })
    for (const headers of [{}, bearer("x"), { cookie: `stream-token=${token}` }, bearer(makeToken(keys.mallory, { sub: "__registry__" }))]) {
      expect((await list(server, {}, { headers, status: 401 })).code).toBe("unauthorized")
    }
    expect((await list(server, { token }, { ...as("victim"), status: 400 })).code).toBe("invalid_query")
    const origin = { origin: "https://app.example" }
    const { headers } = await list(server, {}, { headers: { ...as("victim").headers, ...origin } })
    expect(headers.get("access-control-allow-origin")).toBe(origin.origin)
  })

  test("is not the name of a project", async () => {
    const locked = await startWorkerd(await scratch(), { PROJECT_KEYS: JSON.stringify({ __registry__: { keys: [keys.victim] } }) })
    onTestFinished(() => locked.kill())
    expect((await list(locked, {}, { status: 503 })).code).toBe("not_configured")
  })
})

test("the registry has each event once, after SIGKILLs during reports and during recording", async () => {
  const folder = await scratch()
  const before = await startWorkerd(folder)
  const paths = numbers(60).map((n) => unique(`killed-${n}`))
  const acknowledged = paths.map(() => [])
  // Each writer creates and deletes until the server has ended.
  const run = async (n) => {
    const stream = before.stream(paths[n])
    for (;;) {
      for (const [method, operation] of [["PUT", "insert"], ["DELETE", "delete"]]) {
        try {
          await stream.ask(method, { headers: BYTES, status: [201, 204] })
        } catch (error) {
          if (error instanceof TypeError) return
          throw error
        }
        acknowledged[n].push(operation)
      }
    }
  }
  const running = Promise.all(paths.map((_, n) => run(n)))
  await before.log.until({ event: "recorded", stream: "__registry__" }, 100)
  await before.kill()
  await running

  const after = await startWorkerd(folder)
  onTestFinished(() => after.kill())
  // A request for a stream makes it report what is missing. After that there is nothing left to report.
  const statuses = await Promise.all(paths.map(async (path) => (await after.stream(path).ask("HEAD")).status))
  const registry = after.stream("__registry__")
  const isWhole = (operations, n) => {
    const stored = [acknowledged[n].length, acknowledged[n].length + 1]
    const isThere = operations.length % 2 === 1
    return stored.includes(operations.length) && isThere === (statuses[n] === 200)
  }
  const operationsOf = async () => {
    const events = await eventsOf(registry)
    return paths.map((path) => events.filter(({ key }) => key === path).map(({ headers }) => headers.operation))
  }
  let operations = await operationsOf()
  for (let count = 1; !operations.every(isWhole); count += 1) {
    await after.log.until({ event: "recorded", stream: "__registry__" }, count)
    operations = await operationsOf()
  }
  for (const [n, found] of operations.entries()) {
    expect(found, paths[n]).toEqual(found.map((_, at) => (at % 2 === 0 ? "insert" : "delete")))
  }
  const listed = await listAll(after, { prefix: "killed-", limit: "25" })
  const there = paths.filter((_, n) => statuses[n] === 200).sort()
  expect(listed.map(({ path }) => path)).toEqual(there)
}, LONG_MS)
