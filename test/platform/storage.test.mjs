// What only workerd's SQLite shows: the rows that it counts, dropping tables in use, and data after the process has
// ended.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { BYTES, CLOSED, JSON_TYPE, SOON_MS, producer, scratch, start, startWorkerd, unique, within } from "./support.mjs"

describe("rows written, as workerd counts and Cloudflare bills them", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  /** A stream that the registry knows. Until then, an append also sets the alarm that would repeat the report. */
  const created = async (headers = BYTES) => {
    const stream = server.stream(unique("rows"))
    await stream.create(headers)
    await server.log.until({ event: "reported", stream: stream.path })
    return stream
  }

  /** The rows that each request wrote, in order. */
  const written = async (stream, count) =>
    (await server.log.until({ event: "served", stream: stream.path }, count)).map(
      ({ method, rows_written }) => `${method} ${rows_written}`,
    )

  test("one row per append of any size that fits a row, and none for a read", async () => {
    const stream = await created(JSON_TYPE)
    await stream.append('{"n":1}', JSON_TYPE)
    await stream.append(JSON.stringify(Array.from({ length: 100 }, (_, n) => ({ n }))), JSON_TYPE)
    const { next } = await stream.read()
    await stream.read(next)
    await stream.ask("HEAD", { status: 200 })
    const counts = await written(stream, 6)
    expect(counts.slice(1)).toEqual(["POST 1", "POST 1", "GET 0", "GET 0", "HEAD 0"])
  })

  test("one row per append with Stream-Seq", async () => {
    const stream = await created()
    for (const seq of ["a", "b", "c"]) await stream.append("x", { ...BYTES, "stream-seq": seq })
    expect((await written(stream, 4)).slice(1)).toEqual(["POST 1", "POST 1", "POST 1"])
  })

  test("one row per append of a producer, and none for its duplicate", async () => {
    const stream = await created()
    await stream.append("0", { ...BYTES, ...producer(0) })
    await stream.append("1", { ...BYTES, ...producer(1) })
    await stream.append("1", { ...BYTES, ...producer(1) })
    await stream.append("0", { ...BYTES, ...producer(0), "producer-id": "another" })
    expect((await written(stream, 5)).slice(1)).toEqual(["POST 1", "POST 1", "POST 0", "POST 1"])
  })

  test("one row for each part of a large append", async () => {
    const stream = await created()
    await stream.append(new Uint8Array(2.5 * 2 ** 20))
    expect((await written(stream, 2)).slice(1)).toEqual(["POST 3"])
  })

  test("few rows for operations that happen once in a stream's life", async () => {
    const stream = await created()
    await stream.ask("PUT", { headers: BYTES, status: 200 })
    await stream.append("x")
    await stream.append(undefined, CLOSED)
    // The segment's row, and SQLite's own rows for the table, which later segments do not need.
    const rotated = await server.log.until({ event: "rotated", stream: stream.path })
    expect(rotated[0].rows_written).toBe(3)
    await stream.append(undefined, CLOSED)
    await stream.delete()
    const collected = await server.log.until({ event: "collected", stream: stream.path })
    expect(collected[0].rows_written).toBe(1)
    // The registry has the stream. Otherwise the incarnation that ended would have a row of its own.
    await server.log.until({ event: "reported", stream: stream.path }, 2)
    await stream.create()
    // The first PUT writes five rows: the stream's row, and SQLite's own for two tables. The close's seal sets an
    // alarm, which the delete shares.
    expect(await written(stream, 7)).toEqual(["PUT 5", "PUT 0", "POST 1", "POST 2", "POST 0", "DELETE 1", "PUT 3"])
  })

  test("no row for requests to a stream that never existed", async () => {
    const stream = server.stream(unique("rows"))
    await stream.ask("GET", { query: "?offset=-1", status: 404 })
    await stream.ask("HEAD", { status: 404 })
    await stream.ask("DELETE", { status: 404 })
    await stream.ask("POST", { headers: BYTES, body: "x", status: 404 })
    expect(await written(stream, 4)).toEqual(["GET 0", "HEAD 0", "DELETE 0", "POST 0"])
  })

  test("a read that extends a TTL stores the time occasionally, not for each read", async () => {
    const stream = await created({ ...BYTES, "stream-ttl": "3600" })
    for (let count = 0; count < 3; count += 1) {
      await stream.append("x")
      await stream.read()
    }
    const counts = await written(stream, 7)
    expect(counts.slice(1)).toEqual(["POST 1", "GET 1", "POST 1", "GET 0", "POST 1", "GET 0"])
  })
})

