// Many subscriptions, streams and watchers. `MANY` is their number (default 100); the times are printed.

import { setTimeout } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { Control, webhook } from "./control.mjs"
import { Receiver } from "./receiver.mjs"
import { JSON_TYPE, numbers, residentBytes, scratch, startWorkerd, unique } from "./support.mjs"

const MANY = Number(process.env.MANY ?? 100)
/** Requests in flight at a time. */
const LANES = 32
/**
 * workerd holds three files for each object that was called in the last ten seconds. At this pace, 10,000 appends and the
 * subscriptions that they wake need less than 20,000 files.
 */
const PER_SECOND_MAX = MANY > 2_000 ? 300 : Number.POSITIVE_INFINITY
/** The most subscriptions that watch a stream. */
const WATCHERS = 64
const TIMEOUT_MS = 60_000 + MANY * 100
const DONE = { body: `{"done":true}` }

let server, receiver, control
beforeAll(async () => {
  receiver = await Receiver.open()
  server = await startWorkerd(await scratch(), { ALLOW_LOCAL_WEBHOOKS: "1", LOG_LEVEL: "info" })
  control = new Control(server.url)
})
afterAll(async () => {
  await server?.kill()
  receiver?.close()
})

/** Does this for each item, some at a time, and prints the time. */
async function timed(what, items, action) {
  const began = Date.now()
  const left = [...items].toReversed()
  const lane = async () => {
    while (left.length > 0) {
      const item = left.pop()
      const early = began + ((items.length - left.length) / PER_SECOND_MAX) * 1000 - Date.now()
      if (early > 0) await setTimeout(early)
      await action(item)
    }
  }
  await Promise.all(numbers(LANES).map(lane))
  report(what, items.length, began)
}

function report(what, count, began) {
  const millis = Date.now() - began
  console.log(`${what}: ${count} in ${(millis / 1000).toFixed(1)} s, ${(millis / count).toFixed(2)} ms each, workerd ${Math.round(residentBytes(server.pid) / 2 ** 20)} MiB`)
}

/** How many streams of these deliveries, each counted once, are there. */
const streamsOf = (id) =>
  new Set(receiver.deliveries.filter(({ body }) => body.subscription_id.startsWith(id)).flatMap(({ body }) => body.streams.map(({ path }) => path)))

test(`${MANY} subscriptions with one explicit stream each`, { timeout: TIMEOUT_MS }, async () => {
  const name = unique("agents")
  const url = receiver.at(name, DONE)
  const paths = numbers(MANY).map((n) => `${name}/${n}`)
  await timed("streams created", paths, (path) => server.stream(path).create(JSON_TYPE))
  await timed("subscriptions created", paths, (path) => control.subscription(path).put(webhook(url, { streams: [path] })))
  const began = Date.now()
  const delivered = receiver.until(name, MANY, TIMEOUT_MS)
  await timed("appends", paths, (path) => server.stream(path).append("1", JSON_TYPE))
  await delivered
  report("wakes, since the first append", MANY, began)
  expect(streamsOf(name).size).toBe(MANY)
  expect(receiver.deliveries.filter(({ path }) => path === name)).toHaveLength(MANY)
})

test(`a pattern over ${MANY} streams`, { timeout: TIMEOUT_MS }, async () => {
  const name = unique("found")
  const url = receiver.at(name, DONE)
  const paths = numbers(MANY).map((n) => `${name}/${n}`)
  // Linking calls all of these at once: see PER_SECOND_MAX.
  const older = paths.slice(0, MANY * 0.4)
  await timed("streams created before the pattern", older, (path) => server.stream(path).create(JSON_TYPE))
  const began = Date.now()
  const subscription = control.subscription(name)
  const { status, json } = await subscription.ask("PUT", "", { body: webhook(url, { pattern: `${name}/*` }), millis: TIMEOUT_MS })
  expect(status).toBe(201)
  report(`pattern answered (${json.phase})`, older.length, began)
  await expect.poll(async () => (await subscription.shown()).phase, { timeout: TIMEOUT_MS, interval: 200 }).toBe("active")
  report("pattern linked", older.length, began)
  await timed("streams created with the pattern", paths.slice(older.length), (path) => server.stream(path).create(JSON_TYPE))
  const appended = Date.now()
  await timed("appends", paths, (path) => server.stream(path).append("1", JSON_TYPE))
  const isComplete = () => streamsOf(name).size === MANY
  await receiver.find("a wake for each stream", isComplete, TIMEOUT_MS)
  report(`streams in ${receiver.deliveries.filter(({ path }) => path === name).length} wakes, since the first append`, MANY, appended)
})

test(`a stream has ${WATCHERS} watchers at most`, { timeout: TIMEOUT_MS }, async () => {
  const stream = server.stream()
  await stream.create(JSON_TYPE)
  const name = unique("watch")
  const url = receiver.at(name, DONE)
  const put = (n) => control.subscription(`${name}-${n}`).ask("PUT", "", { body: webhook(url, { streams: [stream.path] }) })
  await timed("watchers", numbers(WATCHERS), async (n) => expect((await put(n)).status).toBe(201))
  const refused = await put(WATCHERS)
  expect([refused.status, refused.json.error.code]).toEqual([409, "LIMIT_EXCEEDED"])
  await control.subscription(`${name}-${WATCHERS}`).ask("GET", "", { status: 404 })
  const began = Date.now()
  await stream.append("1", JSON_TYPE)
  report("append", 1, began)
  await receiver.until(name, WATCHERS, TIMEOUT_MS)
  report("watchers woken", WATCHERS, began)
  // A watcher that is deleted makes room for another.
  await control.subscription(`${name}-0`).ask("DELETE", "", { status: 204 })
  await expect.poll(async () => (await put(WATCHERS)).status, { timeout: TIMEOUT_MS, interval: 100 }).toBe(201)
})
