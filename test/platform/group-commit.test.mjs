// Group commit: the queue of appends in front of an object that answers when the test says so, and the whole of it on
// workerd, where waiting for another request works differently from Node.

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { HttpConnection } from "./raw.mjs"
import { CLOSED, JSON_TYPE, numbers, producer, scratch, startWorkerd, unique } from "./support.mjs"

const module = { names: ["content-type", "stream-seq"], refusedBody: () => "refused" }

/** Calls in flight before others wait, and appends that go together. */
const UNDER_WAY_MAX = 4
const BATCH_APPENDS_MAX = 64
const APPEND_MAX_BYTES = 16 << 10
const HEADERS_MAX_CHARS = 4 << 10
const WAITING_MAX = 2000
const LINES_MAX = 10_000
const WAIT_MAX_MS = 50
const STALE_MS = 1000

/** Lets everything run that does not take time. */
const turn = () => new Promise(setImmediate)

/** An object whose calls the test answers. */
function object() {
  const calls = []
  const called = (call) => {
    const { promise, resolve, reject } = Promise.withResolvers()
    calls.push({ ...call, answer: resolve, fail: reject })
    return promise
  }
  const stub = {
    fetch: (request) => called({ alone: request }),
    appendAll: (url, headers, lengths, bodies) => called({ url, headers, lengths, text: Buffer.from(bodies).toString() }),
  }
  return { calls, streams: { getByName: () => stub } }
}

