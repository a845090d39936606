// An object has nothing pending once its requests are answered. From compatibility date 2026-10-01 on, a pending timer,
// fetch, call or `waitUntil` promise keeps an object in memory, billed, for up to 15 minutes.
//
// `census.js` counts from outside, in front of the built worker.

import { join } from "node:path"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { Bucket } from "./bucket.mjs"
import { HttpConnection } from "./raw.mjs"
import { SseReader, longPoll, readersAsked } from "./readers.mjs"
import { BYTES, CLOSED, JSON_TYPE, LONG_MS, SOON_MS, TEXT, numbers, producer, scratch, startWorkerd, unique } from "./support.mjs"

const VARS = {
  LONG_POLL_TIMEOUT_SECONDS: "1",
  SSE_LIFETIME_SECONDS: "2",
  SEGMENT_MAX_APPENDS: "3",
  SEGMENT_MIN_BYTES: "1",
}
/**
 * The timers that may be pending in an object after it has answered, and why. Each ends by itself within its time, and
 * a time limit ends with the operation that it limits.
 */
const DELIBERATE = {
  "timer 0 ms": "the next turn, which begins an announcement, a report or work in the bucket",
  "timer 10 ms": "one timer for all small bodies of an object, to find bodies that stall",
  "timer 500 ms": "the same timer, after a body that took longer than 10 ms",
  "timer 10000 ms": "the limit of a request to a subscription that waits for its streams",
  "timer 30000 ms": "the limit of a call, of a webhook or of a write to the mirror, or of another client's large body",
  "timer 60000 ms": "the limit of an operation of the bucket, or of a client that reads a response",
}
const MIB = 2 ** 20
const SEGMENT = ["1", "2", "3"]

/** No host answers, except one that redirects and sends an endless body. */
const WORLD = `
const endless = () => new ReadableStream({ pull: (own) => own.enqueue(new Uint8Array(1024)) })
const redirect = () => new Response(endless(), { status: 307, headers: { location: "https://silent.example/" } })
const silence = () => new Promise((resolve) => setTimeout(resolve, 60_000))
export default { fetch: ({ url }) => (url.includes("redirects") ? redirect() : silence()) }
`

let server, bucket
beforeAll(async () => {
  bucket = await Bucket.open()
  server = await startWorkerd(await scratch(), VARS, bucket, WORLD, join(import.meta.dirname, "census.js"))
})
afterAll(async () => {
  await server?.kill()
  bucket?.close()
})

afterEach(async () => {
  bucket.mood = "takes"
  bucket.gives = Promise.resolve()
  for (const calm of ["mirror/takes", "calls/answers"]) await control(calm)
})

const control = async (what) => {
  const response = await fetch(`${server.url}/${what}`)
  if (response.status !== 200) throw new Error(`${what}: ${response.status}`)
  return response.json()
}
/** What is pending in a stream's object, after waiting up to `millis` for it to end. */
const pending = ({ path }, millis = SOON_MS) => control(`census/${path}?${millis}`)

const loads = ({ path }) => control(`loads/${path}`)

/** The streams of the stories that have ended, for the test of eviction. */
const over = []

/** A stream that should have nothing pending at the end of the test. */
async function created(headers = JSON_TYPE, bodies = []) {
  const stream = server.stream(unique("pending"))
  await stream.create(headers)
  for (const body of bodies) await stream.append(body, headers)
  return stream
}

/** A connection on which a request has begun. */
async function begun(method, { url }, query, headers, body = "") {
  const connection = await HttpConnection.open(server.url)
  connection.begin(method, new URL(url).pathname + query, headers)
  connection.send(body)
  return connection
}

const rotated = (stream, count = 1) => server.log.until({ event: "rotated", stream: stream.path }, count)

/** Sends a request to a subscription. */
const subscribed = async (path, request) => {
  const call = encodeURIComponent(JSON.stringify({ Subscription: request }))
  return (await control(`call/${path}?${call}`)).Subscription
}

/** A new subscription to a stream. `ask` lets the eviction test wake its object. */
const subscriptionOf = async (stream, channel, path = `__ds/subscriptions/${unique()}`) => {
  const config = { channel, pattern: null, streams: [stream.path], lease_ttl_ms: 30_000, description: null }
  const answer = await subscribed(path, { Put: { config, base: "https://example.test/v1/stream/__ds" } })
  return { path, answer, ask: () => subscribed(path, "Get") }
}

