// Retention on workerd: dropped segments leave the bucket without any request, and what that costs.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { SseReader, readersAsked } from "./readers.mjs"
import { bucketOf, keyOf, keysOf, messagesOf, offset, rotated } from "./segments.mjs"
import { BYTES, CLOSED, JSON_TYPE, PATIENT, numbers, scratch, start, startWorkerd, unique } from "./support.mjs"

const keeping = (retention) => ({ ...JSON_TYPE, "stream-retention": retention })
/** Waits until a segment and all before it are gone from the bucket. */
const collected = (server, stream, segment) =>
  server.log.until({ event: "collected", stream: stream.path, segment })
const appended = async (stream, count, from = 0) => {
  for (const n of numbers(count, from)) await stream.append(`${n}`, JSON_TYPE)
}

describe("a stream with retention", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { ...PATIENT, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  test("drops its oldest segments by size, and reports its first offset", async () => {
    const stream = server.stream(unique("bytes"))
    const created = await stream.create(keeping("bytes=6"))
    expect(created.header("stream-retention")).toBe("bytes=6")
    // A segment has three bytes.
    await appended(stream, 14)
    await collected(server, stream, 1)
    expect(await keysOf(server, stream)).toEqual([keyOf(stream, 2), keyOf(stream, 3)])
    expect(await messagesOf(stream)).toEqual(numbers(8, 6))
    for (const query of ["", "&live=long-poll", "&live=sse"]) {
      const from = { query: `?offset=${offset(1, 2)}${query}`, headers: { origin: "https://app.example" } }
      const gone = await stream.ask("GET", { ...from, status: 410 })
      expect(gone.next).toBe(offset(2, 0))
      expect(JSON.parse(gone.text)).toMatchObject({ error: { code: "offset_gone" } })
      expect(gone.header("access-control-expose-headers")).toContain("stream-next-offset")
    }
    expect(await messagesOf(stream, offset(2, 0))).toEqual(numbers(8, 6))
    expect((await stream.ask("HEAD", { status: 200 })).header("stream-retention")).toBe("bytes=6")
    await stream.ask("PUT", { headers: keeping("bytes=7"), status: 409 })
    await stream.ask("PUT", { headers: keeping("many"), status: 400 })
  })

  test("drops segments by age without any request, even all of them, and continues", async () => {
    const stream = server.stream(unique("seconds"))
    await stream.create(keeping("1"))
    await appended(stream, 6)
    await rotated(server, stream, 2)
    const before = server.log.matching({ event: "served", stream: stream.path }).length
    await collected(server, stream, 1)
    expect(server.log.matching({ event: "served", stream: stream.path })).toHaveLength(before)
    expect(await keysOf(server, stream)).toEqual([])
    expect((await stream.ask("HEAD", { status: 200 })).next).toBe(offset(2, 0))
    expect(await messagesOf(stream)).toEqual([])
    await stream.ask("GET", { query: `?offset=${offset(1, 0)}`, status: 410 })
    await stream.append("6", { ...JSON_TYPE, ...CLOSED })
    expect(await messagesOf(stream)).toEqual([6])
    await collected(server, stream, 2)
    const end = await stream.read()
    expect([end.text, end.next, end.header("stream-closed")]).toEqual(["[]", offset(2, 1), "true"])
  })

  test("continues live for readers at its tail", async () => {
    const stream = server.stream(unique("live"))
    await stream.create(keeping("bytes=1"))
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    await appended(stream, 9)
    await stream.append(undefined, CLOSED)
    await reader.untilEnd()
    expect(reader.messages).toEqual(numbers(9))
    await collected(server, stream, 1)
    const late = await SseReader.open(stream)
    await late.untilEnd()
    expect(late.messages).toEqual(numbers(3, 6))
  })

  test("keeps waiting readers while everything before its tail is dropped", async () => {
    const stream = server.stream(unique("waits"))
    await stream.create(keeping("1"))
    await appended(stream, 4)
    const reader = await SseReader.open(stream, { offset: "now" })
    await readersAsked(server, stream, 1)
    await collected(server, stream, 0)
    await appended(stream, 1, 4)
    await stream.append(undefined, CLOSED)
    await reader.untilEnd()
    expect(reader.messages).toEqual([4])
  })
})

test("a deployment's limit applies to streams that existed before", async () => {
  const persistTo = await scratch()
  const path = unique("before")
  const vars = { SEGMENT_MAX_APPENDS: "3" }
  const before = await start({ vars, persistTo })
  await before.stream(path).create(JSON_TYPE)
  await appended(before.stream(path), 10)
  await rotated(before, before.stream(path), 3)
  await before.dispose()
  const after = await start({ vars: { ...vars, RETAIN_SEGMENTS: "1" }, persistTo })
  onTestFinished(() => after.dispose())
  const stream = after.stream(path)
  expect(await messagesOf(stream)).toEqual(numbers(4, 6))
  await collected(after, stream, 1)
  expect(await keysOf(after, stream)).toEqual([keyOf(stream, 2)])
  expect((await (await bucketOf(after)).list()).objects).toHaveLength(1)
  await appended(stream, 2, 10)
  await collected(after, stream, 2)
  expect(await messagesOf(stream)).toEqual(numbers(3, 9))
})

test("retention without a bucket is refused", async () => {
  const server = await startWorkerd(await scratch())
  onTestFinished(() => server.kill())
  const refused = await server.stream(unique("none")).ask("PUT", { headers: keeping("60"), status: 400 })
  expect(JSON.parse(refused.text).error.message).toContain("Stream-Retention")
})

test("retention costs a row of the stream, and a row for each dropped segment", async () => {
  const server = await start({ vars: { SEGMENT_MAX_APPENDS: "10" } })
  onTestFinished(() => server.dispose())
  const served = (stream, method, count) =>
    server.log.until({ event: "served", stream: stream.path, method }, count)
  const rows = (found) => found.map(({ rows_written }) => rows_written)
  for (const [retention, dropped] of [["bytes=1", 9], ["86400", 0]]) {
    const stream = server.stream(unique("rows"))
    await stream.create({ ...BYTES, "stream-retention": retention })
    // An append before that sets the alarm.
    await server.log.until({ event: "reported", stream: stream.path })
    for (const n of numbers(100)) await stream.append(`${n},`)
    // The first rotation creates the table. The next has no segment to drop yet.
    const each = dropped > 0 ? 2 : 1
    expect(rows(await rotated(server, stream, 10))).toEqual([3, ...Array(9).fill(each)])
    if (dropped > 0) await collected(server, stream, dropped - 1)
    // One row for each segment, in any number of steps.
    const deleted = rows(server.log.matching({ event: "collected", stream: stream.path }))
    expect(deleted.reduce((sum, count) => sum + count, 0)).toBe(dropped)
    // Appends cost the same as without retention.
    const appends = rows(await served(stream, "POST", 100))
    expect(appends.filter((count) => count > 1)).toEqual([5, ...Array(9).fill(4)])
    await stream.readAll()
    expect(rows(await served(stream, "GET", 1))).toEqual([0])
    // The alarm that the first seal set serves the rest, too.
    expect(server.log.matching({ event: "rearmed", stream: stream.path })).toEqual([])
  }
})
