// Forks on workerd: calls between objects, reads from the source, rows written, and what a crash leaves.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { filledIn, keysOf, messagesOf, offset, rotated, startKnown } from "./segments.mjs"
import { BYTES, CLOSED, JSON_TYPE, PATIENT, numbers, scratch, start, startWorkerd, unique } from "./support.mjs"

const MIB = 2 ** 20

const from = (source, more = {}) => ({ "stream-forked-from": `/v1/stream/${source.path}`, ...more })

/** A fork of a stream, at its tail unless headers say otherwise. */
async function fork(server, source, more = {}, body = undefined) {
  const made = server.stream(unique("fork"))
  await made.ask("PUT", { headers: from(source, more), body, status: 201 })
  return made
}

/** Waits until a stream that was gone has ended, which the release of its last fork causes. */
async function ended(server, stream) {
  for (let count = 1; (await stream.ask("HEAD", { status: [404, 410] })).status === 410; count += 1) {
    await server.log.until({ event: "asked", stream: stream.path }, count)
  }
}

const callsTo = (server, stream) => server.log.matching({ event: "asked", stream: stream.path }).length

describe("forks of a stream of many segments", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { ...PATIENT, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  const filled = (count) => filledIn(server, count)

  test("have the source's offsets, and return the inherited messages from each of them", async () => {
    const { stream, nexts } = await filled(11)
    for (const [at, anchor] of nexts.entries()) {
      const made = await fork(server, stream, { "stream-fork-offset": anchor })
      await made.append(`"own"`, JSON_TYPE)
      for (const [n, next] of nexts.slice(0, at + 1).entries()) {
        expect(await messagesOf(made, next), `${n} of ${at}`).toEqual([...numbers(at - n, n), "own"])
      }
    }
  })

  test("read inherited messages from the bucket without a call to the source", async () => {
    const { stream, nexts } = await filled(9)
    const made = await fork(server, stream)
    const before = callsTo(server, stream)
    expect(await messagesOf(made)).toEqual(numbers(9))
    expect(await messagesOf(made, nexts[4])).toEqual(numbers(5, 4))
    expect(callsTo(server, stream)).toBe(before)
    await stream.delete()
    expect(await messagesOf(made)).toEqual(numbers(9))
    expect(callsTo(server, stream)).toBe(before)
  })

  test("call each owner once for inherited messages in its hot log, and not at all once they are in the bucket", async () => {
    const { stream: first } = await filled(8)
    const second = await fork(server, first)
    await second.append("8", JSON_TYPE)
    const third = await fork(server, second)
    await third.append("9", JSON_TYPE)
    const before = [callsTo(server, first), callsTo(server, second)]
    expect(await messagesOf(third)).toEqual(numbers(10))
    expect([callsTo(server, first), callsTo(server, second)]).toEqual([before[0] + 1, before[1] + 1])
    // The first stream's next segment moves inherited messages to the bucket.
    await first.append("80", JSON_TYPE)
    await rotated(server, first, 3)
    expect(await messagesOf(third)).toEqual(numbers(10))
    const afterwards = callsTo(server, first)
    expect(await messagesOf(third)).toEqual(numbers(10))
    expect(callsTo(server, first)).toBe(afterwards)
  })

  test("start SSE and long-polls in the inherited part, and continue live", async () => {
    const { stream, nexts } = await filled(8)
    const made = await fork(server, stream)
    const starts = [0, 2, 3, 7, 8]
    const readers = await Promise.all(starts.map((n) => SseReader.open(made, { offset: nexts[n] })))
    await Promise.all(readers.map((reader) => reader.untilAtTail()))
    const polled = await longPoll(made, nexts[4])
    expect(JSON.parse(polled.text)).toEqual(numbers(4, 4))
    const before = server.log.matching({ event: "served", stream: made.path, method: "GET" }).length
    const waiting = longPoll(made, polled.next)
    await readersAsked(server, made, before + 1)
    // Later appends to the source are not part of the fork.
    await stream.append("99", JSON_TYPE)
    for (const n of numbers(5, 8)) await made.append(`${n}`, JSON_TYPE)
    expect(JSON.parse((await waiting).text)[0]).toBe(8)
    await made.append(undefined, CLOSED)
    await Promise.all(readers.map((reader) => reader.untilEnd()))
    expect(readers.map(({ messages }) => messages)).toEqual(starts.map((n) => numbers(13 - n, n)))
  })

  test("leave no object in the bucket and no stream once the last fork is deleted", async () => {
    const { stream: first } = await filled(7)
    const second = await fork(server, first)
    for (const n of numbers(4, 7)) await second.append(`${n}`, JSON_TYPE)
    const third = await fork(server, second)
    for (const n of numbers(4, 11)) await third.append(`${n}`, JSON_TYPE)
    await first.delete()
    await second.delete()
    for (const gone of [first, second]) {
      for (const method of ["GET", "HEAD", "DELETE"]) await gone.ask(method, { status: 410 })
      await gone.ask("POST", { headers: JSON_TYPE, body: "1", status: 410 })
      await gone.ask("PUT", { headers: JSON_TYPE, status: 409 })
    }
    expect(await messagesOf(third)).toEqual(numbers(15))
    await third.delete()
    for (const stream of [second, first]) {
      await ended(server, stream)
      await server.log.until({ event: "collected", stream: stream.path })
      expect(await keysOf(server, stream)).toEqual([])
      await stream.create(JSON_TYPE)
    }
  })

  test("number their segments after those of an earlier incarnation", async () => {
    const { stream, nexts } = await filled(4)
    const made = server.stream(unique("again"))
    await made.create(JSON_TYPE)
    const { next: old } = await made.append("[1,2]", JSON_TYPE)
    await made.delete()
    await made.ask("PUT", { headers: from(stream), status: 201 })
    await made.ask("GET", { query: `?offset=${old}`, status: 410 })
    const { next, text } = await made.read()
    expect([JSON.parse(text), next]).toEqual([numbers(4), offset(2, 1)])
    expect(nexts.at(-1)).toBe(offset(1, 1))
  })
})