/** What clients do. Each story returns its streams. */
const STORIES = {
  "creates a stream repeatedly, and with another type": async () => {
    const stream = await created()
    await stream.ask("PUT", { headers: JSON_TYPE, status: 200 })
    await stream.ask("PUT", { headers: TEXT, status: 409 })
    return [stream]
  },
  "sends small appends": async () => {
    const stream = await created()
    await stream.append("1", { ...JSON_TYPE, ...producer(0) })
    await stream.append("1", { ...JSON_TYPE, ...producer(0) })
    await stream.append("[2,3]", JSON_TYPE)
    await stream.append("[4,5]", JSON_TYPE)
    return [stream]
  },
  "sends large appends": async () => {
    const stream = await created(BYTES)
    await stream.append(Buffer.alloc(3 * MIB), BYTES)
    const body = new ReadableStream({ start: (own) => (own.enqueue(Buffer.alloc(MIB)), own.close()) })
    await stream.append(body, BYTES)
    return [stream]
  },
  "sends appends that are refused": async () => {
    const stream = await created()
    await stream.ask("POST", { headers: JSON_TYPE, body: "{", status: 400 })
    await stream.ask("POST", { headers: TEXT, body: "x", status: 409 })
    await stream.ask("POST", { headers: { ...JSON_TYPE, ...producer(7) }, body: "1", status: 409 })
    await stream.ask("POST", { headers: JSON_TYPE, body: Buffer.alloc(17 * MIB, "1"), status: 413, millis: LONG_MS })
    const missing = server.stream(unique("missing"))
    await missing.ask("POST", { headers: JSON_TYPE, body: "1", status: 404 })
    return [stream, missing]
  },
  "disconnects during an append": async () => {
    const stream = await created(BYTES)
    const framings = [{ "content-length": 1000 }, { "content-length": 4 * MIB }, { "transfer-encoding": "chunked" }]
    for (const [index, framing] of framings.entries()) {
      const connection = await begun("POST", stream, "", { ...BYTES, ...framing }, "9\r\nnot all..")
      await server.log.until({ event: "begun", what: "fetch", stream: stream.path }, 2 + index)
      expect(await pending(stream, 0)).not.toEqual([])
      connection.reset()
    }
    return [stream]
  },
  "appends together": async () => {
    const stream = await created()
    await Promise.all(numbers(60).map((n) => stream.append(`${n}`, JSON_TYPE)))
    return [stream]
  },
  "reads a small stream": async () => {
    const stream = await created(JSON_TYPE, ["1", "2"])
    const { header } = await stream.read()
    await stream.ask("GET", { query: "?offset=-1", headers: { "if-none-match": header("etag") }, status: 304 })
    await stream.ask("HEAD", { status: 200 })
    await stream.ask("GET", { query: "?offset=x", status: 400 })
    return [stream]
  },
  "reads a large stream": async () => {
    const stream = await created(BYTES, [Buffer.alloc(9 * MIB)])
    await stream.readAll()
    return [stream]
  },
  "disconnects during a large read": async () => {
    const stream = await created(BYTES, [Buffer.alloc(9 * MIB)])
    for (const query of ["?offset=-1", "?offset=-1&live=sse"]) {
      const connection = await begun("GET", stream, query, {})
      await connection.until(/\r\n\r\n/)
      connection.reset()
    }
    return [stream]
  },
  "reads from the bucket": async () => {
    const stream = await created(JSON_TYPE, [...SEGMENT, "4"])
    await rotated(stream)
    await stream.readAll()
    return [stream]
  },
  "waits by long-poll until the timeout": async () => {
    const stream = await created()
    const answer = longPoll(stream, "now")
    await readersAsked(server, stream, 1)
    expect(await pending(stream)).toEqual([])
    expect((await answer).status).toBe(204)
    return [stream]
  },
  "waits by long-poll until an append": async () => {
    const stream = await created()
    const answers = numbers(3).map(() => longPoll(stream, "now"))
    await readersAsked(server, stream, 1)
    await stream.append("1", JSON_TYPE)
    for (const { status } of await Promise.all(answers)) expect([200, 204]).toContain(status)
    return [stream]
  },
  "disconnects during a long-poll": async () => {
    const stream = await created()
    const connection = await begun("GET", stream, "?offset=now&live=long-poll", {})
    await readersAsked(server, stream, 1)
    connection.reset()
    await server.log.until({ event: "reader_left", stream: stream.path })
    return [stream]
  },
  "follows by SSE until its lifetime ends": async () => {
    const stream = await created(JSON_TYPE, ["1"])
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    expect(await pending(stream)).toEqual([])
    await stream.append("2", JSON_TYPE)
    await reader.untilMessages(2)
    expect(await pending(stream)).toEqual([])
    await reader.untilEnd()
    return [stream]
  },
  "disconnects during SSE": async () => {
    const stream = await created(JSON_TYPE, ["1"])
    const connection = await begun("GET", stream, "?offset=-1&live=sse", {})
    await connection.until(/upToDate/)
    connection.reset()
    await server.log.until({ event: "reader_left", stream: stream.path })
    return [stream]
  },
  "closes, and deletes": async () => {
    const stream = await created(JSON_TYPE, SEGMENT)
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    await stream.ask("POST", { headers: CLOSED, status: 204 })
    await reader.untilEnd()
    expect(await pending(stream)).toEqual([])
    await rotated(stream)
    await stream.delete()
    await server.log.until({ event: "collected", stream: stream.path })
    return [stream]
  },
  "lets a stream expire": async () => {
    const stream = await created({ ...JSON_TYPE, "stream-ttl": "1" })
    await server.log.until({ event: "reclaimed", stream: stream.path })
    return [stream]
  },
  "lets retention drop old segments": async () => {
    const stream = await created({ ...JSON_TYPE, "stream-retention": "1" }, [...SEGMENT, "4"])
    await server.log.until({ event: "collected", stream: stream.path })
    return [stream]
  },
  "forks, reads through the fork, and deletes both": async () => {
    const source = await created(JSON_TYPE, [...SEGMENT, "4", "5"])
    await rotated(source)
    const fork = server.stream(unique("fork"))
    await fork.ask("PUT", { headers: from(source), status: 201 })
    const chunks = await fork.readAll()
    expect(chunks.flatMap(({ text }) => JSON.parse(text))).toEqual([1, 2, 3, 4, 5])
    // The source's hot log arrives as a body that the fork passes on.
    await fork.ask("GET", { query: `?offset=${chunks[0].next}`, status: 200 })
    const reader = await SseReader.open(fork)
    await reader.untilMessages(5)
    await reader.close()
    expect(await pending(fork)).toEqual([])
    await source.delete()
    await fork.delete()
    await server.log.until({ event: "released", stream: fork.path })
    const orphan = server.stream(unique("fork"))
    await orphan.ask("PUT", { headers: from({ path: unique("missing") }), status: 404 })
    return [source, fork, orphan]
  },
  "reads through a fork whose source is busy": async () => {
    const source = await created(JSON_TYPE, ["1"])
    const fork = server.stream(unique("fork"))
    await fork.ask("PUT", { headers: from(source), status: 201 })
    await control("calls/busy")
    await fork.ask("GET", { query: "?offset=-1", status: 503 })
    return [source, fork]
  },
  "lists": async () => {
    const stream = await created(JSON_TYPE)
    await server.log.until({ event: "reported", stream: stream.path })
    const listed = await fetch(`${server.url}/v1/streams?prefix=${stream.path}`)
    expect((await listed.json()).streams).toHaveLength(1)
    return [stream]
  },
  "subscribes, and claims": async () => {
    const [stream, wakes] = [await created(), await created()]
    const subscription = await subscriptionOf(stream, { "pull-wake": { wake_stream: wakes.path } })
    await stream.append("1", JSON_TYPE)
    const { Claimed: claimed } = await subscribed(subscription.path, { Claim: { holder: "a" } })
    const { token, wake_id, generation } = claimed
    const ack = { token, wake_id, generation, acks: [], done: true }
    expect(await subscribed(subscription.path, { Ack: ack })).toEqual({ Acked: { next_wake: true } })
    await subscribed(subscription.path, "Delete")
    return [stream, wakes, subscription]
  },
  "subscribes by a webhook that redirects": async () => {
    const stream = await created()
    const subscription = await subscriptionOf(stream, { webhook: { url: "https://redirects.example/" } })
    await stream.append("1", JSON_TYPE)
    await server.log.until({ level: "error", operation: "deliver webhook", stream: subscription.path })
    expect(await pending(subscription)).toEqual([])
    await subscribed(subscription.path, "Delete")
    return [stream, subscription]
  },
  "meets a bucket that fails": async () => {
    const stream = await created(JSON_TYPE, [...SEGMENT, "4"])
    await rotated(stream)
    bucket.objects.clear()
    await stream.ask("GET", { query: "?offset=-1", status: 500 })
    bucket.mood = "fails"
    const other = await created(JSON_TYPE, SEGMENT)
    await server.log.until({ level: "error", operation: "put segment", stream: other.path })
    return [stream, other]
  },
  "meets a mirror that fails": async () => {
    await control("mirror/fails")
    const stream = await created(JSON_TYPE, SEGMENT)
    await server.log.until({ level: "error", operation: "mirror segments", stream: stream.path })
    return [stream]
  },
}

