// Readers that do not read, and uploads that do not end: an isolate has 128 MB for all of them, and all other clients
// make progress.

import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { Bucket } from "./bucket.mjs"
import { HttpConnection } from "./raw.mjs"
import { SseReader } from "./readers.mjs"
import { BUDGET_MAX_BYTES } from "../../src/cloudflare/js/budget.js"
import { bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"
import { BYTES, JSON_TYPE, LONG_MS, TEXT } from "./support.mjs"
import { numbers, residentBytes, scratch, startWorkerd, unique, within } from "./support.mjs"

const MIB = 2 ** 20
const CHUNK_BYTES = 4 * MIB
/** Memory of the engine itself: copies on their way between object and edge, and garbage that is not collected yet. */
const ENGINE_BYTES = 250 * MIB
/** Clients that do not read. */
const READERS = 200
/** What waits for clients that read nothing waits longer than this: READER_STALL_SECONDS is 60. A busy machine does not. */
const STALL_MS = 30_000
/** More than any test needs. */
const MANY = 20

let server
beforeEach(async () => {
  server = await startWorkerd(await scratch())
})
afterEach(() => server?.kill())

/** Names the client's address, as Cloudflare does. */
const from = (address) => ({ "cf-connecting-ip": address })

/** A client from the default address that reads only the head of its response. */
async function idle({ path }, query = "?offset=-1") {
  const connection = await HttpConnection.open(server.unixPath)
  connection.begin("GET", `/v1/stream/${path}${query}`, from("127.0.0.1"))
  await connection.until(/^HTTP\/1.1 /)
  connection.socket.pause()
  return connection
}

const idlers = (count, stream, query) => Promise.all(numbers(count).map(() => idle(stream, query)))

/** The number of bytes that a read returns. */
const given = async (stream, headers) =>
  (await stream.ask("GET", { query: "?offset=-1", headers, status: 200 })).bytes.length

/** Repeats a request until the result is as expected. */
async function until(what, ask, isIt) {
  const asking = async () => {
    while (!isIt(await ask()));
  }
  await within(LONG_MS / 2, what, asking())
}

for (const [kind, query] of Object.entries({ plain: "?offset=-1", sse: "?offset=-1&live=sse" })) {
  test(`${kind} readers that do not read use up the room of their own address and project first, and free it when they leave`, async () => {
    const stream = server.stream(unique("bytes"))
    const messages = 24
    await stream.create(BYTES)
    for (const part of numbers(messages)) await stream.append(new Uint8Array(MIB).fill(part), BYTES)
    expect(await given(stream)).toBe(CHUNK_BYTES)
    const other = server.stream(`other/${unique("bytes")}`)
    await other.create(BYTES, new Uint8Array(5 * MIB))
    const before = residentBytes(server.pid)

    const readers = await idlers(READERS, stream, query)
    await until("a read that returns less", () => given(stream), (bytes) => bytes < CHUNK_BYTES / 4)
    // A reader at another address receives more, and so does a reader of another project.
    expect(await given(stream, from("198.51.100.1"))).toBeGreaterThan(2 * (await given(stream)))
    expect(await given(other)).toBeGreaterThan(CHUNK_BYTES / 2)
    // A client that reads receives everything, in more parts.
    const parts = await stream.readAll()
    expect(Buffer.concat(parts.map(({ bytes }) => bytes)).length).toBe(messages * MIB)
    expect(parts.length).toBeGreaterThan((messages * MIB) / CHUNK_BYTES)
    // Unread responses are bounded, and the engine uses some memory itself. One chunk for each would be 800 MB, or
    // 1,100 MB as SSE.
    const grown = residentBytes(server.pid) - before
    expect(grown).toBeLessThan(BUDGET_MAX_BYTES + ENGINE_BYTES)
    await stream.append("x", BYTES)

    for (const reader of readers) reader.socket.destroy()
    await until("a whole chunk again", () => given(stream), (bytes) => bytes === CHUNK_BYTES)
  }, LONG_MS)
}

test("unread large messages delay others only while there is no room, and others receive 503 with Retry-After", async () => {
  const stream = server.stream(unique("json"))
  await stream.create(JSON_TYPE)
  await stream.append(JSON.stringify("x".repeat(15 * MIB)), JSON_TYPE)
  const ask = async () => {
    const response = await fetch(`${stream.url}?offset=-1`)
    const { status, headers } = response
    await response.arrayBuffer()
    if (status === 503) expect(headers.get("retry-after")).toBe("5")
    return status
  }
  expect(await ask()).toBe(200)
  const readers = []
  while ((await ask()) !== 503 && readers.length < MANY) readers.push(await idle(stream))
  await until("no room", ask, (status) => status === 503)
  for (const reader of readers) reader.socket.destroy()
  await until("room again", ask, (status) => status === 200)
}, LONG_MS)

test("an SSE response waits while there is no room for its next part", async () => {
  const occupying = server.stream(unique("occupying"))
  const stream = server.stream(unique("waits"))
  for (const one of [occupying, stream]) await one.create(JSON_TYPE)
  // One response of the first stream leaves room for the first message of the second stream, but not for its second
  // message.
  await occupying.append(JSON.stringify("x".repeat(13 * MIB)), JSON_TYPE)
  for (const size of [4.5, 15]) await stream.append(JSON.stringify("y".repeat(size * MIB)), JSON_TYPE)
  const ask = async () => {
    const response = await fetch(`${occupying.url}?offset=-1`)
    await response.arrayBuffer()
    return response.status
  }
  const idlers = []
  while ((await ask()) !== 503 && idlers.length < MANY) idlers.push(await idle(occupying))

  const reader = await SseReader.open(stream)
  await reader.untilMessages(1, LONG_MS)
  await server.log.until({ event: "served", stream: stream.path, method: "GET" }, 2)
  expect(reader.messages.map(({ length }) => length)).toEqual([4.5 * MIB])
  for (const idler of idlers) idler.socket.destroy()
  await reader.untilMessages(2, LONG_MS)
  expect(reader.messages.map(({ length }) => length)).toEqual([4.5 * MIB, 15 * MIB])
  await reader.close()
}, LONG_MS)

test("a response is not fetched from the bucket while there is no room for it", async () => {
  const bucket = await Bucket.open()
  const cold = await startWorkerd(await scratch(), { SEGMENT_MAX_APPENDS: "1" }, bucket)
  try {
    const stream = cold.stream(unique("cold"))
    await stream.create(JSON_TYPE)
    await stream.append(JSON.stringify("x".repeat(15 * MIB)), JSON_TYPE)
    await cold.log.until({ event: "rotated", stream: stream.path })
    let give
    bucket.gives = new Promise((resolve) => {
      give = resolve
    })
    let refused = 0
    const ask = async () => {
      const response = await fetch(`${stream.url}?offset=-1`)
      if (response.status === 503) refused += 1
      return { status: response.status, bytes: (await response.arrayBuffer()).byteLength }
    }
    // One read finds room and waits for the bucket. The others are refused at once.
    const reads = numbers(8).map(() => ask())
    await until("seven are refused", () => stream.ask("HEAD"), () => refused === 7)
    expect(await bucket.until("get", 1)).toHaveLength(1)
    give()
    const answers = await Promise.all(reads)
    expect(answers.filter(({ status }) => status === 200).map(({ bytes }) => bytes)).toEqual([15 * MIB + 4])
    expect(answers.filter(({ status }) => status === 503)).toHaveLength(7)
    expect((await ask()).status).toBe(200)
  } finally {
    await cold.kill()
    bucket.close()
  }
}, LONG_MS)

for (const framing of ["a length", "chunks"]) {
  test(`uploads with ${framing} are refused while others fill the memory, and nothing of them is stored`, async () => {
    const stream = server.stream(unique("uploads"))
    await stream.create(BYTES)
    const { pathname } = new URL(stream.url)
    const body = "x".repeat(10 * MIB)
    const begin = async () => {
      const connection = await HttpConnection.open(stream.url)
      if (framing === "chunks") {
        connection.begin("POST", pathname, { ...BYTES, "transfer-encoding": "chunked" })
        connection.sendChunk(body)
      } else {
        connection.begin("POST", pathname, { ...BYTES, "content-length": body.length + 1 })
        connection.send(body)
      }
      // The system has accepted the bytes, so the server has received most of them.
      await new Promise((resolve) => connection.socket.write("", resolve))
      await stream.ask("HEAD", { status: 200 })
      return connection
    }
    const end = (connection) => {
      if (framing === "chunks") {
        connection.sendChunk("x")
        connection.sendChunk("")
      } else {
        connection.send("x")
      }
      return connection.reply("POST", LONG_MS)
    }
    const upload = async () => {
      const connection = await HttpConnection.open(stream.url)
      const reply = await connection.ask("POST", pathname, { headers: BYTES, body: [body] })
      connection.socket.destroy()
      return reply
    }
    // Some uploads stop before their end, until another one finds no room.
    const slow = []
    let accepted = 0
    let refused
    while (refused === undefined && slow.length < MANY) {
      slow.push(await begin())
      const reply = await upload()
      if (reply.status === 204) accepted += 1
      else refused = reply
    }
    expect(refused.status).toBe(503)
    expect(JSON.parse(refused.text).error.code).toBe("busy")
    expect(refused.header("retry-after")).toBe("5")
    // Small appends are accepted all the same.
    await stream.append("small", BYTES)

    const statuses = (await Promise.all(slow.map(end))).map(({ status }) => status)
    const stored = statuses.filter((status) => status === 204).length
    expect(statuses.filter((status) => status === 503)).toHaveLength(slow.length - stored)
    expect(stored).toBeGreaterThanOrEqual(1)
    expect((await upload()).status).toBe(204)
    const bytes = stored * (body.length + 1) + (accepted + 1) * body.length + "small".length
    const parts = await stream.readAll()
    expect(parts.reduce((sum, part) => sum + part.bytes.length, 0)).toBe(bytes)
  }, LONG_MS)
}

describe("requests without progress end", () => {
  const project = (name, key) => JSON.stringify({ [name]: { keys: [key] } })
  const key = secretKey()
  let brief
  beforeEach(async () => {
    const vars = { BODY_STALL_SECONDS: "1", READER_STALL_SECONDS: "2", PROJECT_KEYS: project("p", key) }
    brief = await startWorkerd(await scratch(), vars)
  })
  afterEach(() => brief?.kill())
  const token = (claims) => bearer(makeToken(key, { sub: "p", ...claims }))

  for (const [kind, declared, sent] of [
    ["small", 1000, 999],
    ["large", MIB, MIB / 2],
    ["chunked", undefined, MIB / 2],
  ]) {
    test(`a ${kind} body that stalls is refused with 408, nothing of it is stored, and its room is free`, async () => {
      const stream = brief.stream(`p/${unique("stalls")}`)
      await stream.create({ ...TEXT, ...token() })
      const connections = await Promise.all(numbers(8).map(() => HttpConnection.open(brief.url)))
      for (const connection of connections) {
        const framing = declared ? { "content-length": declared } : { "transfer-encoding": "chunked" }
        connection.begin("POST", `/v1/stream/${stream.path}`, { ...TEXT, ...token(), ...framing })
        if (declared) connection.send("x".repeat(sent))
        else connection.sendChunk("x".repeat(sent))
      }
      for (const connection of connections) {
        const { status, text } = await connection.reply("POST")
        expect([status, JSON.parse(text).error.code]).toEqual([408, "body_stalled"])
      }
      await stream.append("y".repeat(10 * MIB), { ...TEXT, ...token() })
      expect((await stream.ask("HEAD", { headers: token() })).next).toMatch(/_0*10485760$/)
    })
  }

  test("a stalled body delays the refusal of its request only for BODY_STALL_SECONDS", async () => {
    const connection = await HttpConnection.open(brief.url)
    connection.begin("POST", "/v1/stream/p/refused", { ...TEXT, "content-length": 1000 })
    connection.send("x")
    expect((await connection.reply("POST")).status).toBe(401)
  })

  test("the server reads only a limited number of bodies of refused requests", async () => {
    const connections = []
    for (const _ of numbers(300)) {
      const connection = await HttpConnection.open(server.unixPath)
      connections.push(connection)
      connection.begin("POST", "/v1/stream/p/*", { ...TEXT, ...from("192.0.2.1"), "content-length": 1000 })
      connection.send("x")
    }
    await Promise.all(connections.slice(128).map((connection) => connection.reply("POST")))
    // A body from another address is read as usual.
    const other = await HttpConnection.open(server.unixPath)
    other.begin("POST", "/v1/stream/p/*", { ...TEXT, ...from("192.0.2.2"), "content-length": 1000 })
    other.send("x".repeat(999))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(other.text).toBe("")
    other.send("x")
    expect((await other.reply("POST")).status).toBeLessThan(500)
    expect(connections.filter(({ text }) => text !== "")).toHaveLength(300 - 128)
    for (const { socket } of connections) socket.destroy()
  })

  /** A stream with one message larger than any buffer of the system. */
  const filled = async () => {
    const stream = brief.stream(`p/${unique("filled")}`)
    await stream.create({ ...JSON_TYPE, ...token() })
    await stream.append(JSON.stringify("x".repeat(LARGEST)), { ...JSON_TYPE, ...token() })
    return stream
  }
  const LARGEST = 16 * MIB - 2
  /** Sends a read, and stops reading the response. */
  const ask = async (stream, query, headers) => {
    const connection = await HttpConnection.open(brief.url)
    connection.begin("GET", `/v1/stream/${stream.path}${query}`, headers)
    await connection.until(/^HTTP\/1.1 200/)
    connection.socket.pause()
    return connection
  }
  /** The length of a response when it has ended. */
  const rest = async (connection) => {
    connection.socket.resume()
    return (await connection.untilClosed()).length
  }

  for (const [kind, query] of [
    ["plain", "?offset=-1"],
    ["SSE", "?offset=-1&live=sse"],
  ]) {
    test(`a ${kind} response ends if its client reads nothing, and its room is free`, async () => {
      const stream = await filled()
      const idle = await ask(stream, query, token())
      // While the first response exists, there is no room for a second one.
      const get = async () => (await stream.ask("GET", { query: "?offset=-1", headers: token() })).status
      await until("no room", get, (status) => status === 503)
      await until("room", get, (status) => status === 200)
      expect(await rest(idle)).toBeLessThan(LARGEST)
    })
  }

  test("a live SSE response ends if its client reads nothing", async () => {
    const stream = brief.stream(`p/${unique("live")}`)
    await stream.create({ ...TEXT, ...token() })
    const idle = await HttpConnection.open(brief.unixPath)
    idle.begin("GET", `/v1/stream/${stream.path}?offset=-1&live=sse`, token())
    await idle.until(/upToDate/)
    idle.socket.pause()
    const appended = 4 * 300_000
    for (const _ of numbers(4)) await stream.append("x".repeat(300_000), { ...TEXT, ...token() })
    // The server checks every 15 s.
    await brief.log.until({ event: "reader_left", stream: stream.path }, 1, LONG_MS)
    expect(await rest(idle)).toBeLessThan(appended)
  }, LONG_MS)

  test("an SSE response ends when its token expires, even if its client is slow", async () => {
    await brief.kill()
    brief = await startWorkerd(await scratch(), { PROJECT_KEYS: project("p", key) })
    const stream = await filled()
    const idle = await ask(stream, "?offset=-1&live=sse", token({ exp: inSeconds(2) }))
    const get = async () => (await stream.ask("GET", { query: "?offset=-1", headers: token() })).status
    await until("no room", get, (status) => status === 503)
    await until("room", get, (status) => status === 200)
    expect(await rest(idle)).toBeLessThan(LARGEST)
  })
})

test("a response that many slow clients share is in memory once", async () => {
  const stream = server.stream(unique("shared"))
  const { next } = await stream.create(BYTES)
  for (const _ of numbers(5)) await stream.append(new Uint8Array(MIB), BYTES)
  expect(await given(stream)).toBe(CHUNK_BYTES)
  const before = residentBytes(server.pid)
  const slow = await idlers(60, stream, `?offset=${next}&live=long-poll`)
  await given(stream)
  expect(residentBytes(server.pid) - before).toBeLessThan(BUDGET_MAX_BYTES + ENGINE_BYTES)
  for (const { socket } of slow) socket.destroy()
}, LONG_MS)

test("clients that disconnect before a shared response arrives leave nothing in memory", async () => {
  const stream = server.stream(unique("leaves"))
  const { next } = await stream.create(BYTES)
  for (const _ of numbers(5)) await stream.append(new Uint8Array(MIB), BYTES)
  for (const round of numbers(40)) {
    const connections = await Promise.all(numbers(4).map(() => HttpConnection.open(server.unixPath)))
    for (const connection of connections) {
      connection.begin("GET", `/v1/stream/${stream.path}?offset=${next}&live=long-poll`, from("127.0.0.1"))
    }
    await new Promise((resolve) => setTimeout(resolve, round % 8))
    for (const { socket } of connections) socket.destroy()
  }
  await until("a whole chunk again", () => given(stream), (bytes) => bytes === CHUNK_BYTES)
}, LONG_MS)

test("slow uploads use no more memory than the bytes that arrived", async () => {
  const paths = numbers(3).map((n) => `slow${n}/${unique("upload")}`)
  for (const path of paths) await server.stream(path).create(BYTES)
  const before = residentBytes(server.pid)
  const uploads = await Promise.all(paths.map(() => HttpConnection.open(server.unixPath)))
  for (const [n, upload] of uploads.entries()) {
    upload.begin("POST", `/v1/stream/${paths[n]}`, { ...BYTES, "content-length": 10 * MIB })
  }
  // Each part arrives by itself.
  for (const _ of numbers(150)) {
    for (const upload of uploads) upload.send("x".repeat(64 << 10))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  // Whole read buffers would be 120 MiB.
  expect(residentBytes(server.pid) - before).toBeLessThan(80 * MIB)
  for (const upload of uploads) upload.send("x".repeat(10 * MIB - 150 * (64 << 10)))
  for (const upload of uploads) expect((await upload.reply("POST")).status).toBe(204)
  for (const path of paths) expect((await server.stream(path).ask("HEAD")).next).toMatch(/_0*10485760$/)
}, LONG_MS)

test("live SSE clients that read nothing are bounded together, and do not delay other readers", async () => {
  const stream = server.stream(unique("live"))
  await stream.create(JSON_TYPE)
  const before = residentBytes(server.pid)
  const slow = await idlers(READERS, stream, "?offset=-1&live=sse")
  const reader = await SseReader.open(stream)
  for (const n of numbers(40)) {
    await stream.append(JSON.stringify("x".repeat(100_000)), JSON_TYPE)
    await reader.untilMessages(n + 1)
  }
  expect(residentBytes(server.pid) - before).toBeLessThan(BUDGET_MAX_BYTES + ENGINE_BYTES)
  for (const { socket } of slow) socket.destroy()
  await reader.close()
}, LONG_MS)

test("a message for many SSE clients that read nothing delays no other project's appends and no other address's messages", async () => {
  const stream = server.stream(unique("burst"))
  await stream.create(JSON_TYPE)
  const other = server.stream(`other/${unique("burst")}`)
  await other.create(BYTES)
  const slow = await idlers(READERS, stream, "?offset=-1&live=sse")
  const reader = await SseReader.open(stream, { headers: from("198.51.100.1") })
  for (const n of numbers(3)) {
    await stream.append(JSON.stringify("x".repeat(900_000)), { ...JSON_TYPE, ...from("198.51.100.2") })
    await other.append("x", BYTES, STALL_MS)
    await other.append(new Uint8Array(MIB), BYTES, STALL_MS)
    await reader.untilMessages(n + 1)
  }
  for (const { socket } of slow) socket.destroy()
  await reader.close()
}, LONG_MS)