describe("a queue", () => {
  let append, url, calls, streams, kept
  beforeEach(async () => {
    vi.resetModules()
    ;({ append } = await import("../../src/cloudflare/js/group_commit.js"))
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
    url = `https://test/v1/stream/${unique()}`
    ;({ calls, streams } = object())
    kept = []
  })

  const one = (body, headers = {}, path = url) => {
    const length = { "content-length": `${Buffer.byteLength(body ?? "")}` }
    const request = new Request(url, { method: "POST", body, headers: { ...length, ...headers } })
    return append({ request, context: { waitUntil: (promise) => kept.push(promise) } }, streams, path, module)
  }
  const several = (count, from = 0) => numbers(count, from).map((number) => one(`${number};`))
  /** A result for each append of a call, with the append's body. */
  const answers = ({ text }) => text.split(";").slice(0, -1).map((body) => [200, `answer-to\n${body}\n`, undefined])
  const bodyOf = async (answered) => (await answered).headers.get("answer-to")

  test("sends appends at once while few are in flight", async () => {
    const answered = several(UNDER_WAY_MAX)
    expect(calls.every((call) => call.alone)).toBe(true)
    calls.forEach((call, at) => call.answer(`answer ${at}`))
    expect(await Promise.all(answered)).toEqual(numbers(UNDER_WAY_MAX).map((at) => `answer ${at}`))
    // The queue is empty again, so as many are sent at once.
    several(UNDER_WAY_MAX)
    expect(calls).toHaveLength(2 * UNDER_WAY_MAX)
  })

  test("sends waiting appends together when one has ended, in order, each with its own result", async () => {
    several(UNDER_WAY_MAX)
    const waiting = [one("0;", { "content-type": "text/plain" }), one("1;", { "stream-seq": "é", other: "x" }), one("2;")]
    await turn()
    expect(calls).toHaveLength(UNDER_WAY_MAX)
    calls[0].answer("first")
    await turn()
    const [together] = calls.slice(UNDER_WAY_MAX)
    expect(together).toMatchObject({ url, lengths: [2, 2, 2], text: "0;1;2;" })
    expect(together.headers).toEqual(["content-type\ntext/plain\n", expect.stringMatching(/stream-seq\né\n$/), expect.any(String)])
    expect(together.headers.join()).not.toContain("other")
    together.answer(answers(together))
    expect(await Promise.all(waiting.map(bodyOf))).toEqual(["0", "1", "2"])
  })

  test("has the same number of calls in flight while others wait", async () => {
    several(UNDER_WAY_MAX)
    several(BATCH_APPENDS_MAX + 10)
    await turn()
    calls[0].answer()
    await turn()
    calls[1].answer()
    await turn()
    expect(calls.slice(UNDER_WAY_MAX).map(({ lengths }) => lengths.length)).toEqual([BATCH_APPENDS_MAX, 10])
    const late = several(1, 1000)
    await turn()
    expect(calls).toHaveLength(UNDER_WAY_MAX + 2)
    calls[UNDER_WAY_MAX].answer(answers(calls[UNDER_WAY_MAX]))
    await turn()
    calls.at(-1).answer(answers(calls.at(-1)))
    expect(await bodyOf(late[0])).toBe("1000")
  })

  test("fails every append of a call that fails", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(3)
    await turn()
    calls[0].fail(new Error("the first"))
    await turn()
    calls[UNDER_WAY_MAX].fail(new Error("lost"))
    expect((await Promise.allSettled(waiting)).map(({ reason }) => reason.message)).toEqual(["lost", "lost", "lost"])
  })

  test("fails one append of a call, and returns the others' results", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(3)
    await turn()
    calls[0].answer()
    await turn()
    calls.at(-1).answer(answers(calls.at(-1)).with(1, [0, "a trap"]))
    await expect(waiting[1]).rejects.toThrow("a trap")
    expect([await bodyOf(waiting[0]), await bodyOf(waiting[2])]).toEqual(["0", "2"])
  })

  test("is not used if the object's version does not support it: each append goes alone and unchanged", async () => {
    several(UNDER_WAY_MAX)
    const waiting = [one("0"), one("1", { "content-type": "text/plain", "stream-seq": "é" })]
    await turn()
    calls[0].answer()
    await turn()
    calls.at(-1).fail(new TypeError('The RPC receiver does not implement the method "appendAll".'))
    await turn()
    const sent = calls.slice(-2).map(({ alone }) => alone)
    expect(sent.map(({ method, url: to }) => [method, to])).toEqual([["POST", url], ["POST", url]])
    expect(await Promise.all(sent.map((request) => request.text()))).toEqual(["0", "1"])
    expect([...sent[1].headers]).toEqual([["content-type", "text/plain"], ["stream-seq", "é"]])
    for (const [at, call] of calls.slice(-2).entries()) call.answer(`alone ${at}`)
    expect(await Promise.all(waiting)).toEqual(["alone 0", "alone 1"])
  })

  test("does not take large appends or appends without a length, but takes a close", async () => {
    several(UNDER_WAY_MAX)
    one("x".repeat(APPEND_MAX_BYTES + 1))
    one("x", { "stream-seq": "x".repeat(HEADERS_MAX_CHARS) })
    const chunked = new Request(url, { method: "POST", body: "x" })
    append({ request: chunked, context: { waitUntil() {} } }, streams, url, module)
    await turn()
    expect(calls.slice(UNDER_WAY_MAX).map((call) => "alone" in call)).toEqual([true, true, true])
    const waiting = [one("x".repeat(APPEND_MAX_BYTES)), one(null)]
    await turn()
    expect(calls).toHaveLength(UNDER_WAY_MAX + 3)
    calls[0].answer()
    await turn()
    expect(calls.at(-1).lengths.toSorted()).toEqual([0, APPEND_MAX_BYTES])
    calls.at(-1).fail(new Error("lost"))
    await Promise.allSettled(waiting)
  })

  test("is limited: further appends go alone, even if the bodies of the queued ones are slow", async () => {
    several(UNDER_WAY_MAX)
    const slow = Promise.withResolvers()
    const request = { url, body: {}, headers: new Headers({ "content-length": "1" }), arrayBuffer: () => slow.promise }
    const all = numbers(WAITING_MAX + 1).map(() => append({ request, context: { waitUntil() {} } }, streams, url, module))
    expect(calls.slice(UNDER_WAY_MAX)).toMatchObject([{ alone: request }])
    slow.reject(new Error("gone"))
    expect(new Set(await Promise.all(all.slice(0, WAITING_MAX)))).toEqual(new Set(["refused"]))
    one("0")
    expect(calls).toHaveLength(UNDER_WAY_MAX + 1)
  })

  test("serves new streams after all places were taken", async () => {
    several(UNDER_WAY_MAX)
    for (const path of numbers(LINES_MAX)) one("x", {}, `${path}`)
    vi.advanceTimersByTime(STALE_MS)
    several(UNDER_WAY_MAX)
    const before = calls.length
    const last = numbers(UNDER_WAY_MAX + 1).map(() => one("x", {}, "last"))
    await turn()
    expect(calls.slice(before).map((call) => "alone" in call)).toEqual(numbers(UNDER_WAY_MAX).map(() => true))
    expect(last).toHaveLength(UNDER_WAY_MAX + 1)
  })

  test("keeps the request alive until each append has its result, even if a client disconnects", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(2)
    const ends = Promise.all(kept)
    await turn()
    calls[0].answer()
    await turn()
    calls.at(-1).answer(answers(calls.at(-1)))
    await Promise.all(waiting)
    expect(kept).toHaveLength(2)
    await ends
  })

  test("waits at most WAIT_MAX_MS for calls that are slow or lost, and then sends the rest together", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(3)
    await turn()
    vi.advanceTimersByTime(WAIT_MAX_MS)
    await turn()
    const [together, ...more] = calls.slice(UNDER_WAY_MAX)
    expect([together.text, more]).toEqual(["0;1;2;", []])
    together.answer(answers(together))
    expect(await Promise.all(waiting.map(bodyOf))).toEqual(["0", "1", "2"])
    // A lost call stops counting after STALE_MS.
    vi.advanceTimersByTime(STALE_MS)
    const calm = one("calm;")
    calls.at(-1).answer("calm")
    expect(await calm).toBe("calm")
    // If the call ends after that, it frees no place.
    several(UNDER_WAY_MAX)
    for (const call of calls.slice(0, UNDER_WAY_MAX)) call.answer()
    await turn()
    one("behind")
    expect(calls.at(-1).alone?.url).toBe(url)
    expect(calls).toHaveLength(2 * UNDER_WAY_MAX + 2)
  })

  test("fails an append if the call that took it along never ends", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(2)
    await turn()
    calls[0].answer()
    await turn()
    const lost = expect(waiting[1]).rejects.toThrow("gone")
    vi.advanceTimersByTime(WAIT_MAX_MS)
    vi.advanceTimersByTime(30_000)
    await lost
  })
})