/**
 * Operations that hang, and what is left of each after the object has given it up: the platform's own call, which
 * cannot be cancelled.
 */
const HANGING_STORIES = {
  "put of the bucket": async () => {
    bucket.mood = "hangs"
    const stream = await created(JSON_TYPE, SEGMENT)
    await bucket.until("put", puts() + 1)
    await hurried(stream, { operation: "put segment" })
    return { stream, left: ["bucket.put"] }
  },
  "read of the bucket": async () => {
    const stream = await created(JSON_TYPE, [...SEGMENT, "4"])
    await rotated(stream)
    bucket.gives = new Promise(() => {})
    const answer = stream.ask("GET", { query: "?offset=-1" })
    await hurried(stream, { operation: "fetch bytes" })
    expect((await answer).status).toBe(500)
    return { stream, left: ["bucket.get"] }
  },
  "deletion in the bucket": async () => {
    const stream = await created(JSON_TYPE, SEGMENT)
    await rotated(stream)
    bucket.mood = "hangs"
    await stream.delete()
    await hurried(stream, { operation: "delete segments" })
    return { stream, left: ["bucket.delete"] }
  },
  "mirror": async () => {
    await control("mirror/hangs")
    const stream = await created(JSON_TYPE, SEGMENT)
    await rotated(stream)
    await hurried(stream, { operation: "mirror segments" })
    return { stream, left: ["mirror.batch"] }
  },
  "registry": async () => {
    await control("calls/hangs")
    const stream = await created()
    await hurried(stream, { operation: "report stream" })
    return { stream, left: ["stub.asked"] }
  },
  "webhook": async () => {
    const stream = await created()
    const subscription = await subscriptionOf(stream, { webhook: { url: "https://silent.example/" } })
    await stream.append("1", JSON_TYPE)
    await hurried(subscription, { operation: "deliver webhook" })
    return { stream: subscription, left: [] }
  },
  "stream of a new subscription": async () => {
    const stream = await created()
    await control("calls/hangs")
    const subscription = { path: `__ds/subscriptions/${unique()}` }
    const creation = subscriptionOf(stream, { webhook: { url: "https://silent.example/" } }, subscription.path)
    await hurried(subscription, { operation: "watch streams" })
    expect((await creation).answer).toHaveProperty("Created")
    return { stream: subscription, left: ["stub.asked"] }
  },
  "source of a new fork": async () => {
    const source = await created(JSON_TYPE, ["1"])
    const stream = server.stream(unique("fork"))
    await control("calls/hangs")
    const answer = stream.ask("PUT", { headers: from(source) })
    await hurried(stream, { operation: "call object" })
    expect((await answer).status).toBe(503)
    return { stream, left: ["stub.asked"] }
  },
  "source of what a fork reads": async () => {
    const source = await created(JSON_TYPE, ["1"])
    const stream = server.stream(unique("fork"))
    await stream.ask("PUT", { headers: from(source), status: 201 })
    await server.log.until({ event: "reported", stream: stream.path })
    await control("calls/hangs")
    const answer = stream.ask("GET", { query: "?offset=-1" })
    await hurried(stream, { operation: "call object" })
    expect((await answer).status).toBe(500)
    return { stream, left: ["stub.fetch"] }
  },
}

