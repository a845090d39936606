// The forms of a stream's URL: each names the same stream, for every method and every client.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer, makeToken, secretKey } from "../tokens.mjs"
import { HttpConnection, RawConnection } from "./raw.mjs"
import { SseReader, readersAsked } from "./readers.mjs"
import { BYTES, CLOSED, JSON_TYPE, PATIENT, Stream, TEXT, numbers, producer, scratch, start, startWorkerd, unique } from "./support.mjs"

const PREFIXES = ["/v1/stream/", "/v1/streams/", "/streams/"]
const OTHERS = PREFIXES.slice(1)

/** A stream, addressed by a URL of this form. */
function at(prefix, { url }, path = unique("p/form")) {
  const stream = new Stream(url, path)
  stream.url = `${url}${prefix}${path}`
  return stream
}

let server
beforeAll(async () => {
  server = await startWorkerd(await scratch(), PATIENT)
})
afterAll(() => server?.kill())

describe.each(OTHERS)("%s", (prefix) => {
  test("every method has the same effect as in the first form", async () => {
    const stream = at(prefix, server)
    const first = server.stream(stream.path)
    const made = await stream.ask("PUT", { headers: JSON_TYPE, body: "[1]", query: "?x=/v1/stream/y", status: 201 })
    expect(made.header("location")).toBe(stream.url)
    expect(made.header("cache-control")).toBe("no-store")
    expect((await first.ask("PUT", { headers: JSON_TYPE, status: 200 })).header("location")).toBeNull()
    expect((await stream.ask("PUT", { headers: JSON_TYPE, status: 200 })).header("location")).toBeNull()
    await stream.append("[2,3]", JSON_TYPE)
    await stream.append("4", { ...JSON_TYPE, ...producer(0) })
    // The same append in another form is a duplicate.
    await first.ask("POST", { headers: { ...JSON_TYPE, ...producer(0) }, body: "4", status: 204 })
    expect((await stream.read()).text).toBe("[1,2,3,4]")
    expect((await first.read()).text).toBe("[1,2,3,4]")
    expect((await stream.ask("HEAD", { status: 200 })).next).toBe((await first.ask("HEAD")).next)
    expect((await stream.ask("PATCH")).status).toBe(405)
    await stream.append(undefined, CLOSED)
    expect((await first.ask("HEAD")).header("stream-closed")).toBe("true")
    await stream.delete()
    await first.ask("GET", { status: 404 })
    // No offset of the old incarnation is valid for the new one, in any form.
    await first.create(TEXT, "new")
    for (const one of [stream, first]) {
      expect((await one.ask("GET", { query: `?offset=${made.next}` })).status).toBe(410)
      expect((await one.read()).text).toBe("new")
    }
    expect(server.log.matching({ event: "loaded", stream: stream.path })).toHaveLength(1)
  })

  test("keep percent-encoding as the client wrote it", async () => {
    const id = unique("q")
    const stream = at(prefix, server, `${id}%2Fr%C3%A9sum%c3%a9%201`)
    expect((await stream.create(TEXT, "x")).header("location")).toBe(stream.url)
    expect((await server.stream(`${id}/résumé%201`).read()).text).toBe("x")
  })

  test("accept a large body, and one without a length", async () => {
    const stream = at(prefix, server)
    await stream.create(BYTES)
    const large = Buffer.alloc(5 << 20, "x")
    await stream.append(large)
    await stream.append(ReadableStream.from([Buffer.from("end")]))
    const chunks = await server.stream(stream.path).readAll()
    expect(Buffer.concat(chunks.map(({ bytes }) => bytes)).equals(Buffer.concat([large, Buffer.from("end")]))).toBe(true)
    expect((await stream.ask("POST", { headers: BYTES, body: Buffer.alloc((16 << 20) + 1) })).status).toBe(413)
  })

  test("group concurrent appends of all forms", async () => {
    const stream = at(prefix, server)
    await stream.create(JSON_TYPE)
    const forms = PREFIXES.map((one) => at(one, server, stream.path))
    await Promise.all(numbers(90).map((n) => forms[n % 3].append(`${n}`, JSON_TYPE)))
    const stored = JSON.parse((await stream.read()).text)
    expect(stored.toSorted((a, b) => a - b)).toEqual(numbers(90))
    expect(server.log.matching({ event: "appended_together", stream: stream.path })).not.toHaveLength(0)
  })

  test("serve long-polls and SSE, and notice a client that disconnects", async () => {
    const stream = at(prefix, server)
    const first = server.stream(stream.path)
    await stream.create(JSON_TYPE)
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    const polls = [stream, first].map((one) => one.ask("GET", { query: "?offset=now&live=long-poll" }))
    const leaver = await RawConnection.open(server.url)
    leaver.send(`GET ${prefix}${stream.path}?offset=-1&live=sse HTTP/1.1\r\nhost: test\r\n\r\n`)
    await leaver.until(/upToDate/)
    await readersAsked(server, stream, 4)
    await first.append("1", JSON_TYPE)
    for (const { status, text } of await Promise.all(polls)) expect([status, text]).toEqual([200, "[1]"])
    await reader.untilMessages(1)
    leaver.reset()
    await server.log.until({ event: "reader_left", stream: stream.path })
    await stream.append("2", { ...JSON_TYPE, ...CLOSED })
    await reader.untilEnd()
    expect(reader.messages).toEqual([1, 2])
  })

  test("create forks, and are accepted as a fork's source", async () => {
    const source = at(prefix, server)
    await source.create(TEXT, "hello")
    const fork = at(prefix, server)
    for (const form of [prefix, "/v1/stream/"]) {
      const headers = { "stream-forked-from": `${form}${source.path}` }
      const reply = await fork.ask("PUT", { headers, status: [200, 201] })
      expect(reply.header("location")).toBe(form === prefix ? fork.url : null)
    }
    expect((await server.stream(fork.path).read()).text).toBe("hello")
  })

  test("refuse paths that name no stream", async () => {
    const connection = await HttpConnection.open(server.url)
    const table = { "": 400, "a//b": 400, "%2e%2e/x": 400, "a%2F..%2Fb": 400, "a%zz": 400, "a/*": 400, __ds: 404, "p/__ds/x": 404 }
    for (const [path, status] of Object.entries(table)) {
      const reply = await connection.ask("PUT", `${prefix}${path}`, { headers: TEXT })
      expect([path, reply.status]).toEqual([path, status])
    }
    const writes = await connection.ask("PUT", `${prefix}__registry__`, { headers: TEXT })
    expect(writes.status).toBe(403)
    const raw = await RawConnection.open(server.url)
    raw.send(`PUT ${prefix}a HTTP/1.1\r\nhost: [::1\r\ncontent-length: 0\r\n\r\n`)
    await raw.until(/"message"/)
    expect(raw.text).toMatch(/^HTTP\/1.1 400/u)
    const dots = await connection.ask("PUT", `${prefix}../v1/stream/a`, { headers: TEXT })
    expect([400, 404]).toContain(dots.status)
  })
})

