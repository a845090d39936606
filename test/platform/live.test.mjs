// Live readers on workerd receive each message once and in order, whatever clients and writers do.

import { randomBytes } from "node:crypto"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { RawConnection } from "./raw.mjs"
import { SlowReader, SseReader, longPoll, readToTheEnd, readersAsked } from "./readers.mjs"
import { BYTES, CLOSED, JSON_TYPE, LONG_MS, PATIENT, TEXT } from "./support.mjs"
import { numbers, residentBytes, scratch, start, startWorkerd, unique } from "./support.mjs"

const MIB = 2 ** 20

/** The number of reads that the object has served. */
const reads = (server, stream) => server.log.matching({ event: "served", stream: stream.path, method: "GET" }).length

describe.concurrent("readers at the tail", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: PATIENT })
  })
  afterAll(() => server?.dispose())

  const created = async (headers, body) => {
    const stream = server.stream(unique("live"))
    await stream.create(headers, body)
    return stream
  }

  test("a close ends SSE after the last event", async () => {
    const stream = await created(JSON_TYPE)
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    await stream.append('{"n":1}', JSON_TYPE)
    await stream.append('{"n":2}', { ...JSON_TYPE, ...CLOSED })
    await reader.untilEnd()
    expect(reader.messages).toEqual([{ n: 1 }, { n: 2 }])
    expect(reader.events.at(-1)).toMatchObject({ type: "control", id: "0000000000000000_0000000000000002" })
    expect(reader.controls.at(-1)).toEqual({
      streamNextOffset: "0000000000000000_0000000000000002",
      upToDate: true,
      streamClosed: true,
    })
  })

  test("a close without data ends SSE without a data event", async () => {
    const stream = await created(JSON_TYPE, "[1]")
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    await reader.untilEnd()
    expect(reader.data).toEqual(["[1]"])
    expect(reader.controls.at(-1).streamClosed).toBe(true)
  })

  test("a close answers long-polls", async () => {
    const [silent, speaking] = [await created(JSON_TYPE), await created(JSON_TYPE)]
    const { next } = await silent.read()
    const polls = [silent, speaking].flatMap((stream) => [longPoll(stream, "now"), longPoll(stream, next)])
    await readersAsked(server, silent, 3)
    await readersAsked(server, speaking, 2)
    await silent.ask("POST", { headers: CLOSED, status: 204 })
    await speaking.append('{"n":1}', { ...JSON_TYPE, ...CLOSED })
    const seen = (await Promise.all(polls)).map(({ status, text, header }) => [
      status,
      text,
      header("stream-closed"),
      header("stream-up-to-date"),
    ])
    expect(seen).toEqual([
      [204, "", "true", "true"],
      [204, "", "true", "true"],
      [200, '[{"n":1}]', "true", "true"],
      [200, '[{"n":1}]', "true", "true"],
    ])
  })

  test("a delete ends live reads, which receive nothing of the next incarnation", async () => {
    const stream = await created(JSON_TYPE, '["old"]')
    const readers = await Promise.all(numbers(5).map(() => SseReader.open(stream)))
    await Promise.all(readers.map((reader) => reader.untilAtTail()))
    const polls = numbers(5).map(() => longPoll(stream, "now"))
    await readersAsked(server, stream, 10)
    // Without a pause, so that the readers cannot leave in between.
    await stream.delete()
    const { next } = await stream.create(JSON_TYPE, '["new"]')
    await stream.append('["newer"]', JSON_TYPE)

    expect(next).toBe("0000000000000001_0000000000000001")
    for (const reader of readers) {
      await reader.untilEnd()
      expect(reader.messages).toEqual(["old"])
    }
    for (const { status, text } of await Promise.all(polls)) {
      expect(status).toBe(404)
      expect(text).not.toContain("new")
    }
    const resumed = await stream.ask("GET", { query: `?offset=${readers[0].lastId}&live=sse`, status: 410 })
    expect(resumed.next).toBe("0000000000000001_0000000000000000")
  })

  test("an append too large for one frame reaches all live readers", async () => {
    const stream = await created(BYTES, "first")
    const tail = (await stream.read()).next
    const body = randomBytes(3 * MIB)
    const readers = [await SseReader.open(stream), await SseReader.open(stream, { offset: "now" })]
    await Promise.all(readers.map((reader) => reader.untilAtTail()))
    const polls = [longPoll(stream, tail), longPoll(stream, "now")]
    await readersAsked(server, stream, 5)
    await stream.append(body)

    const { next } = await stream.ask("HEAD", { status: 200 })
    const received = async (reader) => {
      await reader.until("the append", ({ lastId }) => lastId === next)
      return Buffer.concat(reader.data.map((data) => Buffer.from(data, "base64")))
    }
    expect((await received(readers[0])).equals(Buffer.concat([Buffer.from("first"), body]))).toBe(true)
    expect((await received(readers[1])).equals(body)).toBe(true)
    const answers = await Promise.all(polls)
    for (const { status, bytes, next } of answers) {
      expect(status).toBe(200)
      const rest = (await stream.readAll(next)).map((chunk) => chunk.bytes)
      expect(Buffer.concat([bytes, ...rest]).equals(body)).toBe(true)
    }
    const [fromTail, fromNow] = answers.map(({ header }) => header("cache-control"))
    expect(fromTail).toMatch(/^public, max-age=/)
    expect(fromNow).toBe("no-store")
    // The append did not fit a frame, so each reader had to read it from the object.
    expect(reads(server, stream)).toBeGreaterThanOrEqual(5 + 4)

    // After that they wait for the next append.
    await stream.append("after")
    for (const reader of readers) {
      await reader.until("the next append", () => Buffer.from(reader.data.at(-1), "base64").toString() === "after")
      await reader.close()
    }
  })

  test("a message larger than the buffer of one client reaches new readers and connected ones", async () => {
    const stream = await created(JSON_TYPE, "[]")
    const there = await SseReader.open(stream)
    await there.untilAtTail()
    await stream.append(JSON.stringify(["x".repeat(6 * MIB)]), JSON_TYPE)
    const later = await SseReader.open(stream)
    for (const reader of [there, later]) {
      await reader.until("the message", () => reader.messages.length === 1)
      expect(reader.messages[0].length).toBe(6 * MIB)
      await reader.close()
    }
  })

  test("a reader that resumes with Last-Event-ID receives a large append once", async () => {
    const stream = await created(JSON_TYPE, "[0]")
    const fill = "x".repeat(MIB)
    const large = (from) => JSON.stringify(numbers(4, from).map((n) => ({ n, fill })))
    const { next } = await stream.read()
    await stream.append(large(1), JSON_TYPE)
    // The query is that of the `EventSource`'s first request, and the header is its current position.
    const reader = await SseReader.open(stream, { headers: { "last-event-id": next } })
    await reader.untilAtTail()
    await stream.append(large(5), JSON_TYPE)
    await stream.append('{"n":9}', { ...JSON_TYPE, ...CLOSED })
    await reader.untilEnd()
    expect(reader.messages.map(({ n }) => n)).toEqual(numbers(9, 1))
  })

  test("heartbeats are comments, which are not events", async () => {
    const reader = await SseReader.open(await created(JSON_TYPE, "[1]"))
    await reader.untilAtTail()
    const before = reader.events.length
    // The server sends a heartbeat every 15 s, which is not configurable.
    await reader.untilComment(40_000)
    expect(reader.events).toHaveLength(before)
    await reader.close()
  }, LONG_MS)
})

