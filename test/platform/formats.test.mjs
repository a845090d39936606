// Streams that earlier versions stored on disk: this build reads them unchanged, and continues them.

import { execFileSync } from "node:child_process"
import { cp, readFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { append, ask, indexOf, list, look, lookAt, makeIndex, messages, rotated, startOn, types } from "./fixtures/streams.mjs"
import { eachFile } from "./segments.mjs"
import { LONG_MS, producer, scratch } from "./support.mjs"

const { json, text } = types
/** The version that this build stores. */
const VERSION = 8

/** A copy of a fixture, with the recorded responses. */
async function unpack(version) {
  const folder = await scratch()
  execFileSync("tar", ["-C", folder, "-xJf", join(import.meta.dirname, `fixtures/v${version}.tar.xz`)])
  return { disk: join(folder, "disk"), ...JSON.parse(await readFile(join(folder, "seen.json"), "utf8")) }
}

/** The stream row of each object on disk, by path. */
async function rowsOn(disk) {
  const copy = join(await scratch(), "disk")
  await cp(disk, copy, { recursive: true })
  const rows = {}
  await eachFile(copy, (database, file) => {
    if (file === "metadata.sqlite") return
    const row = database.prepare("SELECT * FROM stream").get()
    const has = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'segments'").get()
    const segments = has ? database.prepare("SELECT * FROM segments ORDER BY read_seq").all() : []
    rows[row.path] = { ...row, segments }
  })
  return rows
}

/** The same responses, with the codes of errors for their bodies: the words of messages may change. */
const stable = (seen) =>
  seen.map((response) => {
    if (response.status < 400) return response
    const body = Buffer.from(response.body, "base64").toString()
    return { ...response, body: body && JSON.parse(body).error.code }
  })

describe("streams of version 7", () => {
  let fixture, server, before
  beforeAll(async () => {
    fixture = await unpack(7)
    before = await rowsOn(fixture.disk)
    server = await startOn(fixture.disk)
  })
  afterAll(() => server?.dispose())

  test("stay unchanged on disk until they are accessed", () => {
    expect(Object.keys(before)).toHaveLength(17)
    for (const { schema_version, reader_key } of Object.values(before)) {
      expect([schema_version, reader_key]).toEqual([7, expect.stringMatching(/^h\../u)])
    }
  })

  test("return the same bytes and offsets as before", { timeout: LONG_MS }, async () => {
    // Forks first: then only other objects have called their sources.
    const paths = Object.keys(fixture.seen).filter((path) => path !== "__registry__")
    paths.sort((one, other) => other.includes("fork") - one.includes("fork"))
    for (const path of [...paths, "__registry__"]) {
      const now = await lookAt(server, path, fixture.offsets[path])
      expect(stable(now), path).toEqual(stable(fixture.seen[path]))
    }
    expect((await list(server)).toSorted()).toEqual(fixture.listed.toSorted())
  })

  test("accept appends and rotate, with their producers and Stream-Seq", { timeout: LONG_MS }, async () => {
    const again = { body: messages(1)[0], headers: { "content-type": json, ...producer(2, { id: "even", epoch: 2 }) } }
    await ask(server, "produced", "POST", { ...again, status: 204 })
    const stale = { ...again, headers: { ...again.headers, ...producer(3, { id: "even", epoch: 1 }) } }
    await ask(server, "produced", "POST", { ...stale, status: 403 })
    await append(server, "produced", json, messages(1, 5), () => producer(2, { id: "odd", epoch: 2 }))
    await rotated(server, "produced", 1)
    const seq = { body: "1", headers: { "content-type": json, "stream-seq": "s5" } }
    await ask(server, "json", "POST", { ...seq, status: 409 })
    await append(server, "json", json, ["13", "[14,15]"])
    await rotated(server, "json", 1)
    await append(server, "json", json, ["16", "17", "18"])
    await rotated(server, "json", 2)
    const { text: read } = await ask(server, "json", "GET", { status: 200 })
    const first = Buffer.from(fixture.seen.json[1].body, "base64").toString()
    expect(read).toBe(`${first.slice(0, -1)},13,14,15,16,17,18]`)
    await append(server, "again", json, messages(1, 5))
    await append(server, "trimmed", text, ["ggg"], () => ({ "stream-seq": "s6" }))
    expect((await ask(server, "trimmed", "GET", { status: 200 })).text).toBe("ggg")
    await ask(server, "closed", "POST", { body: "1", headers: { "content-type": json }, status: 409 })
  })

  test("can be forked, deleted and created again", { timeout: LONG_MS }, async () => {
    const forked = { headers: { "stream-forked-from": "/v1/stream/fork" } }
    await ask(server, "new", "PUT", { ...forked, status: 201 })
    await append(server, "new", json, messages(1, 40))
    const inherited = Buffer.from(fixture.seen.fork[1].body, "base64").toString()
    const whole = `${inherited.slice(0, -1)},${messages(1, 40)}]`
    expect((await ask(server, "new", "GET", { status: 200 })).text).toBe(whole)
    await ask(server, "source", "DELETE", { status: 204 })
    await ask(server, "source", "GET", { status: 410 })
    expect((await ask(server, "new", "GET", { status: 200 })).text).toBe(whole)
    // Deleting the last fork of a stream that is gone ends the stream.
    await ask(server, "heir", "DELETE", { status: 204 })
    await server.log.until({ event: "collected", stream: "gone" })
    await ask(server, "gone", "GET", { status: 404 })
    for (const [path, type] of [["deleted", json], ["expired", text], ["gone", text]]) {
      await ask(server, path, "PUT", { headers: { "content-type": type }, body: "[1]", status: 201 })
      expect((await look(server, path, "GET", "?offset=-1")).body, path).toBe(Buffer.from("[1]").toString("base64"))
    }
    const listed = await list(server)
    expect(listed.toSorted()).toEqual(
      [...fixture.listed.filter((path) => !["source", "heir"].includes(path)), "new", "deleted", "expired", "gone"].toSorted(),
    )
  })

  test("send their missing segments to the segment index", { timeout: LONG_MS }, async () => {
    await makeIndex(server)
    // After a failure a stream waits for a minute. A restarted server does not know of the failure.
    await server.dispose()
    server = await startOn(fixture.disk)
    for (const path of ["json", "bytes", "public"]) {
      await ask(server, path, "HEAD", { status: 200 })
      await server.log.until({ event: "mirrored", stream: path })
    }
    const index = await indexOf(server)
    const query = "SELECT read_seq, message_count FROM segments_admin WHERE path = ? ORDER BY read_seq"
    const segments = async (path) => (await index.prepare(query).bind(path).all()).results.map(({ read_seq }) => read_seq)
    expect([await segments("json"), await segments("bytes"), await segments("public")]).toEqual([[0, 1, 2, 3], [0, 1], [0]])
  })

  test("continue their message counts", async () => {
    await server.dispose()
    server = undefined
    const rows = await rowsOn(fixture.disk)
    expect([...new Set(Object.values(rows).map(({ schema_version }) => schema_version))]).toEqual([VERSION])
    for (const path of ["public", "text"]) expect(rows[path].reader_key).toBe(before[path].reader_key)
    const counts = ({ segments }) => segments.map(({ messages_before, message_count }) => [messages_before, message_count])
    expect(counts(rows.json)).toEqual([[null, 5], [null, 3], [8, 5], [13, 4]])
    expect(counts(rows.produced)).toEqual([[null, 3], [3, 3]])
    expect(counts(rows.again)).toEqual([[null, 3], [3, 3]])
    expect(counts(rows.bytes)).toEqual([[null, 3], [null, 3]])
    expect(rows.bytes.rotated_messages).toBe(6)
  })
})

test("an upgrade writes the stream's row, and one row for each table that gets a column, once", async () => {
  const { disk } = await unpack(7)
  // The log does not show the rows that an alarm writes, so no alarm may fire.
  await eachFile(disk, (database, file) =>
    database.exec(file === "metadata.sqlite" ? "DELETE FROM _cf_ALARM" : "DELETE FROM _cf_METADATA WHERE key = 1"),
  )
  const server = await startOn(disk)
  onTestFinished(server.dispose)
  for (const [path, status, rows] of [["text", 200, 3], ["deleted", 404, 3], ["heir", 200, 2], ["expired", 404, 2]]) {
    for (const _ of [1, 2]) await ask(server, path, "HEAD", { status })
    const served = await server.log.until({ event: "served", stream: path }, 2)
    expect(served.map(({ rows_written }) => rows_written), path).toEqual([rows, 0])
  }
})
