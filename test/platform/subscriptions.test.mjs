// Subscriptions on workerd: objects call each other, deliveries are signed and sent, and a killed process continues. The tests call
// the objects of subscriptions directly, as the Worker does (`calling.js`).

import { createPublicKey, verify } from "node:crypto"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Receiver } from "./receiver.mjs"
import { JSON_TYPE, SOON_MS, Watch, numbers, scratch, startWorkerd, unique } from "./support.mjs"

const FRONT = join(import.meta.dirname, "calling.js")
const BASE = "https://example.test/v1/stream/__ds"
const KIB = 1024
const LOCAL = { ALLOW_LOCAL_WEBHOOKS: "1" }

let server, receiver, folder
const started = (vars = LOCAL) => startWorkerd(folder, vars, undefined, undefined, FRONT)
beforeAll(async () => {
  receiver = await Receiver.open()
  folder = await scratch()
  server = await started()
})
afterAll(async () => {
  await server?.kill()
  receiver?.close()
})

const call = async (path, what) => {
  const response = await fetch(`${server.url}/calls/${path}`, { method: "POST", body: JSON.stringify(what) })
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return response.json()
}

/** A client of one subscription's object. */
class Subscription {
  constructor(id = unique("sub")) {
    this.id = id
    this.path = `__ds/subscriptions/${id}`
  }

  static async created(channel, { pattern = null, streams = [], lease = 30_000 } = {}) {
    const subscription = new Subscription()
    const config = { channel, pattern, streams, lease_ttl_ms: lease, description: null }
    expect(await subscription.ask({ Put: { config, base: BASE } })).toMatchObject({ Created: { id: subscription.id } })
    return subscription
  }

  async ask(request) {
    return (await call(this.path, { Subscription: request })).Subscription
  }

  async shown() {
    return (await this.ask("Get")).Shown
  }

