// Webhooks while workerd is killed again and again (SIGKILL): no wake is lost, and no acked message is delivered again. `KILLS`
// says how often (default 10). After the last kill, no request reaches a stream or a subscription before all is delivered, so
// only alarms continue the work: that takes about a minute.

import { expect, onTestFinished, test } from "vitest"
import { Control, webhook } from "./control.mjs"
import { Receiver } from "./receiver.mjs"
import { JSON_TYPE, LONG_MS, numbers, producer, scratch, startWorkerd, unique } from "./support.mjs"

const KILLS = Number(process.env.KILLS ?? 10)
const STREAMS = 6
/** The alarm after a crash rings after a minute. Then a wake may fail and be repeated several times. */
const ALARMS_MS = 180_000
/** How long an endpoint works that answers late. */
const LATE_MS = 150

/** The numbers below `bound` of a generator with a fixed seed. */
function dice(seed) {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}

test(`${KILLS} SIGKILLs during deliveries lose no wake and no ack`, { timeout: ALARMS_MS + 60_000 + KILLS * 6_000 }, async () => {
  const [folder, receiver, roll] = [await scratch(), await Receiver.open(), dice(7)]
  onTestFinished(() => receiver.close())
  const restarted = () => startWorkerd(folder, { ALLOW_LOCAL_WEBHOOKS: "1" })
  let server = await restarted()
  onTestFinished(() => server.kill())

  const group = unique("kills")
  const paths = numbers(STREAMS).map((n) => `${group}/${n}`)
  const answer = (response) => {
    const chance = roll(8)
    if (chance === 0) return response.writeHead(500).end("not now")
    if (chance < 3) return setTimeout(() => response.end(`{"done":true}`), LATE_MS)
    return response.end(`{"done":true}`)
  }
  const control = () => new Control(server.url)
  const subscriptions = [...paths.map((path) => [unique("one"), { streams: [path] }, [path]]), [unique("all"), { pattern: `${group}/*` }, paths]]
  for (const path of paths) await server.stream(path).create(JSON_TYPE)
  for (const [id, what] of subscriptions) {
    await control().subscription(id).put(webhook(receiver.at(id, answer), { ...what, lease_ttl_ms: 1000 }))
  }

  /** The next message of each stream. */
  const next = Object.fromEntries(paths.map((path) => [path, 0]))
  /** Appends one message. A kill may break the connection: then it is sent again later. */
  const append = async (path) => {
    try {
      const appended = await server.stream(path).append(`${next[path]}`, { ...JSON_TYPE, ...producer(next[path]) })
      next[path] += 1
      return appended.next
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      return undefined
    }
  }
  /** The cursors that a subscription has shown, each with the number of deliveries before. */
  const shown = []
  const look = async ([id]) => {
    const { streams } = await control().subscription(id).shown()
    const before = receiver.deliveries.length
    for (const { path, acked_offset } of streams) shown.push({ id, path, acked_offset, before })
  }

  for (const _ of numbers(KILLS)) {
    const count = receiver.deliveries.length + roll(6)
    for (const _ of numbers(1 + roll(3))) await Promise.all(paths.filter(() => roll(3) > 0).map(append))
    await Promise.all(subscriptions.map(look))
    const appends = Promise.all(paths.map(append))
    // Sometimes the kill comes before any delivery, sometimes in the midst of several.
    await receiver.untilTotal(Math.min(count, receiver.deliveries.length + 3), LONG_MS)
    await server.kill()
    await appends
    server = await restarted()
  }
  // The first one may be a duplicate of an append that the kill interrupted.
  await Promise.all(paths.map(append))
  const tails = Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await append(path)])))
  await server.kill()
  server = await restarted()

  const began = Date.now()
  const reaches = (id, path) => ({ body }) => body.subscription_id === id && body.streams.some((stream) => stream.path === path && stream.tail_offset >= tails[path])
  for (const [id, , watched] of subscriptions) {
    for (const path of watched) await receiver.find(`a wake of ${id} that reaches the tail of ${path}`, reaches(id, path), ALARMS_MS)
  }
  const took = Date.now() - began
  for (const [id, , watched] of subscriptions) {
    const cursors = async () => {
      const { streams } = await control().subscription(id).shown()
      return Object.fromEntries(streams.map(({ path, acked_offset }) => [path, acked_offset]))
    }
    const expected = Object.fromEntries(watched.map((path) => [path, tails[path]]))
    await expect.poll(cursors, { timeout: LONG_MS, interval: 50 }).toEqual(expected)
  }

  // Each delivery has the cursors that were stored, so these never move back, and no acked message is delivered again.
  const cursors = new Map()
  const wakes = new Map()
  let repeated = 0
  receiver.deliveries.forEach(({ body }, index) => {
    const { subscription_id: id, generation, wake_id, streams } = body
    const wake = wakes.get(id) ?? { generation: 0 }
    expect(generation).toBeGreaterThanOrEqual(wake.generation)
    if (generation === wake.generation) {
      repeated += 1
      expect([wake_id, streams]).toEqual([wake.wake_id, wake.streams])
    }
    wakes.set(id, { generation, wake_id, streams })
    for (const { path, acked_offset, tail_offset } of streams) {
      const key = `${id} ${path}`
      expect(acked_offset >= (cursors.get(key) ?? "")).toBe(true)
      expect(tail_offset > acked_offset).toBe(true)
      cursors.set(key, acked_offset)
      for (const seen of shown) {
        if (seen.id === id && seen.path === path && seen.before <= index) expect(acked_offset >= seen.acked_offset).toBe(true)
      }
    }
  })
  for (const path of paths) {
    const messages = JSON.parse((await server.stream(path).read()).text)
    expect(messages).toEqual(numbers(next[path]))
  }
  const [deliveries, appended] = [receiver.deliveries.length, Object.values(next).reduce((sum, count) => sum + count)]
  console.log(`${KILLS} kills: ${deliveries} deliveries (${repeated} repeated), ${appended} messages, the last wake after ${took} ms`)
})
