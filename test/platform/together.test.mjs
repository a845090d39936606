// Appends that wait for each other: the line they stand in, with an object that answers when the test says so; and the
// whole of it on workerd, where what waits for another request is another matter than in Node.

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest"
import { append } from "../../src/cloudflare/together.js"
import { HttpConnection } from "./raw.mjs"
import { CLOSED, JSON_TYPE, numbers, producer, scratch, startWorkerd, unique } from "./support.mjs"

const module = { names: ["content-type", "stream-seq"], brokenBody: () => "broken" }

/** As many as are under way before the others wait, and as many as go together. */
const UNDER_WAY_MAX = 4
const TOGETHER_MAX = 64
const APPEND_MAX_BYTES = 16 << 10
const STALE_MS = 1000

/** What happens before anything that takes time. */
const turn = () => new Promise(setImmediate)

/** Objects that answer when the test says so. */
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

describe("a line", () => {
  let url, calls, streams, kept
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
    url = `https://test/v1/stream/${unique()}`
    ;({ calls, streams } = object())
    kept = []
  })

  const one = (body, headers = {}) => {
    const length = { "content-length": `${Buffer.byteLength(body)}` }
    const request = new Request(url, { method: "POST", body, headers: { ...length, ...headers } })
    return append({ request, context: { waitUntil: (promise) => kept.push(promise) } }, streams, "a", module)
  }
  const several = (count, from = 0) => numbers(count, from).map((number) => one(`${number};`))
  /** An answer for each append of a call, with what it is an answer to. */
  const answers = ({ text }) => text.split(";").slice(0, -1).flatMap((body) => [200, `answer-to\n${body}\n`, undefined])
  const told = async (answered) => (await answered).headers.get("answer-to")

  test("lets those pass by that are few", async () => {
    const answered = several(UNDER_WAY_MAX)
    expect(calls.every((call) => call.alone)).toBe(true)
    calls.forEach((call, at) => call.answer(`answer ${at}`))
    expect(await Promise.all(answered)).toEqual(numbers(UNDER_WAY_MAX).map((at) => `answer ${at}`))
    // Nothing is left of it: as many pass by again.
    several(UNDER_WAY_MAX)
    expect(calls).toHaveLength(2 * UNDER_WAY_MAX)
  })

  test("lets the others go together when one has ended, in their order, each with its own answer", async () => {
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
    expect(await Promise.all(waiting.map(told))).toEqual(["0", "1", "2"])
  })

  test("has as many under way as before while others wait", async () => {
    several(UNDER_WAY_MAX)
    several(TOGETHER_MAX + 10)
    await turn()
    calls[0].answer()
    await turn()
    calls[1].answer()
    await turn()
    expect(calls.slice(UNDER_WAY_MAX).map(({ lengths }) => lengths.length)).toEqual([TOGETHER_MAX, 10])
    const late = several(1, 1000)
    await turn()
    expect(calls).toHaveLength(UNDER_WAY_MAX + 2)
    calls[UNDER_WAY_MAX].answer(answers(calls[UNDER_WAY_MAX]))
    await turn()
    calls.at(-1).answer(answers(calls.at(-1)))
    expect(await told(late[0])).toBe("1000")
  })

  test("tells all whom one took along that it failed", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(3)
    await turn()
    calls[0].fail(new Error("the first"))
    await turn()
    calls[UNDER_WAY_MAX].fail(new Error("lost"))
    expect((await Promise.allSettled(waiting)).map(({ reason }) => reason.message)).toEqual(["lost", "lost", "lost"])
  })

  test("is not for what is large, or does not say how long it is", async () => {
    several(UNDER_WAY_MAX)
    one("x".repeat(APPEND_MAX_BYTES + 1))
    one("x", { "content-length": "0" })
    await turn()
    expect(calls.slice(UNDER_WAY_MAX).every((call) => call.alone)).toBe(true)
    one("x".repeat(APPEND_MAX_BYTES))
    await turn()
    expect(calls).toHaveLength(UNDER_WAY_MAX + 2)
  })

  test("is kept by the platform until each has its answer, whoever breaks off", async () => {
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

  test("waits no longer than a second for those that were broken off", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(2)
    await turn()
    vi.advanceTimersByTime(STALE_MS)
    await turn()
    // Each goes by itself; and who comes now waits for nobody.
    const calm = one("calm;")
    expect(calls.at(-1).alone).toBeDefined()
    calls.at(-1).answer("calm")
    expect(await calm).toBe("calm")
    for (const call of calls.slice(UNDER_WAY_MAX, -1)) call.answer(answers(call))
    expect(await Promise.all(waiting.map(told))).toEqual(["0", "1"])
  })

  test("does not wait for ever for whoever took it along", async () => {
    several(UNDER_WAY_MAX)
    const waiting = several(2)
    await turn()
    calls[0].answer()
    await turn()
    const lost = expect(waiting[1]).rejects.toThrow("gone")
    vi.advanceTimersByTime(STALE_MS)
    vi.advanceTimersByTime(30_000)
    await lost
  })

  test("ends the append whose body breaks off, and no other", async () => {
    several(UNDER_WAY_MAX)
    const request = { url, headers: new Headers({ "content-length": "9" }), arrayBuffer: () => Promise.reject(new Error("gone")) }
    expect(await append({ request, context: { waitUntil() {} } }, streams, "a", module)).toBe("broken")
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

  test("many writers: each append is there once, at the offset that it was told, in the order of each writer", async () => {
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
    // It was no accident that they were told apart.
    expect(server.log.matching({ event: "appended_together", stream: stream.path }).length).toBeGreaterThan(10)
  })

  test("each has its own answer", async () => {
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

  test("what closes the stream ends it for those behind", async () => {
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

  test("those that break off take nobody along", async () => {
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