  /** The description, once `probe` accepts it. */
  async until(probe, millis = SOON_MS) {
    const begin = Date.now()
    for (;;) {
      const shown = await this.shown()
      if (probe(shown)) return shown
      if (Date.now() - begin > millis) throw new Error(`not within ${millis} ms: ${JSON.stringify(shown)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** An ack, as the holder of a wake sends it. */
  acked(kind, { token, wake_id, generation, streams }, done = true) {
    const acks = streams.map(({ path, tail_offset }) => ({ path, offset: offsetOf(tail_offset) }))
    return this.ask({ [kind]: { token, wake_id, generation, acks, done } })
  }
}

/** An offset in the form that calls have. */
function offsetOf(text) {
  const [read_seq, position] = text.split("_").map(Number)
  return { read_seq, position }
}

async function created(name = "stream") {
  const stream = server.stream(unique(name))
  await stream.create(JSON_TYPE)
  return stream
}

const webhook = (url) => ({ webhook: { url } })

/** A webhook subscription to one new stream. The receiver gives these answers. */
async function watched(options, ...answers) {
  const path = unique("hook")
  const url = receiver.at(path, ...answers)
  const stream = await created()
  const subscription = await Subscription.created(webhook(url), { streams: [stream.path], ...options })
  return { path, stream, subscription }
}

/** Whether the registry's public keys verify a delivery. */
async function isSigned({ headers, raw }) {
  const [, t, kid, signature] = /^t=(\d+),kid=(.+),ed25519=([A-Za-z0-9_-]+)$/.exec(headers["webhook-signature"])
  const { PublicKeys: keys } = await call("__registry__", "PublicKeys")
  const { x } = keys.find((key) => key.kid === kid)
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" })
  expect(Math.abs(Date.now() / 1000 - Number(t))).toBeLessThan(60)
  return verify(undefined, Buffer.from(`${t}.${raw}`), key, Buffer.from(signature, "base64url"))
}

describe("a pull-wake subscription", () => {
  const messages = async (stream) => (await stream.readAll()).flatMap(({ text }) => JSON.parse(text))
  const events = async (wakes, count) => {
    for (const until = Date.now() + SOON_MS; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const found = await messages(wakes)
      if (found.length >= count) return found
      if (Date.now() > until) throw new Error(`${count} wake events, not ${JSON.stringify(found)}`)
    }
  }

  test("writes a wake event, is claimed by one worker, and is acked", async () => {
    const [stream, wakes] = [await created(), await created("wakes")]
    const subscription = await Subscription.created({ "pull-wake": { wake_stream: wakes.path } }, { streams: [stream.path] })
    expect(await subscription.ask({ Claim: { holder: "a" } })).toEqual({ Refused: "NoPendingWork" })
    await stream.append("1", JSON_TYPE)
    const [event] = await events(wakes, 1)
    expect(event).toMatchObject({ type: "wake", subscription_id: subscription.id, stream: stream.path, generation: 1 })
    const { Claimed: claimed } = await subscription.ask({ Claim: { holder: "a" } })
    expect(claimed).toMatchObject({ generation: 1, streams: [{ path: stream.path, has_pending: true }] })
    const refused = await subscription.ask({ Claim: { holder: "b" } })
    expect(refused).toEqual({ Refused: { AlreadyClaimed: { current_holder: "a", generation: 1 } } })
    expect(await subscription.acked("Ack", claimed)).toEqual({ Acked: { next_wake: false } })
    expect(await subscription.acked("Ack", claimed)).toEqual({ Refused: "Fenced" })
  })

  test("can be claimed immediately after an append", async () => {
    const [stream, wakes] = [await created(), await created("wakes")]
    const subscription = await Subscription.created({ "pull-wake": { wake_stream: wakes.path } }, { streams: [stream.path] })
    for (const n of numbers(5)) {
      await stream.append(`${n}`, JSON_TYPE)
      const { Claimed: claimed } = await subscription.ask({ Claim: { holder: "a" } })
      expect(claimed.streams).toMatchObject([{ path: stream.path, has_pending: true }])
      expect(await subscription.acked("Ack", claimed)).toEqual({ Acked: { next_wake: false } })
    }
  })

  test("links a new stream that matches its pattern", async () => {
    const [name, wakes] = [unique("found"), await created("wakes")]
    const subscription = await Subscription.created({ "pull-wake": { wake_stream: wakes.path } }, { pattern: `${name}/*` })
    const stream = server.stream(`${name}/a`)
    await stream.create(JSON_TYPE, "[1]")
    const [event] = await events(wakes, 1)
    expect(event).toMatchObject({ subscription_id: subscription.id, stream: stream.path })
    expect((await subscription.shown()).streams).toMatchObject([{ path: stream.path, link_type: "glob" }])
  })

  test("accepts one of a hundred concurrent claims", async () => {
    const [stream, wakes] = [await created(), await created("wakes")]
    const subscription = await Subscription.created({ "pull-wake": { wake_stream: wakes.path } }, { streams: [stream.path] })
    await stream.append("1", JSON_TYPE)
    const answers = await Promise.all(numbers(100).map((n) => subscription.ask({ Claim: { holder: `${n}` } })))
    expect(answers.filter(({ Claimed: claimed }) => claimed)).toHaveLength(1)
  })
})

describe("a webhook", () => {
  test("receives a signed delivery and acks it with done: true", async () => {
    const { path, stream, subscription } = await watched({}, { body: `{"done":true}` })
    const { next } = await stream.append("1", JSON_TYPE)
    const [delivery] = await receiver.until(path)
    expect(delivery.method).toBe("POST")
    expect(delivery.headers["content-type"]).toBe("application/json")
    expect(delivery.body).toMatchObject({
      subscription_id: subscription.id,
      generation: 1,
      streams: [{ path: stream.path, tail_offset: next, has_pending: true }],
      callback_url: `${BASE}/subscriptions/${subscription.id}/callback`,
    })
    expect(await isSigned(delivery)).toBe(true)
    const { streams } = await subscription.until(({ pending }) => pending.length === 0)
    expect(streams[0].acked_offset).toBe(next)
    await stream.append("2", JSON_TYPE)
    const [, second] = await receiver.until(path, 2)
    expect(second.body.generation).toBe(2)
    expect(await isSigned(second)).toBe(true)
  })

  test("receives only the headers of the delivery", async () => {
    const { path, stream } = await watched({})
    await stream.ask("POST", { body: "1", headers: { ...JSON_TYPE, authorization: "Bearer secret", cookie: "a=b" }, status: 204 })
    const [{ headers }] = await receiver.until(path)
    const names = Object.keys(headers).filter((name) => !["host", "connection", "content-length", "accept-encoding"].includes(name))
    expect(names.toSorted()).toEqual(["content-type", "user-agent", "webhook-signature"])
  })

  test("acks with a callback", async () => {
    const { path, stream, subscription } = await watched({}, { status: 202 })
    await stream.append("1", JSON_TYPE)
    const [{ body }] = await receiver.until(path)
    const wake = { ...body, token: body.callback_token }
    expect(await subscription.acked("Callback", { ...wake, streams: [] }, false)).toEqual({ Acked: { next_wake: false } })
    expect(await subscription.acked("Callback", wake)).toEqual({ Acked: { next_wake: false } })
    expect(await subscription.acked("Callback", wake)).toEqual({ Refused: "Fenced" })
  })

  test("is retried after a failure, which is shown and logged without the token", async () => {
    const echo = (response, { raw }) => response.writeHead(500).end(`\u0000\n${raw}`)
    const { path, stream, subscription } = await watched({}, echo, { body: `{"done":true}` })
    await stream.append("1", JSON_TYPE)
    const { last_error, status, next_attempt_at } = await subscription.until((shown) => shown.last_error)
    expect(last_error.message).toMatch(/^status 500: \{"subscription_id"/)
    expect(last_error.message.length).toBeLessThanOrEqual("status 500: ".length + 200)
    expect([status, typeof next_attempt_at]).toEqual(["failed", "string"])
    const [first, second] = await receiver.until(path, 2)
    expect(second.raw).not.toBe("")
    expect([second.body.generation, second.body.wake_id]).toEqual([first.body.generation, first.body.wake_id])
    expect(second.at - first.at).toBeGreaterThan(700)
    await subscription.until(({ status, pending }) => status === "active" && pending.length === 0)
    const logged = JSON.stringify(server.log.lines)
    for (const { body } of [first, second]) expect(logged).not.toContain(body.callback_token.split(".")[1])
  })

  test.each([
    ["echoes the token", (response, { body }) => response.writeHead(400).end(body.callback_token), /^status 400: \[token\]$/],
    ["redirects", { status: 302, headers: { location: "/elsewhere" } }, /^status 302 \(redirects are not followed\)$/],
    ["redirects with 308", { status: 308, headers: { location: "/elsewhere" } }, /^status 308/],
    ["closes the connection", (response) => response.destroy(), /./],
    ["does not answer in time", () => {}, /^timed out after 1 s$/],
    ["sends headers without a body", (response) => response.writeHead(200).flushHeaders(), /^timed out after 1 s$/],
    ["sends an error with an unfinished body", (response) => response.writeHead(503).write("no"), /^status 503: no$/],
    ["is gone", { status: 410 }, /^status 410$/],
    ["is overloaded", { status: 429, headers: { "retry-after": "120" } }, /^status 429$/],
    ["sends an error with a large body", { status: 500, body: "ä".repeat(1024 * KIB) }, /^status 500: ä{100}$/],
  ])("fails if it %s", async (_, answer, message) => {
    const { stream, subscription } = await watched({ lease: 1000 }, answer)
    await stream.append("1", JSON_TYPE)
    const { last_error, phase, next_attempt_at } = await subscription.until((shown) => shown.last_error)
    expect(last_error.message).toMatch(message)
    expect(phase).toBe(answer.status === 410 ? "parked" : "active")
    if (answer.status === 429) expect(Date.parse(next_attempt_at) - Date.parse(last_error.at)).toBe(120_000)
    expect(receiver.deliveries.map(({ path }) => path)).not.toContain("elsewhere")
    await subscription.ask("Delete")
  })

  test.each([
    ["1 MiB", (response) => response.end(Buffer.alloc(1024 * KIB, " "))],
    ["an endless body", (response) => sendsForEver(response)],
    ["a body that is not JSON", { body: "{" }],
    ["done: false", { body: `{"done":false}` }],
    ["null", { body: "null" }],
    ["no body", { status: 204 }],
  ])("keeps the wake if it answers 2xx with %s", async (_, answer) => {
    const { path, stream, subscription } = await watched({}, answer)
    await stream.append("1", JSON_TYPE)
    const [delivery] = await receiver.until(path)
    await server.log.until({ event: "woken", stream: subscription.path })
    expect(await subscription.shown()).toMatchObject({ status: "active", last_error: null, pending: [stream.path] })
    expect(await subscription.acked("Callback", { ...delivery.body, token: delivery.body.callback_token })).toEqual({ Acked: { next_wake: false } })
  })

  test("loses its connection while it sends an endless body", async () => {
    const { path, stream, subscription } = await watched({}, (response, delivery) => sendsForEver(response, delivery))
    await stream.append("1", JSON_TYPE)
    await server.log.until({ event: "woken", stream: subscription.path })
    const watch = new Watch()
    const timer = setInterval(() => watch.changed(), 20)
    const [delivery] = await receiver.until(path)
    await watch.until("the connection ends", () => delivery.isOver)
    clearInterval(timer)
  })
})

function sendsForEver(response) {
  const timer = setInterval(() => response.write(Buffer.alloc(32 * KIB, " ")), 5)
  response.on("close", () => clearInterval(timer))
}

describe("the signing keys", () => {
  test("are generated once, also for concurrent calls", async () => {
    const registry = `${unique("project")}/__registry__`
    const asks = numbers(20).map((n) => call(registry, n % 2 ? "SigningKey" : "PublicKeys"))
    const answers = await Promise.all(asks)
    const kids = answers.map(({ SigningKey: one, PublicKeys: all }) => (one ?? all[0]).kid)
    expect(new Set(kids).size).toBe(1)
    expect(kids[0]).toMatch(/^ds_[A-Za-z0-9_-]{43}$/)
    for (const { PublicKeys: all } of answers) if (all) expect(all).toEqual([{ kid: kids[0], x: expect.any(String) }])
  })

  test("have RFC 7638 thumbprints as ids", async () => {
    const { PublicKeys: keys } = await call("__registry__", "PublicKeys")
    const thumbprint = await crypto.subtle.digest("SHA-256", Buffer.from(`{"crv":"Ed25519","kty":"OKP","x":"${keys[0].x}"}`))
    expect(keys[0].kid).toBe(`ds_${Buffer.from(thumbprint).toString("base64url")}`)
  })
})

describe("after a SIGKILL", () => {
  const killed = async (vars) => {
    await server.kill()
    server = await started(vars)
  }

  test("during a delivery, the delivery is repeated with the same key", async () => {
    const { path, stream, subscription } = await watched({}, () => {}, { body: `{"done":true}` })
    const { PublicKeys: keys } = await call("__registry__", "PublicKeys")
    await stream.append("1", JSON_TYPE)
    const [first] = await receiver.until(path)
    await killed()
    expect((await subscription.shown()).pending).toEqual([stream.path])
    const [, second] = await receiver.until(path, 2)
    expect(second.body.wake_id).toBe(first.body.wake_id)
    expect(second.body.generation).toBe(first.body.generation)
    expect(await isSigned(second)).toBe(true)
    expect((await call("__registry__", "PublicKeys")).PublicKeys).toEqual(keys)
    await subscription.until(({ pending }) => pending.length === 0)
  })

  test("during a lease, its holder can ack", async () => {
    const [stream, wakes] = [await created(), await created("wakes")]
    const subscription = await Subscription.created({ "pull-wake": { wake_stream: wakes.path } }, { streams: [stream.path] })
    await stream.append("1", JSON_TYPE)
    const { Claimed: claimed } = await subscription.ask({ Claim: { holder: "a" } })
    await killed()
    const refused = await subscription.ask({ Claim: { holder: "b" } })
    expect(refused).toEqual({ Refused: { AlreadyClaimed: { current_holder: "a", generation: 1 } } })
    expect(await subscription.acked("Ack", claimed)).toEqual({ Acked: { next_wake: false } })
    await server.stream(stream.path).append("2", JSON_TYPE)
    expect(await subscription.ask({ Claim: { holder: "b" } })).toMatchObject({ Claimed: { generation: 2 } })
  })

  test("with other rules for URLs, a webhook that they do not allow is not called", async () => {
    const { path, stream, subscription } = await watched({})
    const elsewhere = await Subscription.created(webhook("https://hooks.example.com/"), { streams: [stream.path] })
    await killed({ WEBHOOK_HOSTS: "example.com *.example.org" })
    await server.stream(stream.path).append("1", JSON_TYPE)
    const why = async (failing) => (await failing.until(({ last_error }) => last_error)).last_error.message
    expect(await why(subscription)).toMatch(/^not sent, because the URL is no longer allowed: it must begin with https/)
    expect(await why(elsewhere)).toBe("not sent, because the URL is no longer allowed: its host is not in WEBHOOK_HOSTS")
    expect(await subscription.shown()).toMatchObject({ status: "failed", pending: [stream.path] })
    await elsewhere.ask("Delete")
    await killed({ ...LOCAL, PUBLIC_URL: "wrong" })
    await subscription.until(({ last_error }) => last_error.message.startsWith("not sent, because the configuration has a mistake"), 30_000)
    expect(receiver.deliveries.filter((delivery) => delivery.path === path)).toEqual([])
    await killed(LOCAL)
    await receiver.until(path, 1, 30_000)
  }, 60_000)
})
