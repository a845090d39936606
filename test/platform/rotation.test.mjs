// Rotation on workerd: the objects in the bucket, reads across segments and the hot log, rows written, and damaged
// objects.

import { randomBytes } from "node:crypto"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { bucketOf, filledIn, keyOf, keys, keysOf, messagesOf, offset, rotated } from "./segments.mjs"
import { BYTES, CLOSED, JSON_TYPE, PATIENT, numbers, producer, start, unique } from "./support.mjs"

const MIB = 2 ** 20

describe("a stream of many segments", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { ...PATIENT, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  const filled = (count) => filledIn(server, count)

  test("can be read from every offset that was returned", async () => {
    const { stream, nexts } = await filled(17)
    // An append that fills a segment returns the start of the next.
    expect(nexts).toEqual(numbers(18).map((n) => offset(Math.floor(n / 3), n % 3)))
    for (const [n, next] of nexts.entries()) expect(await messagesOf(stream, next)).toEqual(numbers(17 - n, n))
    expect((await stream.read("now")).next).toBe(nexts.at(-1))
  })

  test("has one object per sealed segment, and a close seals the last", async () => {
    const { stream } = await filled(8)
    expect(await keysOf(server, stream)).toEqual(keys(stream, 2))
    await stream.append("8", { ...JSON_TYPE, ...CLOSED })
    const lines = await rotated(server, stream, 3)
    expect(lines.map(({ segment }) => segment)).toEqual(numbers(3))
    expect(await keysOf(server, stream)).toEqual(keys(stream, 3))
    const chunks = await stream.readAll()
    expect(chunks.flatMap(({ text }) => JSON.parse(text))).toEqual(numbers(9))
    expect(chunks.at(-1).header("stream-closed")).toBe("true")
  })

  test("has no object after it is deleted, and the next incarnation has its own", async () => {
    const { stream } = await filled(7)
    await stream.delete()
    await server.log.until({ event: "collected", stream: stream.path })
    expect(await keysOf(server, stream)).toEqual([])
    await stream.ask("GET", { query: "?offset=-1", status: 404 })
    await stream.create(JSON_TYPE)
    for (const n of [10, 11, 12, 13]) await stream.append(`${n}`, JSON_TYPE)
    await rotated(server, stream, 3)
    expect(await messagesOf(stream)).toEqual([10, 11, 12, 13])
    expect(await keysOf(server, stream)).toHaveLength(1)
  })

  test("has no object after it has expired", async () => {
    const stream = server.stream(unique("expires"))
    await stream.create({ ...JSON_TYPE, "stream-ttl": "2" })
    for (const n of numbers(3)) await stream.append(`${n}`, JSON_TYPE)
    await rotated(server, stream, 1)
    expect(await keysOf(server, stream)).toHaveLength(1)
    await server.log.until({ event: "collected", stream: stream.path })
    expect(await keysOf(server, stream)).toEqual([])
  })

  test("SSE begins in a segment and continues live, across further rotations", async () => {
    const { stream, nexts } = await filled(8)
    const starts = [0, 1, 3, 5, 7, 8]
    const readers = await Promise.all(starts.map((n) => SseReader.open(stream, { offset: nexts[n] })))
    await Promise.all(readers.map((reader) => reader.untilAtTail()))
    for (const n of numbers(8, 8)) await stream.append(`${n}`, JSON_TYPE)
    await stream.append(undefined, CLOSED)
    await Promise.all(readers.map((reader) => reader.untilEnd()))
    const seen = readers.map(({ messages }) => messages)
    expect(seen).toEqual(starts.map((n) => numbers(16 - n, n)))
    // A control event's offset is one that the appends returned.
    expect(readers[0].controls.at(-1).streamNextOffset).toBe((await stream.ask("HEAD")).next)
  })

  test("long-polls begin in a segment and continue live", async () => {
    const { stream, nexts } = await filled(8)
    const seen = []
    let next = nexts[1]
    while (next !== nexts.at(-1)) {
      const answer = await longPoll(stream, next)
      seen.push(...JSON.parse(answer.text))
      next = answer.next
    }
    expect(seen).toEqual(numbers(7, 1))
    const before = server.log.matching({ event: "served", stream: stream.path, method: "GET" }).length
    // The append that it waits for seals the segment.
    const waiting = longPoll(stream, next)
    await readersAsked(server, stream, before + 1)
    await stream.append("8", JSON_TYPE)
    const answer = await waiting
    expect([answer.text, answer.next]).toEqual(["[8]", offset(3, 0)])
  })
})