describe("a read that ends before the log does", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { CHUNK_MAX_BYTES: "1000" } })
  })
  afterAll(() => server?.dispose())

  const message = (format, text) => (format === JSON_TYPE ? JSON.stringify([text]).slice(1, -1) : text)

  // SQLite cannot drop a table while a statement is in the middle of its rows.
  for (const [name, format] of Object.entries({ bytes: BYTES, json: JSON_TYPE })) {
    test(`leaves no statement open: ${name} can be appended, closed, deleted and created again`, async () => {
      const stream = server.stream(unique(name))
      await stream.create(format)
      for (let count = 0; count < 6; count += 1) await stream.append(message(format, "x".repeat(600)), format)
      const early = await stream.read()
      expect(early.header("stream-up-to-date")).toBeNull()

      await stream.append(message(format, "after"), format)
      const again = await stream.read()
      expect(again.bytes.equals(early.bytes)).toBe(true)
      const all = await stream.readAll()
      expect(all.length).toBeGreaterThan(2)
      expect(all.at(-1).text).toContain("after")

      await stream.read()
      await stream.ask("GET", { query: "?offset=-1&live=long-poll", status: 200 })
      await stream.ask("POST", { headers: CLOSED, status: 204 })
      await stream.read()
      await stream.delete()
      await stream.ask("GET", { query: "?offset=-1", status: 404 })
      await stream.create(format, message(format, "new"))
      expect((await stream.read()).text).toBe(format === JSON_TYPE ? '["new"]' : "new")
      // All of that ran in one instance of the object, so no failure has reset it.
      expect(server.log.matching({ event: "loaded", stream: stream.path })).toHaveLength(1)
      expect(server.log.matching({ level: "error", stream: stream.path })).toEqual([])
    })
  }

  test("reads no more rows than necessary", async () => {
    const stream = server.stream(unique("bounded"))
    await stream.create(JSON_TYPE)
    for (let count = 0; count < 60; count += 1) await stream.append(`"${"x".repeat(498)}"`, JSON_TYPE)
    await stream.read()
    const [read] = await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    expect(read.rows_read).toBeLessThan(30)
  })
})

describe("what survives the end of the process", () => {
  test("everything, after a clean restart", async () => {
    const persistTo = await scratch()
    const path = unique("kept")
    const before = await start({ persistTo })
    try {
      const stream = before.stream(path)
      await stream.create(JSON_TYPE)
      await stream.append('[{"n":1},{"n":2}]', { ...JSON_TYPE, ...producer(0), "stream-seq": "a" })
      await stream.append('{"n":3}', { ...JSON_TYPE, ...producer(1), "stream-seq": "b" })
    } finally {
      await before.dispose()
    }
    const after = await start({ persistTo })
    onTestFinished(() => after.dispose())
    const stream = after.stream(path)
    expect((await stream.ask("HEAD", { status: 200 })).next).toBe("0000000000000000_0000000000000003")
    const duplicate = await stream.ask("POST", { headers: { ...JSON_TYPE, ...producer(1) }, body: '{"n":3}' })
    expect(duplicate.status).toBe(204)
    const regression = await stream.ask("POST", { headers: { ...JSON_TYPE, "stream-seq": "b" }, body: '{"n":9}' })
    expect(regression.status).toBe(409)
    await stream.append('{"n":4}', { ...JSON_TYPE, ...producer(2) })
    expect((await stream.read()).text).toBe('[{"n":1},{"n":2},{"n":3},{"n":4}]')
    await stream.delete()
    expect((await stream.create(JSON_TYPE)).next).toBe("0000000000000001_0000000000000000")
  })

  test("every acknowledged append, after SIGKILL, and exactly once with producers", async () => {
    const folder = await scratch()
    const writers = 6
    const path = unique("killed")
    const before = await startWorkerd(folder)
    await before.stream(path).create(JSON_TYPE)

    /** Appends until the server has ended, and returns the number of acknowledged appends. */
    const acknowledged = Array(writers).fill(0)
    const headers = (writer) => ({ ...JSON_TYPE, ...producer(acknowledged[writer], { id: `w${writer}` }) })
    const body = (writer) => JSON.stringify({ writer, n: acknowledged[writer] })
    const enough = Promise.withResolvers()
    const run = async (writer) => {
      for (;;) {
        try {
          await before.stream(path).append(body(writer), headers(writer))
        } catch (error) {
          // fetch throws this when the connection breaks. A refusal would be another error.
          if (error instanceof TypeError) return
          throw error
        }
        acknowledged[writer] += 1
        if (acknowledged.every((count) => count >= 20)) enough.resolve()
      }
    }
    const running = Promise.all(Array.from({ length: writers }, (_, writer) => run(writer)))
    await within(SOON_MS, "20 appends of each writer", Promise.race([enough.promise, running]))
    await before.kill()
    await within(SOON_MS, "the writers notice", running)

    const after = await startWorkerd(folder)
    onTestFinished(() => after.kill())
    const stream = after.stream(path)
    const numbersOf = async (writer) =>
      JSON.parse((await stream.read()).text).filter((message) => message.writer === writer).map(({ n }) => n)
    const upTo = (count) => Array.from({ length: count }, (_, n) => n)
    for (let writer = 0; writer < writers; writer += 1) {
      const stored = await numbersOf(writer)
      // The append in flight may be stored or not.
      expect([acknowledged[writer], acknowledged[writer] + 1]).toContain(stored.length)
      expect(stored).toEqual(upTo(stored.length))
      await stream.append(body(writer), headers(writer))
      expect(await numbersOf(writer)).toEqual(upTo(acknowledged[writer] + 1))
    }
  })
})