describe.concurrent("readers who disconnect", () => {
  let server
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
  })
  afterAll(() => server?.kill())

  /** A live request on a raw connection. */
  const connected = async (stream, query) => {
    const raw = await RawConnection.open(server.url)
    raw.send(`GET /v1/stream/${stream.path}?${query} HTTP/1.1\r\nhost: test\r\n\r\n`)
    return raw
  }
  const left = (stream, count) => server.log.until({ event: "reader_left", stream: stream.path }, count)

  for (const query of ["offset=-1&live=sse", "offset=now&live=long-poll"]) {
    test(`by a reset free their socket at once: ${query}`, async () => {
      const stream = server.stream(unique("reset"))
      await stream.create(JSON_TYPE)
      const readers = await Promise.all(numbers(3).map(() => connected(stream, query)))
      await readersAsked(server, stream, 3)
      if (query.includes("sse")) await Promise.all(readers.map((reader) => reader.until(/upToDate/)))
      expect(server.log.matching({ event: "reader_left", stream: stream.path })).toEqual([])
      readers[0].reset()
      await left(stream, 1)
      readers[1].reset()
      await left(stream, 2)
      // The remaining reader is not affected.
      await stream.append('{"n":1}', JSON_TYPE)
      await readers[2].until(/\[\{"n":1\}\]/)
      readers[2].reset()
      await left(stream, 3)
    })
  }

  test("silently free their socket at the next event", async () => {
    const stream = server.stream(unique("silent"))
    await stream.create(JSON_TYPE)
    const reader = await connected(stream, "offset=-1&live=sse")
    await reader.until(/upToDate/)
    reader.close()
    // The first write after the disconnect makes the kernel notice. The server learns of it with that write or the
    // next.
    for (const n of numbers(2)) await stream.append(JSON.stringify({ n }), JSON_TYPE)
    await left(stream, 1)
  })
})