describe("the cost of forks", () => {
  let server
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.dispose())

  test("rows that a fork writes in both objects", async () => {
    const source = server.stream(unique("source"))
    await source.create(JSON_TYPE, "1")
    const made = await fork(server, source)
    const rows = async (fields) => (await server.log.until(fields)).at(-1).rows_written
    // The intent, its table and the alarm, and the rows of any new stream.
    expect(await rows({ event: "served", stream: made.path, method: "PUT" })).toBe(4)
    expect(await rows({ event: "asked", stream: source.path })).toBe(3)
    expect(await rows({ event: "confirmed", stream: made.path })).toBe(5)
    const again = await fork(server, source)
    expect(await rows({ event: "confirmed", stream: again.path })).toBe(5)
    expect(server.log.matching({ event: "asked", stream: source.path }).at(-1).rows_written).toBe(1)
    await made.append("2", JSON_TYPE)
    expect(await rows({ event: "served", stream: made.path, method: "POST" })).toBe(1)
    await messagesOf(made)
    expect(await rows({ event: "served", stream: made.path, method: "GET" })).toBe(0)
  })

  test("inherited chunks are as cacheable as others", async () => {
    const source = server.stream(unique("large"))
    await source.create()
    for (const _ of numbers(3)) await source.append(Buffer.alloc(MIB, "x"))
    const made = await fork(server, source)
    const start = offset(0, 0)
    const [its, own] = await Promise.all([source.read(start), made.read(start)])
    for (const name of ["cache-control", "stream-next-offset", "content-type", "x-cache"]) {
      expect(own.header(name), name).toBe(its.header(name))
    }
    expect(own.bytes.equals(its.bytes)).toBe(true)
    const known = { headers: { "if-none-match": own.header("etag") }, query: `?offset=${start}` }
    expect((await made.ask("GET", known)).status).toBe(304)
  })

  test("events of inherited messages are small, and a reader can resume after each", async () => {
    const source = server.stream(unique("events"))
    await source.create(JSON_TYPE)
    const batch = numbers(900).map((n) => `"${n} ${"x".repeat(1000)}"`)
    await source.append(`[${batch.join()}]`, JSON_TYPE)
    const made = await fork(server, source)
    await made.append(`"own"`, JSON_TYPE)
    const before = callsTo(server, source)
    const reader = await SseReader.open(made)
    await reader.untilMessages(901)
    expect(callsTo(server, source)).toBe(before + 1)
    expect(reader.messages.map((message) => message.split(" ")[0])).toEqual([...numbers(900).map(String), "own"])
    const sizes = reader.data.map((data) => data.length)
    expect(sizes.length).toBeGreaterThan(6)
    expect(Math.max(...sizes)).toBeLessThan(128 << 10)
    expect(reader.controls.length).toBe(sizes.length)
    await reader.close()
    const resumed = await SseReader.open(made, { offset: reader.controls[3].streamNextOffset })
    const left = reader.data.slice(4).flatMap((data) => JSON.parse(data))
    await resumed.untilMessages(left.length)
    expect(resumed.messages).toEqual(left)
    await resumed.close()
  })

  test("a fork of 64 MB has the same bytes, also from the middle of an append", async () => {
    const source = server.stream(unique("huge"))
    await source.create()
    const parts = numbers(16).map((n) => Buffer.alloc(4 * MIB, `${n}.`))
    for (const part of parts) await source.append(part)
    const whole = Buffer.concat(parts)
    const made = await fork(server, source, { "stream-fork-offset": offset(0, 0), "stream-fork-sub-offset": `${13 * MIB + 7}` })
    const chunks = await made.readAll()
    expect(Buffer.concat(chunks.map(({ bytes }) => bytes)).equals(whole.subarray(0, 13 * MIB + 7))).toBe(true)
    const all = await (await fork(server, source)).readAll()
    expect(Buffer.concat(all.map(({ bytes }) => bytes)).equals(whole)).toBe(true)
  }, 60_000)
})

