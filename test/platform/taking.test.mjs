// Readers who do not take what they are given, and uploads that do not come to their end: an isolate has 128 MB for all of
// them, and everybody else gets on.

import { afterEach, beforeEach, expect, test } from "vitest"
import { Bucket } from "./bucket.mjs"
import { HttpConnection, RawConnection } from "./raw.mjs"
import { SseReader } from "./readers.mjs"
import { BYTES, JSON_TYPE, LONG_MS, numbers, residentBytes, scratch, startWorkerd, unique, within } from "./support.mjs"

const MIB = 2 ** 20
const CHUNK_BYTES = 4 * MIB
/** `HELD_MAX_BYTES` of the server. */
const HELD_MAX_BYTES = 48 * MIB
/** What the system takes of a response although nobody reads it is less than this. */
const REQUESTS_EACH = 6
/** How many do not read. */
const READERS = 200
/** More than are ever needed. */
const MANY = 20

let server
beforeEach(async () => {
  server = await startWorkerd(await scratch())
})
afterEach(() => server?.kill())

/** One that asks again and again and reads nothing. */
async function idle(stream, query = "?offset=-1") {
  const connection = await RawConnection.open(stream.url)
  connection.socket.pause()
  const { pathname, host } = new URL(stream.url)
  connection.send(`GET ${pathname}${query} HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(REQUESTS_EACH))
  return connection
}

/** How much a read gives. */
const given = async (stream) => (await stream.read()).bytes.length

/** Asks again until the answer is as it should be. */
async function until(what, ask, isIt) {
  const asking = async () => {
    while (!isIt(await ask()));
  }
  await within(LONG_MS / 2, what, asking())
}

for (const [kind, query] of Object.entries({ plain: "?offset=-1", sse: "?offset=-1&live=sse" })) {
  test(`${kind} readers are given less the more they are, hold up nobody, and leave nothing behind`, async () => {
    const stream = server.stream(unique("bytes"))
    const messages = 24
    await stream.create(BYTES)
    for (const part of numbers(messages)) await stream.append(new Uint8Array(MIB).fill(part), BYTES)
    expect(await given(stream)).toBe(CHUNK_BYTES)
    const before = residentBytes(server.pid)

    const readers = await Promise.all(numbers(READERS).map(() => idle(stream, query)))
    await until("a read that is given less", () => given(stream), (bytes) => bytes < CHUNK_BYTES / 4)
    // Whoever reads gets all of it, in more parts.
    const parts = await stream.readAll()
    expect(Buffer.concat(parts.map(({ bytes }) => bytes)).length).toBe(messages * MIB)
    expect(parts.length).toBeGreaterThan((messages * MIB) / CHUNK_BYTES)
    // What they hold has a bound, and the engine takes some for itself. It would be a chunk for each: 800 MB, 1,100 as SSE.
    const grown = residentBytes(server.pid) - before
    expect(grown).toBeLessThan(HELD_MAX_BYTES + 500 * MIB)
    await stream.append("x", BYTES)

    for (const reader of readers) reader.socket.destroy()
    await until("a whole chunk again", () => given(stream), (bytes) => bytes === CHUNK_BYTES)
  }, LONG_MS)
}

test("readers keep large messages from others only while there is no room, and those are told to come again", async () => {
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

test("an SSE response waits where there is no room for its next part", async () => {
  const held = server.stream(unique("held"))
  const stream = server.stream(unique("waits"))
  for (const one of [held, stream]) await one.create(JSON_TYPE)
  // Three of these leave room for the first of those, and not for the second.
  await held.append(JSON.stringify("x".repeat(13 * MIB)), JSON_TYPE)
  for (const size of [4.5, 15]) await stream.append(JSON.stringify("y".repeat(size * MIB)), JSON_TYPE)
  const ask = async () => {
    const response = await fetch(`${held.url}?offset=-1`)
    await response.arrayBuffer()
    return response.status
  }
  const idlers = []
  while ((await ask()) !== 503 && idlers.length < MANY) idlers.push(await idle(held))

  const reader = await SseReader.open(stream)
  await reader.untilMessages(1, LONG_MS)
  await server.log.until({ event: "served", stream: stream.path, method: "GET" }, 2)
  expect(reader.messages.map(({ length }) => length)).toEqual([4.5 * MIB])
  for (const idler of idlers) idler.socket.destroy()
  await reader.untilMessages(2, LONG_MS)
  expect(reader.messages.map(({ length }) => length)).toEqual([4.5 * MIB, 15 * MIB])
  await reader.close()
}, LONG_MS)

test("what has to be fetched for an answer is not fetched while there is no room for it", async () => {
  const bucket = await Bucket.open()
  const cold = await startWorkerd(await scratch(), { SEGMENT_MAX_MESSAGES: "1" }, bucket)
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
    // Three find room, and wait for the bucket; the others are told at once.
    const asked = numbers(8).map(() => ask())
    await until("five are refused", () => stream.ask("HEAD"), () => refused === 5)
    expect(await bucket.until("get", 3)).toHaveLength(3)
    give()
    const answers = await Promise.all(asked)
    expect(answers.filter(({ status }) => status === 200).map(({ bytes }) => bytes)).toEqual(Array(3).fill(15 * MIB + 4))
    expect(answers.filter(({ status }) => status === 503)).toHaveLength(5)
    expect((await ask()).status).toBe(200)
  } finally {
    await cold.kill()
    bucket.close()
  }
}, LONG_MS)

for (const framing of ["a length", "chunks"]) {
  test(`uploads with ${framing} are turned away while others come, and nothing of them is stored`, async () => {
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
      // The system has taken it, and so the server most of it.
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
    // Some stop before their end, until another finds no room.
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
    // What is small is taken all the same.
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