describe("many readers and large streams", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: PATIENT })
  })
  afterAll(() => server?.dispose())

  test("200 SSE readers that connect during appends each receive every message once", async () => {
    const stream = server.stream(unique("crowd"))
    await stream.create(JSON_TYPE)
    let appended = 0
    const append = (headers) => stream.append(`{"n":${appended++}}`, { ...JSON_TYPE, ...headers })
    let connecting = true
    const writing = (async () => {
      while (connecting) await append()
    })()
    const readers = []
    for (const wave of numbers(20)) {
      const offset = wave % 4 === 3 ? "now" : "-1"
      readers.push(...(await Promise.all(numbers(10).map(() => SseReader.open(stream, { offset })))))
    }
    connecting = false
    await writing
    await append(CLOSED)

    for (const [index, reader] of readers.entries()) {
      await reader.untilEnd(LONG_MS)
      const seen = reader.messages.map(({ n }) => n)
      const first = index % 40 < 30 ? 0 : seen[0]
      expect(seen, `reader ${index}`).toEqual(numbers(appended - first, first))
      let next = first
      for (const { type, data, id } of reader.events) {
        if (type === "data") next += JSON.parse(data).length
        expect(Number(id.split("_")[1]), `id of reader ${index}`).toBe(Math.max(next, 0))
      }
      expect(reader.controls.at(-1).streamClosed).toBe(true)
    }
  }, LONG_MS)

  test("an SSE reader that catches up 25 MB during appends receives every message once", async () => {
    const stream = server.stream(unique("long"))
    await stream.create(JSON_TYPE)
    let appended = 0
    const batch = (count, size) =>
      JSON.stringify(numbers(count).map(() => ({ n: appended++, fill: "x".repeat(size) })))
    for (const _ of numbers(25)) await stream.append(batch(100, 10_000), JSON_TYPE)

    const reader = await SseReader.open(stream)
    let catchingUp = true
    const writing = (async () => {
      while (catchingUp) await stream.append(batch(1, 100), JSON_TYPE)
    })()
    await reader.untilAtTail(LONG_MS)
    catchingUp = false
    await writing
    await stream.append(batch(1, 1), { ...JSON_TYPE, ...CLOSED })
    await reader.untilEnd(LONG_MS)
    expect(reader.messages.map(({ n }) => n)).toEqual(numbers(appended))
    expect(appended).toBeGreaterThan(2501)
    const parts = reader.controls.findIndex(({ upToDate }) => upToDate)
    expect(parts).toBeGreaterThanOrEqual(5)
  }, LONG_MS)

  test("slow SSE clients do not delay others, and resume where they were disconnected", async () => {
    const plain = await startWorkerd(await scratch(), PATIENT)
    try {
      const stream = plain.stream(unique("slow"))
      await stream.create(JSON_TYPE)
      const slow = await Promise.all(numbers(10).map(() => SlowReader.open(stream)))
      const quick = await SseReader.open(stream)
      await quick.untilAtTail()
      const before = residentBytes(plain.pid)
      const appends = 120
      const fill = "x".repeat(500_000)
      for (const n of numbers(appends)) {
        await stream.append(JSON.stringify({ n, fill }), JSON_TYPE)
        await quick.untilMessages(n + 1)
      }
      await plain.log.until({ event: "reader_left", stream: stream.path }, slow.length)
      // The server sent 600 MB that these clients did not read. It buffers up to 4 MiB for each, and the engine takes
      // about 100 MiB.
      expect(residentBytes(plain.pid) - before).toBeLessThan(300 * MIB)
      await quick.close()
      await stream.append('{"n":"last"}', { ...JSON_TYPE, ...CLOSED })

      for (const other of slow.slice(1)) other.close()
      const first = await slow[0].readRest()
      expect(first.filter(({ type }) => type === "data").length).toBeLessThan(appends)
      const resumed = await readToTheEnd(stream, { lastEventId: first.at(-1).id, millis: LONG_MS })
      const events = [...first, ...resumed.flatMap(({ events }) => events)]
      const seen = events.filter(({ type }) => type === "data").flatMap(({ data }) => JSON.parse(data))
      expect(seen.map(({ n }) => n)).toEqual([...numbers(appends), "last"])
    } finally {
      await plain.kill()
    }
  }, LONG_MS)
})

