// An object hibernates while readers are connected. An append wakes it, and each reader receives each message exactly
// once.
//
// A second `loaded` line proves that the object was evicted. The same test without the eviction has only the first
// line.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { join } from "node:path"
import { RawConnection } from "./raw.mjs"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { BYTES, CLOSED, JSON_TYPE, LONG_MS, PATIENT, SOON_MS } from "./support.mjs"
import { numbers, root, scratch, start, startWorkerd, unique, within } from "./support.mjs"

/** The close code with which an object tells the edge to read what it missed (`src/protocol/bridge.rs`). */
const CATCH_UP = 4000

/**
 * The number of times that the object was loaded, once this many appends are logged. A line may follow its response.
 */
async function loads(server, stream, appends) {
  await server.log.until({ event: "served", stream: stream.path, method: "POST" }, appends)
  return server.log.matching({ event: "loaded", stream: stream.path }).length
}

const failures = (server, stream) => server.log.matching({ level: "error", stream: stream.path })

/** SSE readers at the tail, and long-polls that wait there. */
async function gather(server, stream, { sse = 3, polls = 3 } = {}) {
  const before = server.log.matching({ event: "served", stream: stream.path, method: "GET" }).length
  const { next } = await stream.ask("HEAD", { status: 200 })
  const readers = await Promise.all(
    numbers(sse).map((index) => SseReader.open(stream, { offset: index % 2 === 0 ? "-1" : "now" })),
  )
  await Promise.all(readers.map((reader) => reader.untilAtTail()))
  const waiting = numbers(polls).map((index) => longPoll(stream, index % 2 === 0 ? next : "now"))
  await readersAsked(server, stream, before + sse + polls)
  return { readers, polls: waiting }
}

describe("an object whose module loses its memory between commit and announcement", () => {
  let server
  beforeAll(async () => {
    const front = join(root, "test/platform/lost-memory.js")
    server = await startWorkerd(await scratch(), PATIENT, undefined, undefined, front)
  })
  afterAll(() => server?.kill())

  test("makes its live readers read what they missed", async () => {
    const stream = server.stream(unique("lost"))
    await stream.create(JSON_TYPE, "[0]")
    const watched = fetch(`${stream.url}?offset=-1&live=sse`, { headers: { watch: "it" } })
    await readersAsked(server, stream, 1)
    await stream.append("1", { ...JSON_TYPE, "lose-memory": "now" })
    expect(await (await within(SOON_MS, "the socket is closed", watched)).text()).toBe(`${CATCH_UP}`)
  })
})