describe("on workerd", () => {
  let server
  beforeAll(async () => {
    vi.useRealTimers()
    server = await startWorkerd(await scratch())
  })
  afterAll(() => server?.kill())

  const created = async (headers = JSON_TYPE) => {
    const stream = server.stream(unique("together"))
    await stream.create(headers)
    return { stream, target: `/v1/stream/${stream.path}` }
  }
  const connections = (count) => Promise.all(numbers(count).map(() => HttpConnection.open(server.url)))
  const messages = async (stream) => (await stream.readAll()).flatMap(({ text }) => JSON.parse(text))

  test("concurrent writers: each append is stored once, at the returned offset, in the order of its writer", async () => {
    const { stream, target } = await created()
    const writers = await connections(40)
    const offsets = []
    await Promise.all(
      writers.map(async (connection, writer) => {
        for (const seq of numbers(20)) {
          const body = JSON.stringify({ writer, seq })
          const reply = await connection.ask("POST", target, { headers: JSON_TYPE, body })
          expect(reply.status).toBe(204)
          offsets.push(reply.header("stream-next-offset"))
        }
      }),
    )
    const all = await messages(stream)
    expect(all).toHaveLength(800)
    for (const writer of numbers(40)) {
      expect(all.filter((one) => one.writer === writer).map(({ seq }) => seq)).toEqual(numbers(20))
    }
    expect(new Set(offsets).size).toBe(800)
    expect(offsets.sort().at(-1)).toBe((await stream.ask("HEAD")).next)
    // Check that the appends were in fact grouped.
    expect(server.log.matching({ event: "appended_together", stream: stream.path }).length).toBeGreaterThan(10)
  })

  test("each append has its own result", async () => {
    const { stream, target } = await created()
    await stream.append("0", { ...JSON_TYPE, ...producer(0) })
    const kinds = [
      { headers: JSON_TYPE, body: '"stored"', status: 204 },
      { headers: JSON_TYPE, body: "{", status: 400, code: "invalid_json" },
      { headers: { "content-type": "text/plain" }, body: "x", status: 409 },
      { headers: { ...JSON_TYPE, ...producer(0) }, body: "0", status: 204 },
      { headers: { ...JSON_TYPE, ...producer(7) }, body: "7", status: 409 },
      { headers: { ...JSON_TYPE, "producer-id": "p" }, body: "7", status: 400 },
      { headers: { ...JSON_TYPE, origin: "https://app.example" }, body: '"stored"', status: 204, origin: "*" },
    ]
    const writers = await connections(10 * kinds.length)
    await Promise.all(
      writers.map(async (connection, at) => {
        const { headers, body, status, code, origin = null } = kinds[at % kinds.length]
        for (const _ of numbers(5)) {
          const reply = await connection.ask("POST", target, { headers, body })
          expect([body, headers, reply.status]).toEqual([body, headers, status])
          expect(reply.header("access-control-allow-origin")).toBe(origin)
          expect(reply.header("cache-control")).toBe("no-store")
          if (status >= 400) expect(JSON.parse(reply.text).error.code).toEqual(code ?? expect.any(String))
        }
      }),
    )
    expect(await messages(stream)).toEqual([0, ...numbers(100).map(() => "stored")])
  })

  test("of all compare-and-appends at one tail, one is stored, and the others receive the tail", async () => {
    const { stream, target } = await created()
    const writers = await connections(40)
    let tail = (await stream.ask("HEAD")).next
    for (const round of numbers(5)) {
      const replies = await Promise.all(
        writers.map((connection, writer) =>
          connection.ask("POST", target, {
            headers: { ...JSON_TYPE, "stream-expected-offset": tail },
            body: JSON.stringify({ round, writer }),
          }),
        ),
      )
      const stored = replies.filter(({ status }) => status === 204)
      const refused = replies.filter(({ status }) => status === 409)
      expect([stored.length, refused.length]).toEqual([1, 39])
      tail = stored[0].header("stream-next-offset")
      expect(new Set(refused.map((reply) => reply.header("stream-next-offset")))).toEqual(new Set([tail]))
      expect(new Set(refused.map(({ text }) => text))).toEqual(new Set(["Expected offset conflict"]))
    }
    expect((await messages(stream)).map(({ round }) => round)).toEqual(numbers(5))
    expect(server.log.matching({ event: "appended_together", stream: stream.path }).length).toBeGreaterThan(0)
  })

  test("a close ends the stream for the appends behind it", async () => {
    const { stream, target } = await created()
    const writers = await connections(60)
    const statuses = await Promise.all(
      writers.map(async (connection, at) => {
        const headers = at === 30 ? { ...JSON_TYPE, ...CLOSED } : JSON_TYPE
        return (await connection.ask("POST", target, { headers, body: `${at}` })).status
      }),
    )
    const stored = await messages(stream)
    const accepted = numbers(60).filter((at) => statuses[at] === 204)
    expect(stored.toSorted((a, b) => a - b)).toEqual(accepted)
    expect(stored.at(-1)).toBe(30)
    expect(new Set(statuses)).toEqual(new Set([204, 409]).intersection(new Set(statuses)))
  })

  test("bodies that never arrive do not block others", async () => {
    const { stream, target } = await created()
    const slow = await connections(2 * UNDER_WAY_MAX)
    for (const connection of slow) connection.begin("POST", target, { ...JSON_TYPE, "content-length": "1" })
    const writers = await connections(20)
    await Promise.all(writers.map((connection) => connection.ask("POST", target, { headers: JSON_TYPE, body: "1" })))
    for (const connection of slow) connection.send("2")
    for (const connection of slow) expect((await connection.reply("POST")).status).toBe(204)
    expect((await messages(stream)).sort().join("")).toBe(`${"1".repeat(20)}${"2".repeat(2 * UNDER_WAY_MAX)}`)
  })

  test("clients that disconnect do not fail the appends of others", async () => {
    const { stream, target } = await created()
    const writers = await connections(60)
    const replies = writers.map(async (connection, at) => {
      connection.begin("POST", target, { ...JSON_TYPE, "content-length": `${at}`.length })
      connection.send(`${at}`)
      if (at % 3 === 0) return connection.reset()
      return (await connection.reply("POST")).status
    })
    const statuses = await Promise.all(replies)
    expect(statuses.filter((status) => status !== undefined)).toEqual(numbers(40).map(() => 204))
    const stored = await messages(stream)
    expect(new Set(stored).size).toBe(stored.length)
    for (const at of numbers(60).filter((at) => at % 3 !== 0)) expect(stored).toContain(at)
  })
})