describe("small chunks", () => {
  test("text is split between characters, and continues at the split", async () => {
    // Not a multiple of 2, 3 or 4, so some split falls into a character of each width.
    const server = await start({ vars: { ...PATIENT, CHUNK_MAX_BYTES: "65537" } })
    try {
      const stream = server.stream(unique("text"))
      const line = "héllo wörld €uro 𝄞 漢字\n"
      const text = line.repeat(20_000)
      await stream.create(TEXT)
      await stream.append(text, TEXT)
      const reader = await SseReader.open(stream)
      await reader.untilAtTail()
      expect(reader.data.length).toBeGreaterThan(8)
      // After the catch-up: an append too large for a frame, and one that fits.
      await stream.append("€𝄞".repeat(300_000), TEXT)
      await stream.append("ende", { ...TEXT, ...CLOSED })
      await reader.untilEnd()
      const whole = `${text}${"€𝄞".repeat(300_000)}ende`
      const seen = reader.data.join("")
      expect(seen.length).toBe(whole.length)
      expect(seen === whole).toBe(true)
    } finally {
      await server.dispose()
    }
  })

  test("a response that has called the object very often ends, and the reader resumes", async () => {
    const server = await start({ vars: { ...PATIENT, CHUNK_MAX_BYTES: "1024" } })
    try {
      const stream = server.stream(unique("parts"))
      const text = Array.from({ length: 100_000 }, (_, n) => `${n} €`).join("\n")
      await stream.create(TEXT)
      await stream.append(text, { ...TEXT, ...CLOSED })
      const responses = await readToTheEnd(stream, { millis: LONG_MS })
      expect(responses.length).toBeGreaterThan(1)
      expect(responses.flatMap(({ data }) => data).join("") === text).toBe(true)
    } finally {
      await server.dispose()
    }
  }, LONG_MS)
})