const from = ({ path }) => ({ "stream-forked-from": `/v1/stream/${path}` })
const puts = () => bucket.commands.filter(({ method }) => method === "put").length

/** Fires an object's time limits until its log says that one has ended an operation. */
async function hurried(stream, line) {
  const failed = () => server.log.matching({ level: "error", stream: stream.path, ...line })[0]
  for (let tries = 0; !failed() && tries < 100; tries += 1) await control(`hurry/${stream.path}`)
  return server.log.until({ level: "error", stream: stream.path, ...line })
}

for (const [name, story] of Object.entries(STORIES)) {
  test(`a client that ${name} leaves nothing pending`, async () => {
    const streams = await story()
    for (const stream of streams) expect(await pending(stream)).toEqual([])
    expect(await pending({ path: "__registry__" })).toEqual([])
    // Nothing is pending at the edge.
    expect(await pending({ path: "" })).toEqual([])
    // After a failure the alarm fires a minute later, which could wake the object during the last test.
    if (!name.startsWith("meets")) over.push(...streams.map((stream) => ({ name, stream })))
  })
}

/** Time for what follows a time-out, before the next limit is fired. */
const HURRY_MS = 20

for (const [name, story] of Object.entries(HANGING_STORIES)) {
  test(`an object gives up an operation that hangs: ${name}`, async () => {
    const { stream, left } = await story()
    // The object may have called twice: the second call makes the source forget what the first one may have stored.
    const found = async (millis) => [...new Set(await pending(stream, millis))]
    let labels = await found(0)
    // The operation may not have begun yet, and a small body's timer ends by itself.
    const isOver = () => `${labels}` === `${left}`
    for (const until = Date.now() + SOON_MS; !isOver() && Date.now() < until; ) {
      if (labels.includes("waitUntil")) await control(`hurry/${stream.path}`)
      labels = await found(HURRY_MS)
    }
    expect(labels).toEqual(left)
  })
}

