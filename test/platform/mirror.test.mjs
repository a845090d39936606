// The segment index in D1: wrangler creates it, objects write it, and nothing fails without it.

import { execFile } from "node:child_process"
import { cp } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { MIGRATION, alarmsIn, indexOf, keyOf, keysOf, makeTables, messagesOf, rotated, startKnown } from "./segments.mjs"
import { CLOSED, JSON_TYPE, LONG_MS, documentExamples, numbers, root, scratch, start, unique } from "./support.mjs"

// The registry's own segments would be mirrored, too.
const OPTIONS = {
  mirrors: true,
  vars: { REGISTRY_STREAM: "off", SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" },
}

/** The rows of a stream, in order. */
async function rowsOf(server, stream) {
  const index = await indexOf(server)
  const query = "SELECT * FROM segments_admin WHERE path = ? ORDER BY incarnation, read_seq"
  return (await index.prepare(query).bind(stream.path).all()).results
}

/** Waits until this many deliveries have arrived in the index, and their notes are deleted. */
const mirrored = (server, stream, count) => server.log.until({ event: "mirrored", stream: stream.path }, count)

/** A JSON stream with the messages 0, 1, 2, ... Each segment has `arrived` before the next one begins. */
async function filled(server, count, arrived = mirrored, headers = {}) {
  const stream = server.stream(unique("mirrored"))
  await stream.create({ ...JSON_TYPE, ...headers })
  for (const n of numbers(count)) {
    await stream.append(`${n}`, JSON_TYPE)
    if (n % 3 === 2) await arrived(server, stream, (n + 1) / 3)
  }
  return stream
}

describe("an index with tables", () => {
  let server
  beforeAll(async () => {
    server = await start(OPTIONS)
    await makeTables(server)
  })
  afterAll(() => server?.dispose())

  test("has a row for each segment, and none after the stream is deleted", async () => {
    const stream = await filled(server, 7)
    const before = Date.now()
    const row = (readSeq, more) => ({
      path: stream.path,
      incarnation: 1,
      read_seq: readSeq,
      object_key: keyOf(stream, readSeq),
      content_type: "application/json",
      end_position: 3,
      message_count: 3,
      object_bytes: expect.any(Number),
      written_at: expect.any(Number),
      ...more,
    })
    const rows = await rowsOf(server, stream)
    expect(rows).toEqual([row(0), row(1)])
    for (const { written_at } of rows) expect(Math.abs(before - written_at)).toBeLessThan(LONG_MS)
    await stream.append(undefined, CLOSED)
    await mirrored(server, stream, 3)
    expect(await rowsOf(server, stream)).toEqual([row(0), row(1), row(2, { end_position: 1, message_count: 1 })])
    await stream.delete()
    await mirrored(server, stream, 4)
    expect(await rowsOf(server, stream)).toEqual([])

    await stream.create(JSON_TYPE)
    for (const n of numbers(3)) await stream.append(`${n}`, JSON_TYPE)
    await mirrored(server, stream, 5)
    const [{ incarnation, object_key }, ...more] = await rowsOf(server, stream)
    expect([incarnation, more]).toEqual([2, []])
    expect(await keysOf(server, stream)).toEqual([object_key])
  })

  test("costs two rows per segment in the object, and the rows of its table once", async () => {
    const stream = await filled(server, 12)
    const rows = async (event) => (await server.log.until({ event, stream: stream.path }, 4)).map((l) => l.rows_written)
    expect(await rows("rotated")).toEqual([6, 2, 2, 2])
    expect(await rows("mirrored")).toEqual([1, 1, 1, 1])
    const appends = server.log.matching({ event: "served", stream: stream.path, method: "POST" })
    expect(appends.map(({ rows_written }) => rows_written)).toEqual(numbers(12).map((n) => (n % 3 === 2 ? (n === 2 ? 5 : 4) : 1)))
  })

  test("answers the queries of docs/operate.md", async () => {
    const stream = await filled(server, 6)
    const index = await indexOf(server)
    const rows = []
    for (const example of await documentExamples("FROM segments_admin")) {
      const query = (/--command "([^"]+)"/u.exec(example)?.[1] ?? example).replaceAll("my-project/chat/42", stream.path)
      const { results } = await index.prepare(query).all()
      expect([query, results.length]).not.toEqual([query, 0])
      rows.push(...results)
    }
    expect(rows.find(({ path }) => path === stream.path)).toMatchObject({ segments: 2 })
  })
})

