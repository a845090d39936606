// What only workerd's SQLite shows: the rows it counts, tables dropped in use, and what outlives the process.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { BYTES, CLOSED, JSON_TYPE, SOON_MS, producer, scratch, start, startWorkerd, unique, within } from "./support.mjs"

describe("rows that workerd counts, as Cloudflare bills them", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  /** The rows that each request wrote, in order. */
  const written = async (stream, count) =>
    (await server.log.until({ event: "served", stream: stream.path }, count)).map(
      ({ method, rows_written }) => `${method} ${rows_written}`,
    )

  test("one for an append, whatever it holds; none for a read", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create(JSON_TYPE)
    await stream.append('{"n":1}', JSON_TYPE)
    await stream.append(JSON.stringify(Array.from({ length: 100 }, (_, n) => ({ n }))), JSON_TYPE)
    const { next } = await stream.read()
    await stream.read(next)
    await stream.ask("HEAD", { status: 200 })
    const counts = await written(stream, 6)
    expect(counts.slice(1)).toEqual(["POST 1", "POST 1", "GET 0", "GET 0", "HEAD 0"])
  })

  test("one for an append with Stream-Seq", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create()
    for (const seq of ["a", "b", "c"]) await stream.append("x", { ...BYTES, "stream-seq": seq })
    expect((await written(stream, 4)).slice(1)).toEqual(["POST 1", "POST 1", "POST 1"])
  })

  test("one for an append of a producer, none for its duplicate", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create()
    await stream.append("0", { ...BYTES, ...producer(0) })
    await stream.append("1", { ...BYTES, ...producer(1) })
    await stream.append("1", { ...BYTES, ...producer(1) })
    await stream.append("0", { ...BYTES, ...producer(0), "producer-id": "another" })
    expect((await written(stream, 5)).slice(1)).toEqual(["POST 1", "POST 1", "POST 0", "POST 1"])
  })

  test("one for each row that a large append takes", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create()
    await stream.append(new Uint8Array(2.5 * 2 ** 20))
    expect((await written(stream, 2)).slice(1)).toEqual(["POST 3"])
  })

  test("few for what happens once in a stream's life", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create()
    await stream.ask("PUT", { headers: BYTES, status: 200 })
    await stream.append("x")
    await stream.append(undefined, CLOSED)
    // The segment's row, and SQLite's own for their table, which later ones do not need.
    const rotated = await server.log.until({ event: "rotated", stream: stream.path })
    expect(rotated[0].rows_written).toBe(3)
    await stream.append(undefined, CLOSED)
    await stream.delete()
    const collected = await server.log.until({ event: "collected", stream: stream.path })
    expect(collected[0].rows_written).toBe(1)
    // The registry knows of it; if not, the life that ended would have a row of its own.
    await server.log.until({ event: "reported", stream: stream.path }, 2)
    await stream.create()
    // Five for the first PUT: the row of the stream, and SQLite's own for two tables. What the close seals has an alarm,
    // which will do for the delete.
    expect(await written(stream, 7)).toEqual(["PUT 5", "PUT 0", "POST 1", "POST 2", "POST 0", "DELETE 1", "PUT 3"])
  })

  test("none by asking for a stream that never was", async () => {
    const stream = server.stream(unique("rows"))
    await stream.ask("GET", { query: "?offset=-1", status: 404 })
    await stream.ask("HEAD", { status: 404 })
    await stream.ask("DELETE", { status: 404 })
    await stream.ask("POST", { headers: BYTES, body: "x", status: 404 })
    expect(await written(stream, 4)).toEqual(["GET 0", "HEAD 0", "DELETE 0", "POST 0"])
  })

  test("a read that slides a TTL stores so now and then, not each time", async () => {
    const stream = server.stream(unique("rows"))
    await stream.create({ ...BYTES, "stream-ttl": "3600" })
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

  // SQLite drops no table while any statement is in the middle of its rows.
  for (const [name, format] of Object.entries({ bytes: BYTES, json: JSON_TYPE })) {
    test(`leaves nothing open: ${name} can be appended, closed, deleted and created again`, async () => {
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
      // All of it in one life of the object: nothing failed that made it forget.
      expect(server.log.matching({ event: "loaded", stream: stream.path })).toHaveLength(1)
      expect(server.log.matching({ level: "error", stream: stream.path })).toEqual([])
    })
  }

  test("reads no more rows than it needs", async () => {
    const stream = server.stream(unique("bounded"))
    await stream.create(JSON_TYPE)
    for (let count = 0; count < 60; count += 1) await stream.append(`"${"x".repeat(498)}"`, JSON_TYPE)
    await stream.read()
    const [read] = await server.log.until({ event: "served", stream: stream.path, method: "GET" })
    expect(read.rows_read).toBeLessThan(30)
  })
})

describe("what outlives the process", () => {
  test("everything, over a restart in good order", async () => {
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

  test("everything acknowledged, over SIGKILL; with producers exactly once", async () => {
    const folder = await scratch()
    const writers = 6
    const path = unique("killed")
    const before = await startWorkerd(folder)
    await before.stream(path).create(JSON_TYPE)

    /** Appends one after the other until there is no server any more; gives how many were acknowledged. */
    const acknowledged = Array(writers).fill(0)
    const headers = (writer) => ({ ...JSON_TYPE, ...producer(acknowledged[writer], { id: `w${writer}` }) })
    const body = (writer) => JSON.stringify({ writer, n: acknowledged[writer] })
    const enough = Promise.withResolvers()
    const run = async (writer) => {
      for (;;) {
        try {
          await before.stream(path).append(body(writer), headers(writer))
        } catch (error) {
          // What fetch says when the connection breaks. A refusal would be another error.
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
      // The one that was under way may be stored, or not.
      expect([acknowledged[writer], acknowledged[writer] + 1]).toContain(stored.length)
      expect(stored).toEqual(upTo(stored.length))
      await stream.append(body(writer), headers(writer))
      expect(await numbersOf(writer)).toEqual(upTo(acknowledged[writer] + 1))
    }
  })
})