test("only deliberate timers are pending after an answer", async () => {
  const outlived = await control("outlived/")
  expect(outlived).toContain("timer 10 ms")
  expect(outlived.filter((label) => !(label in DELIBERATE))).toEqual([])
})

test("the census sees everything that is left pending", async () => {
  for (const [kind, label] of Object.entries({
    setTimeout: "timer 60000 ms",
    setInterval: "interval 60000 ms",
    wait: "timer 60000 ms",
    timeout: "timer 60000 ms",
    waitUntil: "waitUntil",
    fetch: "fetch",
    call: "stub.hang",
    body: "body of stub.fetch",
  })) {
    const stream = await created()
    await control(`leak/${stream.path}?${kind}`)
    // What ends by itself has ended after this.
    await pending(stream, 1000)
    expect(await pending(stream, 0)).toEqual([label])
  }
})

// workerd evicts an object that was idle for 10 s, without a log line. A request would keep the object awake.
const IDLE_MS = 14_000
/** On a busy machine the eviction may be late, or an alarm may have woken the object. */
const ROUNDS_MAX = 3

test("an object is evicted after each story, and is not evicted while it has a timer", async () => {
  const kept = await created()
  await control(`leak/${kept.path}?setTimeout`)
  let awake = [...over, { name: "keeps a timer", stream: kept }]
  for (let round = 1; round <= ROUNDS_MAX && awake.length > 0; round += 1) {
    const before = await Promise.all(awake.map(({ stream }) => loads(stream)))
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
    for (const { stream } of awake) await stream.ask("HEAD", { status: [200, 404, 410] })
    const after = await Promise.all(awake.map(({ stream }) => loads(stream)))
    awake = awake.filter((_, index) => after[index] === before[index])
    if (round === 1) expect(awake.map(({ name }) => name)).toContain("keeps a timer")
    awake = awake.filter(({ stream }) => stream !== kept)
  }
  expect(awake.map(({ name }) => name)).toEqual([])
}, 2 * LONG_MS)

test("the worker runs with the flags of wrangler.toml", async () => {
  for (const flag of ["enable_request_signal", "global_fetch_strictly_public", "durable_object_io_tasks_prevent_eviction"]) {
    expect([flag, await control(`flags/${flag}`)]).toEqual([flag, true])
  }
})