describe("a process that is killed", () => {
  test("between the end of a fork and the end of its source: the source still ends", async () => {
    const folder = await scratch()
    let server = await startWorkerd(folder)
    const source = server.stream(unique("source"))
    await source.create(BYTES, "kept")
    const made = await fork(server, source)
    await source.delete()
    await made.ask("DELETE", { status: 204 })
    await server.kill()
    server = await startWorkerd(folder)
    // A request wakes the object. Otherwise its alarm does, a minute later.
    await server.stream(made.path).ask("HEAD", { status: 404 })
    await ended(server, server.stream(source.path))
    await server.kill()
  })

  test("while forks are created: each fork exists or not, and none references its source in vain", async () => {
    const options = { vars: PATIENT, persistTo: await scratch() }
    let server = await startKnown(options)
    const source = server.stream(unique("source"))
    await source.create(BYTES, "kept")
    const paths = numbers(40).map(() => unique("fork"))
    const wanted = paths.map((path) => server.stream(path).ask("PUT", { headers: from(source) }).then(({ status }) => status, () => undefined))
    await Promise.race(wanted)
    await server.kill()
    const answers = await Promise.all(wanted)
    server = await startKnown(options)
    const again = (stream) => server.stream(stream.path ?? stream)
    for (const [at, path] of paths.entries()) {
      const { status, text } = await again(path).ask("GET")
      if (answers[at] === 201) expect([status, text]).toEqual([200, "kept"])
      else expect([200, 404]).toContain(status)
    }
    // Every fork is deleted, or created and deleted, so all references are released.
    await again(source).delete()
    for (const path of paths) await again(path).ask("DELETE", { status: [204, 404] })
    await ended(server, again(source))
    await server.dispose()
  })
})