describe("an index without tables", () => {
  test("delays nothing, logs one error, and receives every segment once the tables exist", async () => {
    const server = await start(OPTIONS)
    onTestFinished(() => server.dispose())
    const stream = await filled(server, 12, rotated)
    await server.log.until({ level: "error" })
    expect(await messagesOf(stream)).toEqual(numbers(12))
    await stream.append(undefined, CLOSED)
    // One error, not one for each request or segment.
    expect(server.log.matching({ level: "error" })).toEqual([
      expect.objectContaining({ stream: stream.path, operation: "mirror segments" }),
    ])
    expect(server.log.lines.find(({ level }) => level === "error").cause).toContain("no such table: segments_admin")

    const gone = await filled(server, 6, rotated)
    await gone.delete()
    await server.log.until({ event: "collected", stream: gone.path })
    expect(await keysOf(server, gone)).toEqual([])

    await makeTables(server)
    for (const { path } of [stream, gone]) {
      await server.mf.unsafeEvictDurableObject("durable-streams", "StreamObject", { name: path, webSockets: "hibernate" })
      await server.stream(path).ask("HEAD")
      await mirrored(server, { path }, 1)
    }
    expect((await rowsOf(server, stream)).map(({ read_seq }) => read_seq)).toEqual(numbers(4))
    expect(await rowsOf(server, gone)).toEqual([])
  })

  test("is retried by the alarm, without any request", async () => {
    const persistTo = await scratch()
    const before = await startKnown({ ...OPTIONS, persistTo })
    let stream
    try {
      stream = await filled(before, 3, rotated)
      await before.log.until({ level: "error" })
      await makeTables(before)
    } finally {
      await before.kill()
    }
    expectSoon(await alarmsIn(persistTo, { ringNow: true }))
    const after = await start({ ...OPTIONS, persistTo })
    onTestFinished(() => after.dispose())
    await mirrored(after, stream, 1)
    expect(after.log.matching({ event: "served" })).toEqual([])
    expect(await rowsOf(after, stream)).toHaveLength(1)
  })

  test("does not delay the end of a stream, and the end does not delay it", async () => {
    const persistTo = await scratch()
    const server = await startKnown({ ...OPTIONS, persistTo })
    try {
      const stream = await filled(server, 3, rotated, { "stream-ttl": "2" })
      await server.log.until({ level: "error" })
      for (const event of ["reclaimed", "collected"]) await server.log.until({ event, stream: stream.path })
      // After that the alarm is set for the remaining work.
      const events = () => server.log.matching({ stream: stream.path }).map(({ event }) => event)
      for (let count = 1; events().lastIndexOf("rearmed") < events().lastIndexOf("collected"); count += 1) {
        await server.log.until({ event: "rearmed", stream: stream.path }, count)
      }
      // The object answers again once the alarm is stored.
      await stream.ask("HEAD", { status: 404 })
    } finally {
      await server.kill()
    }
    expectSoon(await alarmsIn(persistTo))
  })
})

/** Checks that an alarm fires within a minute. workerd stores it in two places. */
function expectSoon(alarms) {
  expect(alarms).toHaveLength(2)
  for (const inMs of alarms) expect(inMs).toBeGreaterThan(0)
  for (const inMs of alarms) expect(inMs).toBeLessThanOrEqual(60_000)
}

describe("wrangler", () => {
  test("creates the tables in a checkout without changes, and the worker finds them", { timeout: LONG_MS }, async () => {
    const checkout = await scratch()
    for (const file of ["wrangler.toml", MIGRATION]) await cp(join(root, file), join(checkout, file))
    const wrangler = (...args) =>
      promisify(execFile)(join(root, "node_modules/.bin/wrangler"), args, {
        cwd: checkout,
        env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false" },
      })
    const apply = async () =>
      (await wrangler("d1", "migrations", "apply", "durable_streams_admin", "--local")).stdout
    expect(await apply()).toContain("0001_segments_admin.sql")
    expect(await apply()).toContain("No migrations to apply")

    const server = await start({ ...OPTIONS, persistTo: join(checkout, ".wrangler/state/v3") })
    onTestFinished(() => server.dispose())
    const stream = await filled(server, 3)
    expect(await rowsOf(server, stream)).toHaveLength(1)
  })
})