describe.concurrent("an object that is evicted while readers are connected", () => {
  let server
  beforeAll(async () => {
    // Without collapsing, each reader has a socket of its own.
    server = await start({ vars: { ...PATIENT, EDGE_CACHE: "off" } })
  })
  afterAll(() => server?.dispose())

  const created = async (headers = JSON_TYPE, body = "[0]") => {
    const stream = server.stream(unique("asleep"))
    await stream.create(headers, body)
    return stream
  }

  /** Evicts the object from memory, as hibernation does. */
  const evict = ({ path }) =>
    server.mf.unsafeEvictDurableObject("durable-streams", "StreamObject", { name: path, webSockets: "hibernate" })

  for (const evicted of [true, false]) {
    const title = evicted ? "is woken by an append, and each reader receives it once" : "is loaded once if it is not evicted"
    test(title, async () => {
      const stream = await created()
      const { readers, polls } = await gather(server, stream, { sse: 4, polls: 4 })
      expect(await loads(server, stream, 0)).toBe(1)
      if (evicted) await evict(stream)
      await stream.append('{"n":1}', JSON_TYPE)
      for (const { status, text, next } of await Promise.all(polls)) {
        expect(status).toBe(200)
        expect(text).toBe('[{"n":1}]')
        expect(next).toBe("0000000000000000_0000000000000002")
      }
      await Promise.all(readers.map((reader) => reader.until("the append", ({ data }) => data.includes('[{"n":1}]'))))
      await stream.append('{"n":2}', JSON_TYPE)
      await stream.append('{"n":3}', { ...JSON_TYPE, ...CLOSED })
      for (const [index, reader] of readers.entries()) {
        await reader.untilEnd()
        const before = index % 2 === 0 ? [0] : []
        expect(reader.messages).toEqual([...before, { n: 1 }, { n: 2 }, { n: 3 }])
        expect(reader.controls.at(-1).streamClosed).toBe(true)
      }
      expect(await loads(server, stream, 3)).toBe(evicted ? 2 : 1)
      expect(failures(server, stream)).toEqual([])
    })
  }

  test("delivers bytes in order over repeated evictions, to old readers and to new ones", async () => {
    const stream = await created(BYTES, "0")
    const { readers, polls } = await gather(server, stream, { sse: 2, polls: 1 })
    const rounds = 4
    let poll = polls[0]
    for (const round of numbers(rounds, 1)) {
      await evict(stream)
      // The first append wakes the object, and the second finds it awake.
      await stream.append(`a${round}`)
      const answer = await poll
      expect(answer.text).toBe(`a${round}`)
      await stream.append(`b${round}`)
      readers.push(await SseReader.open(stream))
      await readers.at(-1).untilAtTail()
      const next = await stream.read(answer.next)
      expect(next.text).toBe(`b${round}`)
      poll = longPoll(stream, next.next)
      // The long-poll, the SSE reader and the read before them.
      await readersAsked(server, stream, 3 + 3 * round)
    }
    await stream.append("end", { ...BYTES, ...CLOSED })
    expect((await poll).text).toBe("end")
    const appended = numbers(rounds, 1).map((round) => `a${round}b${round}`).join("") + "end"
    for (const [index, reader] of readers.entries()) {
      await reader.untilEnd()
      const text = Buffer.concat(reader.data.map((data) => Buffer.from(data, "base64"))).toString()
      expect(text).toBe(index === 1 ? appended : `0${appended}`)
    }
    expect(await loads(server, stream, 2 * rounds + 1)).toBe(1 + rounds)
  })

  test("is woken by a reader, which joins the readers that are already connected", async () => {
    const stream = await created()
    const { readers, polls } = await gather(server, stream)
    await evict(stream)
    const late = await SseReader.open(stream)
    await late.untilAtTail()
    await server.log.until({ event: "loaded", stream: stream.path }, 2)
    await stream.append("1", { ...JSON_TYPE, ...CLOSED })
    for (const reader of [...readers, late]) await reader.untilEnd()
    expect([...readers, late].map(({ messages }) => messages)).toEqual([[0, 1], [1], [0, 1], [0, 1]])
    for (const { text } of await Promise.all(polls)) expect(text).toBe("[1]")
  })

  test("is woken by a close, which ends SSE and answers long-polls", async () => {
    const stream = await created()
    const { readers, polls } = await gather(server, stream)
    await evict(stream)
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    for (const reader of readers) {
      await reader.untilEnd()
      expect(reader.controls.at(-1).streamClosed).toBe(true)
    }
    for (const { status, header } of await Promise.all(polls)) {
      expect(status).toBe(204)
      expect(header("stream-closed")).toBe("true")
    }
    expect(await loads(server, stream, 1)).toBe(2)
  })

  test("is woken by a delete, which ends SSE and answers long-polls with 404, and no reader sees the next incarnation", async () => {
    const stream = await created()
    const { readers, polls } = await gather(server, stream)
    await evict(stream)
    await stream.delete()
    await stream.create(JSON_TYPE, "[99]")
    for (const [index, reader] of readers.entries()) {
      await reader.untilEnd()
      expect(reader.messages).toEqual(index % 2 === 0 ? [0] : [])
    }
    for (const { status } of await Promise.all(polls)) expect(status).toBe(404)
    await server.log.until({ event: "loaded", stream: stream.path }, 2)
    expect(failures(server, stream)).toEqual([])
  })

  test("is woken by an append too large for one frame", async () => {
    const stream = await created()
    const { readers, polls } = await gather(server, stream, { sse: 2, polls: 2 })
    await evict(stream)
    const fill = "x".repeat(1.5 * 2 ** 20)
    await stream.append(JSON.stringify({ n: 1, fill }), JSON_TYPE)
    await stream.append("2", { ...JSON_TYPE, ...CLOSED })
    for (const [index, reader] of readers.entries()) {
      await reader.untilEnd()
      const seen = reader.messages.map((message) => message.n ?? message)
      expect(seen).toEqual(index === 0 ? [0, 1, 2] : [1, 2])
    }
    for (const { status, text } of await Promise.all(polls)) {
      expect(status).toBe(200)
      expect(JSON.parse(text)[0].n).toBe(1)
    }
    expect(await loads(server, stream, 2)).toBe(2)
  })

  test("restores the cursor of each reader", async () => {
    const stream = await created()
    const { next, header } = await stream.ask("GET", { query: "?offset=-1&live=long-poll", status: 200 })
    const now = Number(header("stream-cursor"))
    // Cursors count milliseconds: this is an hour.
    const ahead = now + 3_600_000
    const polls = [longPoll(stream, next, `&cursor=${ahead}`), longPoll(stream, next)]
    const reader = await SseReader.open(stream, { offset: next, query: `&cursor=${ahead}` })
    await reader.untilAtTail()
    await readersAsked(server, stream, 4)
    await evict(stream)
    await stream.append("1", JSON_TYPE)
    const cursors = (await Promise.all(polls)).map((answer) => Number(answer.header("stream-cursor")))
    expect(cursors[0]).toBeGreaterThan(ahead)
    expect(cursors[1]).toBeLessThan(ahead)
    await reader.untilMessages(1)
    await reader.until("its control event", ({ controls }) => controls.length === 2)
    expect(Number(reader.controls[1].streamCursor)).toBeGreaterThan(ahead)
    expect(await loads(server, stream, 1)).toBe(2)
    await reader.close()
  })
})