describe("a response that has used its CPU time", () => {
  let server
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), { ...PATIENT, CPU_LIMIT_MS: "10", CHUNK_MAX_BYTES: "65536" })
  })
  afterAll(() => server?.kill())

  /** Reads to the end of the stream. Each response ends properly, after a control event. */
  const readOn = async (stream) => {
    const responses = await readToTheEnd(stream, { millis: LONG_MS })
    for (const { events } of responses) expect(events.at(-1).type).toBe("control")
    return responses
  }

  test("ends between live events, and the reader resumes without a gap or a duplicate", async () => {
    const stream = server.stream(unique("cpu"))
    await stream.create(JSON_TYPE)
    const reading = [readOn(stream), readOn(stream)]
    await readersAsked(server, stream, 2)
    const appends = 100
    for (const n of numbers(appends)) await stream.append(`${n}`, JSON_TYPE)
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    for (const responses of await Promise.all(reading)) {
      expect(responses.flatMap(({ messages }) => messages)).toEqual(numbers(appends))
      // 24 writes per response.
      expect(responses.length).toBeGreaterThanOrEqual(Math.floor(appends / 24))
      for (const { data } of responses) expect(data.length).toBeLessThanOrEqual(24)
    }
  }, LONG_MS)

  test("ends during the catch-up, and the reader resumes", async () => {
    const stream = server.stream(unique("cpu"))
    const text = Array.from({ length: 100_000 }, (_, n) => `${n} €`).join("\n")
    await stream.create(TEXT)
    await stream.append(text, { ...TEXT, ...CLOSED })
    const responses = await readOn(stream)
    expect(responses.flatMap(({ data }) => data).join("") === text).toBe(true)
    // A part and the request for the next one cost 1.4 of 3.5 ms.
    expect(responses.length).toBeGreaterThanOrEqual(Math.floor(Buffer.byteLength(text) / 65_536 / 3))
  }, LONG_MS)
})

describe("content that grows when it is sent as events", () => {
  let server
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
  })
  afterAll(() => server?.kill())

  test("white space in a JSON message does not stop the stream's readers", async () => {
    const stream = server.stream(unique("white-space"))
    await stream.create(JSON_TYPE)
    await stream.append(`{"a":${"\n".repeat(9 * MIB)}1}`, JSON_TYPE)
    const reader = await SseReader.open(stream)
    expect(reader.response.status).toBe(200)
    await reader.untilMessages(1)
    await stream.append(`{"a":${"\r\n \t".repeat(MIB)}2}`, JSON_TYPE)
    await stream.append('{"a":3}', JSON_TYPE)
    await reader.untilMessages(3)
    expect(reader.messages).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }])
    expect((await stream.read()).text).toBe('[{"a":1},{"a":2},{"a":3}]')
    reader.close()
  }, LONG_MS)

  test("line ends in a text do not stop the stream's readers, nor take the room of other streams", async () => {
    const stream = server.stream(unique("lines"))
    await stream.create(TEXT)
    await stream.append("\n".repeat(4 * MIB), TEXT)
    const { pathname, host } = new URL(stream.url)
    // Readers that read nothing.
    for (const _ of numbers(2)) {
      const idle = await RawConnection.open(stream.url)
      onTestFinished(() => idle.socket.destroy())
      idle.send(`GET ${pathname}?offset=-1&live=sse HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      await idle.until(/\r\n\r\n/u)
      expect(idle.text).toMatch(/^HTTP\/1\.1 200 /u)
      idle.socket.pause()
    }
    const other = server.stream(unique("other"))
    await other.create(BYTES)
    await other.append(new Uint8Array(4 * MIB), BYTES)
    expect((await other.read()).bytes.length).toBe(4 * MIB)

    const reader = await SseReader.open(stream)
    await reader.untilAtTail(LONG_MS / 2)
    await stream.append("later", TEXT)
    await reader.until("the later append", ({ data }) => data.at(-1) === "later")
    expect(reader.data.slice(0, -1).join("") === "\n".repeat(4 * MIB)).toBe(true)
    // Each line becomes `data:` and a line end.
    for (const data of reader.data) expect(6 * (data.length + 1)).toBeLessThanOrEqual(6 * MIB + 512)
    reader.close()
  }, LONG_MS)
})