test("do not move the listing", async () => {
  const stream = at("/streams/", server)
  await stream.create(TEXT)
  await server.log.until({ event: "reported", stream: stream.path })
  const listed = await fetch(`${server.url}/v1/streams?prefix=${stream.path}`)
  expect((await listed.json()).streams.map(({ path }) => path)).toEqual([stream.path])
  const wrong = await fetch(`${server.url}/v1/streams/?prefix=${stream.path}`)
  expect([wrong.status, (await wrong.json()).error.message]).toEqual([400, expect.stringContaining("the listing at /v1/streams")])
})

describe("in each mode", () => {
  const key = secretKey()
  const token = (claims) => makeToken(key, { sub: "p", ...claims })
  const origin = "https://app.example"
  let token_, projects, local
  beforeAll(async () => {
    token_ = await start({ vars: { AUTH_TOKEN, PUBLIC_STREAMS: "on" } })
    const cors = { origins: [origin] }
    projects = await start({ vars: { PROJECT_KEYS: JSON.stringify({ p: { keys: [key], cors } }) } })
    local = await start({ vars: { ALLOW_OPEN: "" } })
  })
  afterAll(() => Promise.all([token_, projects, local].map((one) => one?.dispose())))

  test.each(OTHERS)("one token: %s", async (prefix) => {
    const [stream, open] = [at(prefix, token_), at(prefix, token_)]
    await stream.ask("PUT", { headers: TEXT, status: 401 })
    const made = await stream.create({ ...TEXT, ...bearer(AUTH_TOKEN) }, "x")
    expect(made.header("location")).toBe(stream.url)
    await stream.ask("GET", { status: 401 })
    const read = (one, query, headers = {}) => one.ask("GET", { query, headers, status: 200 })
    const secret = (await read(stream, `?token=${AUTH_TOKEN}`)).text
    expect(secret).toBe("x")
    expect((await read(stream, "", { cookie: `stream-token=${AUTH_TOKEN}` })).text).toBe("x")
    await stream.ask("DELETE", { query: `?token=${AUTH_TOKEN}`, status: 400 })
    await open.create({ ...TEXT, ...bearer(AUTH_TOKEN), "stream-public": "true" }, "y")
    expect((await read(open, "")).text).toBe("y")
    expect((await read(token_.stream(open.path), "")).text).toBe("y")
    // The data centre's cache returns copies of one form only to clients that may read.
    const readerKey = (await stream.ask("HEAD", { headers: bearer(AUTH_TOKEN) })).header("stream-reader-key")
    expect(readerKey).toMatch(/^[\w-]{22}$/u)
    const kept = `?offset=0000000000000000_0000000000000000&rk=${readerKey}`
    await read(stream, kept, bearer(AUTH_TOKEN))
    for (const one of PREFIXES) await at(one, token_, stream.path).ask("GET", { query: kept, status: 401 })
  })

  test.each(OTHERS)("projects: %s", async (prefix) => {
    const stream = at(prefix, projects)
    const other = at(prefix, projects, unique("other/form"))
    const all = bearer(token())
    await other.ask("PUT", { headers: { ...TEXT, ...all }, status: 403 })
    await stream.create({ ...TEXT, ...all }, "x")
    const narrow = bearer(token({ stream: stream.path }))
    const below = bearer(token({ stream: "p/*" }))
    for (const headers of [narrow, below]) expect((await stream.ask("GET", { headers, status: 200 })).text).toBe("x")
    await at(prefix, projects).ask("PUT", { headers: { ...TEXT, ...narrow }, status: 403 })
    // A fork reads its source in every form of the source's URL.
    const fork = { ...TEXT, ...narrow, "stream-forked-from": `${prefix}${stream.path}` }
    await at(prefix, projects).ask("PUT", { headers: fork, status: 403 })
    const elsewhere = { ...TEXT, ...below, "stream-forked-from": `${prefix}other/x` }
    await at(prefix, projects).ask("PUT", { headers: elsewhere, status: 403 })
    for (const headers of [all, below]) await at(prefix, projects, "p/__ds/x").ask("PUT", { headers, status: 404 })
    const seen = await stream.ask("GET", { headers: { ...all, origin } })
    expect(seen.header("access-control-allow-origin")).toBe(origin)
    expect((await stream.ask("GET", { headers: { ...all, origin: "https://evil.example" } })).header("access-control-allow-origin")).toBeNull()
  })

  test.each(PREFIXES)("open on this machine only: %s", async (prefix) => {
    for (const [host, clientIp, status] of [["localhost", "192.0.2.1:1", 503], ["localhost", "127.0.0.1:1", 404], ["a.example", "127.0.0.1:1", 503]]) {
      const reply = await local.mf.dispatchFetch(`http://${host}${prefix}a`, { cf: { clientIp } })
      expect([host, clientIp, reply.status]).toEqual([host, clientIp, status])
      await reply.arrayBuffer()
    }
  })
})
