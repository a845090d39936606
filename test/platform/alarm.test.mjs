// Alarms on workerd: the alarm reclaims an expired stream without any request, and no stream before its time.
//
// These tests measure time by other streams: when a stream with a TTL of 1 s is reclaimed, a second has passed.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { RawConnection } from "./raw.mjs"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { JSON_TYPE, LONG_MS, PATIENT, numbers, scratch, start, startWorkerd, unique } from "./support.mjs"

const ttl = (seconds) => ({ ...JSON_TYPE, "stream-ttl": `${seconds}` })
const reclaimed = ({ path }) => ({ event: "reclaimed", stream: path })

describe.concurrent("a stream that expires", () => {
  let server
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
  })
  afterAll(() => server?.kill())

  /** Waits until the server's clock has advanced by this much. */
  async function pass(seconds) {
    const control = server.stream(unique("control"))
    await control.create(ttl(seconds))
    await server.log.until(reclaimed(control))
  }

  for (const [how, lifetime] of Object.entries({
    "a TTL": () => ttl(1),
    "an instant": () => ({ ...JSON_TYPE, "stream-expires-at": new Date(Date.now() + 2000).toISOString() }),
  })) {
    test(`is reclaimed without any request, and can be created again: ${how}`, async () => {
      const stream = server.stream(unique("ends"))
      await stream.create(lifetime(), '["old"]')
      await server.log.until(reclaimed(stream))
      const served = server.log.matching({ event: "served", stream: stream.path })
      expect(served.map(({ method }) => method)).toEqual(["PUT"])
      await stream.ask("GET", { query: "?offset=-1", status: 404 })
      await stream.ask("POST", { headers: JSON_TYPE, body: "1", status: 404 })
      const { next } = await stream.create(JSON_TYPE, '["new"]')
      expect(next).toBe("0000000000000001_0000000000000001")
      expect((await stream.read()).text).toBe('["new"]')
      // The new stream does not expire.
      await pass(2)
      expect((await stream.read()).text).toBe('["new"]')
      expect(server.log.matching(reclaimed(stream))).toHaveLength(1)
    })
  }

  for (const query of ["offset=-1&live=sse", "offset=-1&live=long-poll"]) {
    test(`is not reclaimed while a reader follows it live, and is reclaimed after that: ${query}`, async () => {
      const stream = server.stream(unique("read"))
      await stream.create(ttl(2))
      const reader = await RawConnection.open(server.url)
      reader.send(`GET /v1/stream/${stream.path}?${query} HTTP/1.1\r\nhost: test\r\n\r\n`)
      await readersAsked(server, stream, 1)
      // More than two of its lifetimes.
      for (const _ of numbers(5)) await pass(1)
      expect(server.log.matching(reclaimed(stream))).toEqual([])
      await stream.ask("HEAD", { status: 200 })
      if (query.includes("sse")) {
        await stream.append('"still there"', JSON_TYPE)
        await reader.until(/\["still there"\]/)
      }
      expect(server.log.matching({ event: "reader_left", stream: stream.path })).toEqual([])
      reader.reset()
      await server.log.until({ event: "reader_left", stream: stream.path })
      await server.log.until(reclaimed(stream))
      await stream.ask("HEAD", { status: 404 })
    }, LONG_MS)
  }

  test("stays while it is read or written", async () => {
    const streams = ["read", "written", "left"].map((name) => server.stream(unique(name)))
    for (const stream of streams) await stream.create(ttl(3), "[1]")
    await pass(1)
    await streams[0].read()
    await streams[1].append("2", JSON_TYPE)
    for (const stream of streams) await server.log.until(reclaimed(stream))
    // The untouched stream that was created last is reclaimed first.
    const paths = streams.map(({ path }) => path)
    const order = server.log.lines.filter(({ event, stream }) => event === "reclaimed" && paths.includes(stream))
    expect(order[0].stream).toBe(paths[2])
  }, LONG_MS)

  test("ends its live readers if it expires at a fixed time", async () => {
    const stream = server.stream(unique("instant"))
    await stream.create({ ...JSON_TYPE, "stream-expires-at": new Date(Date.now() + 3000).toISOString() }, "[1]")
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    const poll = longPoll(stream, "now")
    await readersAsked(server, stream, 2)
    await server.log.until(reclaimed(stream))
    await reader.untilEnd()
    expect(reader.messages).toEqual([1])
    expect((await poll).status).toBe(404)
  })
})

describe("an alarm survives", () => {
  test("the loss of the object's memory", async () => {
    const server = await start()
    try {
      const stream = server.stream(unique("evicted"))
      await stream.create(ttl(2), "[1]")
      const evicted = { name: stream.path, webSockets: "hibernate" }
      await server.mf.unsafeEvictDurableObject("durable-streams", "StreamObject", evicted)
      await server.log.until(reclaimed(stream))
      await stream.ask("HEAD", { status: 404 })
    } finally {
      await server.dispose()
    }
  })

  test("the end of the process", async () => {
    const folder = await scratch()
    const before = await startWorkerd(folder)
    const stream = before.stream(unique("killed"))
    await stream.create(ttl(3), "[1]")
    expect(before.log.matching(reclaimed(stream))).toEqual([])
    await before.kill()
    const after = await startWorkerd(folder)
    try {
      await after.log.until(reclaimed(stream))
      await after.stream(stream.path).ask("HEAD", { status: 404 })
    } finally {
      await after.kill()
    }
  })
})