describe.concurrent("an idle object with readers, on workerd's own schedule", () => {
  let server
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
  })
  afterAll(() => server?.kill())

  // workerd evicts an object that was idle for 10 s, without a log line. A request would keep the object awake.
  const IDLE_MS = 14_000
  const idle = () => new Promise((resolve) => setTimeout(resolve, IDLE_MS))

  test("hibernates while responses send heartbeats", async () => {
    const stream = server.stream(unique("heartbeats"))
    await stream.create(JSON_TYPE)
    const { readers } = await gather(server, stream, { sse: 3, polls: 0 })
    const heartbeats = 2
    await Promise.all(
      readers.map((reader) => reader.until("heartbeats", ({ comments }) => comments >= heartbeats, LONG_MS)),
    )
    // Heartbeats are sent every 15 s, and none has woken the object.
    expect(await loads(server, stream, 0)).toBe(1)
    await stream.append("1", { ...JSON_TYPE, ...CLOSED })
    expect(await loads(server, stream, 1)).toBe(2)
    for (const reader of readers) {
      await reader.untilEnd()
      expect(reader.messages).toEqual([1])
    }
  }, LONG_MS)

  test("is evicted, because no live reader keeps it awake", async () => {
    const stream = server.stream(unique("idle"))
    await stream.create(JSON_TYPE)
    const { readers, polls } = await gather(server, stream, { sse: 2, polls: 2 })
    const leaver = await RawConnection.open(server.url)
    leaver.send(`GET /v1/stream/${stream.path}?offset=-1&live=sse HTTP/1.1\r\nhost: test\r\n\r\n`)
    await leaver.until(/upToDate/)
    await idle()
    // A client that disconnects wakes the object, but not its stream, and does not affect other readers.
    leaver.reset()
    await server.log.until({ event: "reader_left", stream: stream.path })
    expect(await loads(server, stream, 0)).toBe(1)
    await stream.append("1", JSON_TYPE)
    expect(await loads(server, stream, 1)).toBe(2)
    for (const { status, text } of await Promise.all(polls)) expect([status, text]).toEqual([200, "[1]"])
    await stream.append("2", { ...JSON_TYPE, ...CLOSED })
    for (const reader of readers) {
      await reader.untilEnd()
      expect(reader.messages).toEqual([1, 2])
    }
  }, LONG_MS)

  test("stays loaded while it receives requests", async () => {
    const stream = server.stream(unique("busy"))
    await stream.create(JSON_TYPE)
    const { readers, polls } = await gather(server, stream, { sse: 1, polls: 1 })
    let waiting = true
    const asking = (async () => {
      while (waiting) {
        await stream.ask("HEAD", { status: 200 })
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
    })()
    await idle()
    waiting = false
    await asking
    await stream.append("1", { ...JSON_TYPE, ...CLOSED })
    expect((await polls[0]).text).toBe("[1]")
    await readers[0].untilEnd()
    expect(await loads(server, stream, 1)).toBe(1)
  }, LONG_MS)
})