describe("rows written by rotation", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { SEGMENT_MAX_APPENDS: "10" } })
  })
  afterAll(() => server?.dispose())

  /** Sends a hundred appends and returns the rows of each append and of each rotation. */
  const written = async (headers) => {
    const stream = server.stream(unique("rows"))
    await stream.create()
    // An append before that sets the alarm.
    await server.log.until({ event: "reported", stream: stream.path })
    for (const n of numbers(100)) await stream.append(`${n},`, { ...BYTES, ...headers(n) })
    const rotations = await rotated(server, stream, 10)
    const appends = await server.log.until({ event: "served", stream: stream.path, method: "POST" }, 100)
    const rows = (lines) => lines.map(({ rows_written }) => rows_written)
    return { stream, appends: rows(appends), rotations: rows(rotations) }
  }

  /**
   * A seal costs three more rows: two in SQLite for the next segment's table, and the stream's row. The first seal also
   * sets the alarm, in case the object dies before the segment is uploaded. Within a minute, the others share that
   * alarm.
   */
  const each = (rows) => numbers(100).map((n) => (n === 9 ? rows + 4 : n % 10 === 9 ? rows + 3 : rows))
  const ROTATIONS = [3, ...Array(9).fill(1)]

  test("one row per append, and none for reads from the bucket", async () => {
    const { stream, appends, rotations } = await written(() => ({}))
    expect(appends).toEqual(each(1))
    expect(rotations).toEqual(ROTATIONS)
    expect(Buffer.concat((await stream.readAll()).map(({ bytes }) => bytes)).toString()).toBe(
      numbers(100).map((n) => `${n},`).join(""),
    )
    await stream.read(offset(4, 0))
    const reads = await server.log.until({ event: "served", stream: stream.path, method: "GET" }, 2)
    expect(reads.map(({ rows_written }) => rows_written)).toEqual(reads.map(() => 0))
  })

  test("one row per append of a producer, and one for the producer with each segment", async () => {
    const { appends, rotations } = await written((n) => producer(n))
    // The first segment creates the table of producers.
    const ofProducer = (n) => (n === 9 ? 3 : n % 10 === 9 ? 1 : 0)
    expect(appends).toEqual(each(1).map((rows, n) => rows + ofProducer(n)))
    expect(rotations).toEqual(ROTATIONS)
  })
})

describe("damaged objects in the bucket", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { SEGMENT_MAX_APPENDS: "3" } })
  })
  afterAll(() => server?.dispose())

  const damages = {
    missing: [(bucket, key) => bucket.delete(key), "it is not in the bucket"],
    "with one changed byte": [
      (bucket, key, bytes) => {
        const other = Buffer.from(bytes)
        other[other.indexOf("message 4")] ^= 1
        return bucket.put(key, other)
      },
      "a block's checksum is wrong",
    ],
    "cut short in a block": [(bucket, key, bytes) => bucket.put(key, bytes.subarray(0, 70)), "it is cut off"],
    "cut short before its blocks": [(bucket, key, bytes) => bucket.put(key, bytes.subarray(0, 9)), "it is cut off"],
    empty: [(bucket, key) => bucket.put(key, Buffer.alloc(0)), "it is cut off"],
    "with another segment's bytes": [
      async (bucket, key) => {
        const other = await bucket.get(key.replace(/1$/u, "0"))
        return bucket.put(key, Buffer.from(await other.arrayBuffer()))
      },
      "a block's checksum is wrong",
    ],
  }
  for (const [name, [damage, why]] of Object.entries(damages)) {
    test(`${name}: reads fail with an error that names the object, and succeed once it is restored`, async () => {
      const stream = server.stream(unique("damaged"))
      await stream.create()
      for (const n of numbers(8)) await stream.append(`message ${n}\n`)
      await rotated(server, stream, 2)
      const whole = (await stream.read()).text
      const [bucket, key] = [await bucketOf(server), keyOf(stream, 1)]
      const bytes = Buffer.from(await (await bucket.get(key)).arrayBuffer())

      await damage(bucket, key, bytes)
      for (const from of ["-1", offset(1, 0), offset(1, 10)]) {
        const refused = await stream.ask("GET", { query: `?offset=${from}`, status: 500 })
        expect(JSON.parse(refused.text)).toMatchObject({ error: { code: "internal" } })
      }
      const lines = await server.log.until({ level: "error", stream: stream.path }, 3)
      for (const line of lines) expect(line).toMatchObject({ operation: "read segment", cause: `${key}: ${why}` })
      // Other segments can be read, and writers are not affected.
      expect((await stream.read(offset(2, 0))).text).toBe("message 6\nmessage 7\n")
      await stream.append("message 8\n")

      await bucket.put(key, bytes)
      expect((await stream.read()).text).toBe(`${whole}message 8\n`)
    })
  }
})

test("an append is acknowledged before its segment is uploaded", async () => {
  const server = await start()
  onTestFinished(() => server.dispose())
  const stream = server.stream(unique("waits"))
  await stream.create()
  for (const segment of numbers(5)) {
    for (const _ of numbers(3)) await stream.append(randomBytes(MIB))
    await rotated(server, stream, segment)
    // This append seals the segment.
    expect((await stream.append(randomBytes(MIB))).next).toBe(offset(segment + 1, 0))
    expect(server.log.matching({ event: "rotated", stream: stream.path })).toHaveLength(segment)
  }
  await rotated(server, stream, 5)
})

test("a delete during an upload leaves no object", async () => {
  const server = await start()
  onTestFinished(() => server.dispose())
  for (const size of [0.02, 1, 4, 15].map((mib) => mib * MIB)) {
    const stream = server.stream(unique("early"))
    await stream.create(BYTES)
    await stream.append(randomBytes(size), { ...BYTES, ...CLOSED })
    await stream.delete()
    await server.log.until({ event: "collected", stream: stream.path })
    expect(await keysOf(server, stream)).toEqual([])
  }
})
