// The subscription API over HTTP: the requests that clients send, each access mode's rights, and attacks.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer, makeToken, secretKey } from "../tokens.mjs"
import { Control, acksOf, isSigned, pullWake, webhook } from "./control.mjs"
import { RawConnection } from "./raw.mjs"
import { Receiver } from "./receiver.mjs"
import { JSON_TYPE, numbers, scratch, start, startWorkerd, unique } from "./support.mjs"

const APP = { origin: "https://app.example" }
const DONE = { body: `{"done":true}` }
const MIB = 2 ** 20

let receiver
beforeAll(async () => {
  receiver = await Receiver.open()
})
afterAll(() => receiver?.close())

/** A new JSON stream. `headers` authorise the request. */
async function created(server, name = "stream", headers = {}) {
  const stream = server.stream(unique(name))
  await stream.create({ ...JSON_TYPE, ...headers })
  return stream
}

describe("in open mode", () => {
  let server, control
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), { ALLOW_OPEN: "" })
    control = new Control(server.url)
  })
  afterAll(() => server?.kill())

  test("Electric's agents get through their sequence of requests", async () => {
    const [main, other, wakes] = [await created(server, "agents/main"), await created(server, "agents/other"), await created(server, "wakes")]
    const subscription = control.subscription(`runner:${unique("r")}:0123456789abcdef`)
    const body = pullWake(wakes, { streams: [main.path], lease_ttl_ms: 30_000 })
    const { json: shown } = await subscription.put(body)
    expect(shown).toMatchObject({ id: subscription.id, subscription_id: subscription.id, type: "pull-wake", wake_stream: wakes.path })
    expect(shown.streams).toEqual([{ path: main.path, link_type: "explicit", acked_offset: "0000000000000000_0000000000000000" }])
    await subscription.put(body, 200)
    expect((await subscription.put({ ...body, streams: [other.path] }, 409)).json.error.code).toBe("SUBSCRIPTION_ALREADY_EXISTS")
    expect((await subscription.shown()).streams).toHaveLength(1)
    for (const _ of numbers(2)) await subscription.ask("POST", "/streams", { body: { streams: [other.path] }, status: 204 })
    expect((await subscription.shown()).streams.map(({ path }) => path)).toEqual([main.path, other.path].toSorted())
    // The streams added later are not part of the configuration.
    await subscription.put(body, 200)
    for (const _ of numbers(2)) await subscription.ask("DELETE", `/streams/${encodeURIComponent(other.path)}`, { status: 204 })
    expect((await subscription.shown()).streams.map(({ path }) => path)).toEqual([main.path])

    const idle = await subscription.claim()
    expect([idle.status, idle.json.error.code]).toEqual([409, "NO_PENDING_WORK"])
    const { next } = await main.append(`{"n":1}`, JSON_TYPE)
    const { status, json: claimed } = await subscription.claim("one")
    expect(status).toBe(200)
    expect(claimed).toMatchObject({ generation: 1, lease_ttl_ms: 30_000, streams: [{ path: main.path, tail_offset: next, has_pending: true }] })
    const second = await subscription.claim("two")
    expect([second.status, second.json.error]).toEqual([409, expect.objectContaining({ code: "ALREADY_CLAIMED", current_holder: "one", generation: 1 })])
    const acks = acksOf(claimed)
    const heartbeat = await subscription.holds("ack", claimed, { acks })
    expect([heartbeat.status, heartbeat.json]).toEqual([200, { ok: true, next_wake: false }])
    expect((await subscription.holds("release", claimed)).status).toBe(204)
    expect((await subscription.shown()).streams[0].acked_offset).toBe(next)
    for (const action of ["ack", "release"]) {
      const late = await subscription.holds(action, claimed)
      expect([late.status, late.json.error.code]).toEqual([409, "FENCED"])
    }
    expect((await subscription.claim()).json.error.code).toBe("NO_PENDING_WORK")
    await main.append(`{"n":2}`, JSON_TYPE)
    const { json: again } = await subscription.claim("two")
    expect(again.generation).toBe(2)
    expect((await subscription.holds("ack", again, { acks: [{ stream: main.path, offset: again.streams[0].tail_offset }], done: true })).json).toEqual({ ok: true, next_wake: false })
    for (const _ of numbers(2)) await subscription.ask("DELETE", "", { status: 204 })
    expect((await subscription.ask("GET", "", { status: 404 })).json.error.code).toBe("SUBSCRIPTION_NOT_FOUND")
    expect((await subscription.holds("ack", again)).status).toBe(404)
  })

  test("a webhook is verified with the published keys, and acks by its response or by the callback", async () => {
    const path = unique("hook")
    const url = receiver.at(path, DONE, { status: 202 })
    const stream = await created(server)
    const subscription = control.subscription()
    const { json: shown } = await subscription.put(webhook(url, { streams: [stream.path] }))
    const jwks_url = `${control.base}/jwks.json`
    expect(shown.webhook).toEqual({ url, signing: { alg: "ed25519", kid: expect.stringMatching(/^ds_/), jwks_url } })
    const answer = await fetch(jwks_url)
    expect(answer.headers.get("content-type")).toBe("application/jwk-set+json")
    expect(answer.headers.get("cache-control")).toBe("public, max-age=300")
    const { keys } = await answer.json()
    expect(keys[0]).toMatchObject({ kty: "OKP", crv: "Ed25519", use: "sig", alg: "EdDSA", kid: shown.webhook.signing.kid })
    for (const key of keys) expect(key).not.toHaveProperty("d")

    await stream.append("1", JSON_TYPE)
    const [first] = await receiver.until(path)
    expect(isSigned(first, keys)).toBe(true)
    expect(isSigned({ ...first, raw: `${first.raw} ` }, keys)).toBe(false)
    await server.log.until({ event: "woken", stream: `__ds/subscriptions/${subscription.id}` })
    await stream.append("2", JSON_TYPE)
    const [, second] = await receiver.until(path, 2)
    expect(second.body.callback_url).toBe(`${control.base}/${subscription.path}/callback`)
    const callback = (body) =>
      fetch(second.body.callback_url, { method: "POST", headers: bearer(second.body.callback_token), body: JSON.stringify(body) })
    const { wake_id, generation } = second.body
    const beyond = await callback({ wake_id, generation, acks: [{ path: stream.path, offset: "0000000000000000_0000000000000009" }], done: true })
    expect([beyond.status, (await beyond.json()).error.code]).toEqual([409, "INVALID_OFFSET"])
    const done = await callback({ wake_id, generation, acks: acksOf(second.body), done: true })
    expect([done.status, await done.json()]).toEqual([200, { ok: true, next_wake: false }])
    const late = await callback({ wake_id, generation, done: true })
    expect([late.status, (await late.json()).error.code]).toEqual([409, "FENCED"])
  })

  test("a root is a control root of its own", async () => {
    const root = unique("tenant")
    const rooted = new Control(server.url, { root: `${root}/` })
    const [stream, wakes] = [await created(server, `${root}/s`), await created(server, `${root}/wakes`)]
    const relative = (stream) => stream.path.slice(root.length + 1)
    const subscription = rooted.subscription()
    await subscription.put({ type: "pull-wake", wake_stream: relative(wakes), pattern: "*" })
    expect((await subscription.shown()).streams).toMatchObject([{ path: relative(stream), link_type: "glob" }])
    await stream.append("1", JSON_TYPE)
    expect((await subscription.claim()).json.streams).toMatchObject([{ path: relative(stream) }])
    expect((await control.subscription(subscription.id).ask("GET")).status).toBe(404)
    const { json: page } = await rooted.ask("GET", "subscriptions", { status: 200 })
    expect(page.subscriptions.map(({ id }) => id)).toEqual([subscription.id])
  })

  test("no webhook may be at an address that is not public", async () => {
    const stream = await created(server)
    const port = Number(new URL(server.url).port)
    for (const url of [
      "http://example.com/hook",
      "ftp://example.com/hook",
      "HTTPS://example.com/hook",
      "https://user:secret@example.com/",
      "https://10.0.0.1/",
      "https://2130706433/",
      "https://0x7f.1/",
      "https://0177.0.0.1/",
      "https://[::1]/",
      "https://[::ffff:10.0.0.1]/",
      "https://169.254.169.254/latest/meta-data/",
      "https://metadata.google.internal/",
      "https://printer.local/",
      "https://intranet/",
      "https://example.com./",
      "https://example.com:22/",
      "https://ex\tample.com/",
      "https://example.com\\@10.0.0.1/",
      "https://１２７.0.0.1/",
      `https://[::]:${port}/`,
      `http://0.0.0.0:${port}/`,
      `https://${"a".repeat(2048)}.example/`,
    ]) {
      const subscription = control.subscription()
      const refused = await subscription.ask("PUT", "", { body: webhook(url, { streams: [stream.path] }) })
      expect([url, refused.status, refused.json?.error.code]).toEqual([url, 400, "WEBHOOK_URL_REJECTED"])
      await subscription.ask("GET", "", { status: 404 })
    }
    const subscription = control.subscription()
    await subscription.put(webhook("https://example.com/hook", { streams: [stream.path] }))
    expect((await subscription.ask("PATCH", "", { body: { webhook: { url: "https://10.0.0.1/" } }, status: 400 })).json.error.code).toBe("WEBHOOK_URL_REJECTED")
    expect((await subscription.shown()).webhook.url).toBe("https://example.com/hook")
    await subscription.ask("DELETE", "", { status: 204 })
  })

  test("redirects are not followed, and no wake token is logged", async () => {
    const [path, target] = [unique("redirects"), unique("target")]
    receiver.at(target, DONE)
    const url = receiver.at(path, { status: 307, headers: { location: receiver.at(target) } }, (response, { raw }) => response.writeHead(500).end(raw))
    const stream = await created(server)
    const subscription = control.subscription()
    await subscription.put(webhook(url, { streams: [stream.path] }))
    await stream.append("1", JSON_TYPE)
    const deliveries = await receiver.until(path, 2)
    expect(receiver.deliveries.filter((delivery) => delivery.path === target)).toEqual([])
    const token = deliveries[1].body.callback_token
    const { json: acked } = await subscription.holds("callback", deliveries[1].body, { acks: acksOf(deliveries[1].body), done: true })
    expect(acked).toEqual({ ok: true, next_wake: false })
    for (const part of token.split(".")) {
      expect(JSON.stringify(server.log.lines)).not.toContain(part)
      expect(JSON.stringify(server.log.trouble)).not.toContain(part)
      expect(JSON.stringify(await subscription.shown())).not.toContain(part)
    }
  })

  test("the control root reaches no stream, however it is written", async () => {
    const before = server.log.lines.length
    for (const path of ["__ds", "__ds/", "__ds/x", "%5f%5fds/x", "__%64s/x", "p/__ds/x", "p/%5F%5Fds", "__ds//x", "__ds/subscriptions//x", "__ds/subscriptions/", "__ds/subscriptions/a/b", "__ds%2Fx", "p%2F__ds/x"]) {
      for (const method of ["GET", "PUT", "POST", "DELETE", "HEAD"]) {
        const body = ["PUT", "POST"].includes(method) ? "[1]" : undefined
        const response = await fetch(`${server.url}/v1/stream/${path}`, { method, headers: JSON_TYPE, body })
        await response.arrayBuffer()
        expect([path, method, response.status >= 400 && response.status < 500]).toEqual([path, method, true])
      }
    }
    // A client that sends a path as it is, which `fetch` would shorten.
    for (const path of ["x/../__ds/x", "./__ds/x", "__ds/../__ds/x"]) {
      const raw = await RawConnection.open(server.url)
      raw.send(`PUT /v1/stream/${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
      expect([path, await raw.untilClosed()]).toEqual([path, expect.stringMatching(/^HTTP\/1.1 4\d\d /)])
    }
    const created = server.log.lines.slice(before).filter(({ event, status }) => event === "served" && status === 201)
    expect(created).toEqual([])
  })

  test("no body and no header names what is the server's own", async () => {
    const [stream, wakes] = [await created(server), await created(server, "wakes")]
    const subscription = control.subscription()
    const put = (body) => subscription.ask("PUT", "", { body: { ...webhook("https://example.com/"), ...body } })
    for (const body of [
      { streams: ["__ds/subscriptions/x"] },
      { streams: ["p/__ds/x"] },
      { streams: ["a/../b"] },
      { streams: [""] },
      { streams: [] },
      { type: "pull-wake", wake_stream: "__ds/x", streams: [stream.path] },
      { type: "pull-wake", wake_stream: "__registry__", streams: [stream.path] },
      { type: "pull-wake", wake_stream: wakes.path, streams: [wakes.path] },
    ]) {
      const refused = await put(body)
      expect([body, refused.status, refused.json.error.code]).toEqual([body, 400, "INVALID_REQUEST"])
    }
    const many = await put({ streams: numbers(10_001).map((n) => `s${n}`) })
    expect([many.status, many.json.error.code]).toEqual([409, "LIMIT_EXCEEDED"])
    await subscription.ask("GET", "", { status: 404 })
    await subscription.put(pullWake(wakes, { pattern: "**" }))
    const { streams } = await subscription.shown()
    const linked = streams.map(({ path }) => path)
    expect(linked).toContain(stream.path)
    for (const path of [wakes.path, "__registry__", `__ds/${subscription.path}`]) expect(linked).not.toContain(path)
    const source = `/v1/stream/__ds/subscriptions/${subscription.id}`
    const fork = await server.stream().ask("PUT", { headers: { ...JSON_TYPE, "stream-forked-from": source } })
    expect([fork.status >= 400, fork.status < 500]).toEqual([true, true])
    const listed = await (await fetch(`${server.url}/v1/streams`)).json()
    expect(listed.streams.filter(({ path }) => path.includes("__ds"))).toEqual([])
    await subscription.ask("DELETE", "", { status: 204 })
  })

  test("a body may have 1 MiB", async () => {
    const stream = await created(server)
    const body = (bytes) => {
      const text = JSON.stringify(webhook("https://example.com/hook", { streams: [stream.path] }))
      return text + " ".repeat(bytes - text.length)
    }
    const subscription = control.subscription()
    await subscription.put(body(MIB))
    await subscription.put(body(MIB + 1), 413)
    for (const action of ["/claim", "/ack", "/callback", "/release", "/streams"]) {
      await subscription.ask("POST", action, { body: body(MIB + 1), status: 413 })
    }
    for (const text of ["null", "[]", "{", "", "1", `"x"`]) {
      expect((await subscription.ask("PUT", "", { body: text, status: 400 })).json.error.code).toBe("INVALID_REQUEST")
    }
    await subscription.ask("DELETE", "", { status: 204 })
  })

  test("a wake token counts in Authorization only, and for its own subscription", async () => {
    const [stream, wakes] = [await created(server), await created(server, "wakes")]
    const [one, two] = [control.subscription(), control.subscription()]
    for (const subscription of [one, two]) await subscription.put(pullWake(wakes, { streams: [stream.path] }))
    await stream.append("1", JSON_TYPE)
    const [{ json: claimed }, { json: others }] = [await one.claim(), await two.claim()]
    const body = { wake_id: claimed.wake_id, generation: claimed.generation, done: true }
    const [payload, signature] = claimed.token.split(".")
    const forged = `${payload}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`
    const tries = [
      ["/ack", {}],
      [`/ack?token=${claimed.token}`, {}],
      ["/ack", { cookie: `stream-token=${claimed.token}` }],
      ["/ack", { authorization: claimed.token }],
      ["/ack", { authorization: `Basic ${claimed.token}` }],
      ["/ack", bearer(forged)],
      ["/ack", bearer(others.token)],
      ["/ack", bearer("x".repeat(5000))],
      ["/release", {}],
    ]
    for (const [path, headers] of tries) {
      const refused = await one.ask("POST", path, { body, headers })
      expect([path, headers, refused.status, refused.json.error.code]).toEqual([path, headers, 401, "TOKEN_INVALID"])
    }
    expect((await one.holds("ack", claimed, { acks: acksOf(claimed), done: true })).status).toBe(200)
  })
})

describe("rows, as workerd counts and Cloudflare bills them", () => {
  let server, control
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), { ALLOW_LOCAL_WEBHOOKS: "1" })
    control = new Control(server.url)
  })
  afterAll(() => server?.kill())

  /** The rows of each append to a stream, once there are so many. */
  const rowsOf = async (stream, count) =>
    (await server.log.until({ event: "served", stream: stream.path, method: "POST" }, count)).map(({ rows_written }) => rows_written)

  test("an append to an unwatched stream writes one row and calls nothing", async () => {
    const stream = await created(server)
    await server.log.until({ event: "reported", stream: stream.path })
    for (const n of numbers(5)) await stream.append(`${n}`, JSON_TYPE)
    expect(await rowsOf(stream, 5)).toEqual([1, 1, 1, 1, 1])
    expect(server.log.matching({ event: "notified", stream: stream.path })).toEqual([])
  })

  test("an append while a wake is in flight writes one row and calls nothing", async () => {
    const path = unique("hook")
    const released = Promise.withResolvers()
    const url = receiver.at(path, (response) => released.promise.then(() => response.end(`{"done":true}`)), DONE)
    const stream = await created(server)
    const subscription = control.subscription()
    await subscription.put(webhook(url, { streams: [stream.path] }))
    await stream.append("0", JSON_TYPE)
    await receiver.until(path)
    await server.log.until({ event: "notified", stream: stream.path })
    for (const n of numbers(5, 1)) await stream.append(`${n}`, JSON_TYPE)
    // The first append sets the alarm in its own transaction.
    expect(await rowsOf(stream, 6)).toEqual([2, 1, 1, 1, 1, 1])
    expect(server.log.matching({ event: "notified", stream: stream.path })).toHaveLength(1)
    released.resolve()
    const { next } = await stream.ask("HEAD", { status: 200 })
    const [, second] = await receiver.until(path, 2)
    expect(second.body.streams).toMatchObject([{ path: stream.path, tail_offset: next }])
    expect(server.log.matching({ event: "notified", stream: stream.path })).toHaveLength(1)
  })
})

/** A request to each endpoint, and the scope that it needs. */
const ENDPOINTS = [
  ["PUT", "", "manage"],
  ["GET", "", "read"],
  ["PATCH", "", "manage"],
  ["POST", "/streams", "manage"],
  ["DELETE", "/streams/a", "manage"],
  ["POST", "/resume", "manage"],
  ["POST", "/claim", "write"],
  ["POST", "/callback", ""],
  ["POST", "/ack", ""],
  ["POST", "/release", ""],
  ["DELETE", "", "manage"],
]

const bodyOf = (method) => (method === "GET" || method === "DELETE" ? undefined : {})

describe("in mode token", () => {
  const PUBLIC_URL = "https://streams.example.com/"
  let server, strangers, control
  beforeAll(async () => {
    server = await start({ vars: { AUTH_TOKEN, PUBLIC_URL, ALLOW_LOCAL_WEBHOOKS: "1", CORS_ORIGINS: APP.origin } })
    strangers = new Control(server.url)
    control = new Control(server.url, { headers: bearer(AUTH_TOKEN) })
  })
  afterAll(() => server?.dispose())

  test("only requests with a wake token and for the keys need no other token", async () => {
    for (const [method, rest, needs] of ENDPOINTS) {
      for (const headers of [{}, bearer("x"), { cookie: `stream-token=${AUTH_TOKEN}` }]) {
        const reply = await strangers.subscription("s").ask(method, rest, { body: bodyOf(method), headers })
        expect([method, rest, reply.status]).toEqual([method, rest, 401])
        expect(reply.header("cache-control")).toBe("no-store")
        const queried = await strangers.subscription("s").ask(method, `${rest}?token=${AUTH_TOKEN}`, { body: bodyOf(method) })
        expect([method, rest, queried.status >= 400]).toEqual([method, rest, true])
        if (needs !== "") expect(queried.status).not.toBe(404)
      }
    }
    expect((await strangers.ask("GET", "subscriptions")).status).toBe(401)
    expect(await strangers.keys()).toHaveLength(1)
    expect(JSON.stringify(server.log.lines)).not.toContain(AUTH_TOKEN)
  })

  test("PUBLIC_URL is in the callback and in the URL of the keys", async () => {
    const stream = server.stream()
    await stream.create({ ...JSON_TYPE, ...bearer(AUTH_TOKEN) })
    const path = unique("hook")
    const subscription = control.subscription("a:b/c")
    const { json: shown } = await subscription.put(webhook(receiver.at(path, DONE), { streams: [stream.path] }))
    expect(shown.webhook.signing.jwks_url).toBe("https://streams.example.com/v1/stream/__ds/jwks.json")
    await stream.append("1", { ...JSON_TYPE, ...bearer(AUTH_TOKEN) })
    const [delivery] = await receiver.until(path)
    expect(delivery.body.callback_url).toBe("https://streams.example.com/v1/stream/__ds/subscriptions/a%3Ab%2Fc/callback")
    expect(isSigned(delivery, await strangers.keys())).toBe(true)
    // The server's own public host is no webhook's.
    const looped = { ...webhook("https://streams.example.com/hook"), streams: [stream.path] }
    expect((await control.subscription().put(looped, 400)).json.error.code).toBe("WEBHOOK_URL_REJECTED")
  })

  test("replies are not stored and are shown to listed origins, and the keys are public", async () => {
    const requests = [...ENDPOINTS.map(([method, rest]) => [method, `subscriptions/cors${rest}`]), ["GET", "subscriptions"], ["GET", "x"]]
    for (const [method, path] of requests) {
      for (const client of [control, strangers]) {
        for (const [origin, allowed] of [[APP, APP.origin], [{ origin: "https://evil.example" }, null], [{}, null]]) {
          const reply = await client.ask(method, path, { body: bodyOf(method), headers: origin })
          expect([method, path, reply.header("access-control-allow-origin")]).toEqual([method, path, allowed])
          expect([method, path, reply.header("cache-control")]).toEqual([method, path, "no-store"])
        }
      }
    }
    const preflight = await strangers.ask("OPTIONS", "subscriptions/cors", {
      headers: { ...APP, "access-control-request-method": "PATCH", "access-control-request-headers": "authorization, content-type" },
    })
    expect(preflight.status).toBe(204)
    for (const method of ["PUT", "POST", "PATCH", "DELETE"]) expect(preflight.header("access-control-allow-methods")).toContain(method)
    expect(preflight.header("access-control-allow-headers").toLowerCase()).toContain("authorization")
    const keys = await strangers.ask("GET", "jwks.json", { headers: APP })
    expect([keys.header("cache-control"), keys.header("access-control-allow-origin")]).toEqual(["public, max-age=300", APP.origin])
  })
})

describe("in mode projects", () => {
  const keys = { a: secretKey(), b: secretKey() }
  let server
  beforeAll(async () => {
    const PROJECT_KEYS = JSON.stringify({ a: { keys: [keys.a] }, b: { keys: [keys.b] } })
    server = await start({ vars: { PROJECT_KEYS, ALLOW_LOCAL_WEBHOOKS: "1" } })
  })
  afterAll(() => server?.dispose())

  const of = (project, claims = {}, root = `${project}/`) =>
    new Control(server.url, { root, headers: bearer(makeToken(keys[project], { sub: project, ...claims })) })

  test("each endpoint needs its scope in its own project", async () => {
    for (const [method, rest, needs] of ENDPOINTS) {
      for (const scope of ["read", "write", "manage"]) {
        const { status } = await of("a", { scope }).subscription("none").ask(method, rest, { body: bodyOf(method) })
        const isAllowed = needs === "" || needs === scope
        expect([method, rest, scope, status === 403]).toEqual([method, rest, scope, !isAllowed])
      }
      const elsewhere = await of("a", {}, "b/").subscription("none").ask(method, rest, { body: bodyOf(method) })
      if (needs !== "") expect([method, rest, elsewhere.status]).toEqual([method, rest, 403])
    }
  })

  test("there is no control root without a project, and none of an unknown project", async () => {
    for (const [method, path] of [...ENDPOINTS.map(([method, rest]) => [method, `subscriptions/s${rest}`]), ["GET", "jwks.json"], ["GET", "subscriptions"]]) {
      const body = bodyOf(method)
      expect([method, path, (await of("a", {}, "").ask(method, path, { body })).status]).toEqual([method, path, 403])
      const nobody = new Control(server.url, { root: "nobody/" })
      const { status } = await nobody.ask(method, path, { body })
      expect([method, path, status === 401 || status === 404]).toEqual([method, path, true])
    }
    expect(server.log.lines.filter(({ stream }) => stream?.startsWith("nobody/"))).toEqual([])
  })

  test("each project has its own subscriptions and keys", async () => {
    const token = bearer(makeToken(keys.a, { sub: "a" }))
    const name = unique("s")
    const stream = server.stream(`a/${name}`)
    await stream.create({ ...JSON_TYPE, ...token })
    const path = unique("hook")
    const subscription = of("a").subscription(name)
    await subscription.put(webhook(receiver.at(path, DONE), { streams: [name] }))
    await of("b").subscription(name).ask("GET", "", { status: 404 })
    await stream.append("1", { ...JSON_TYPE, ...token })
    const [delivery] = await receiver.until(path)
    expect(delivery.body.streams).toMatchObject([{ path: name }])
    const [ours, theirs] = [await of("a").keys(), await of("b").keys()]
    expect(isSigned(delivery, ours)).toBe(true)
    expect(theirs.map(({ kid }) => kid)).not.toContain(ours[0].kid)
    expect((await of("b").ask("GET", "subscriptions", { status: 200 })).json.subscriptions).toEqual([])
  })

  test("a token with a stream claim cannot subscribe to other streams", async () => {
    const name = unique("mine")
    const narrow = of("a", { stream: `a/${name}/*` })
    const put = (body) => narrow.subscription().ask("PUT", "", { body: { ...webhook("https://example.com/"), ...body } })
    for (const body of [
      { streams: ["other"] },
      { streams: [`${name}/x`, "other"] },
      { pattern: "*" },
      { pattern: "**" },
      { pattern: `${name}*/x` },
      // It also matches the stream `a/<name>`, which the claim does not cover.
      { pattern: `${name}/**` },
      { pattern: `*/x` },
      { streams: [`${name}/x`], pattern: "other/*" },
      { type: "pull-wake", wake_stream: "other", streams: [`${name}/x`] },
    ]) {
      expect([body, (await put(body)).status]).toEqual([body, 403])
    }
    expect((await put({ streams: [`${name}/../other`] })).status).toBe(400)
    expect((await put({ pattern: `${name}/*/**` })).status).toBe(201)
    const subscription = narrow.subscription()
    await subscription.put(webhook("https://example.com/", { streams: [`${name}/x`] }))
    await subscription.ask("POST", "/streams", { body: { streams: ["other"] }, status: 403 })
    const wide = of("a").subscription()
    await wide.put(webhook("https://example.com/", { streams: ["other"] }))
    for (const [method, rest] of [["GET", ""], ["DELETE", ""], ["POST", "/resume"]]) {
      expect([method, rest, (await narrow.subscription(wide.id).ask(method, rest, { body: bodyOf(method) })).status]).toEqual([method, rest, 403])
    }
    const { json: page } = await narrow.ask("GET", "subscriptions", { status: 200 })
    expect(page.subscriptions.map(({ id }) => id)).not.toContain(wide.id)
  })
})
