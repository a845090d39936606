// The three modes, tokens, projects and rate limits as clients meet them.

import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { unstable_getMiniflareWorkerOptions as workerOptionsOf, unstable_readConfig as readConfig } from "wrangler"
import { AUTH_TOKEN, bearer, inSeconds, keyPair, makeToken, secretKey } from "../tokens.mjs"
import { longPoll, SseReader } from "./readers.mjs"
import { BYTES, JSON_TYPE, PATIENT, SOON_MS, numbers, root, scratch, start, startWorkerd, unique } from "./support.mjs"

const APP = { origin: "https://app.example" }
const PUBLIC = { "stream-public": "true" }

/** The status, and the origin whose scripts may read the response. */
async function shown(response) {
  await response.arrayBuffer()
  return [response.status, response.headers.get("access-control-allow-origin")]
}

const modeOf = async (server) => (await (await fetch(`${server.url}/health`)).json()).mode

describe("a server without configured access", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { ALLOW_OPEN: "" } })
  })
  afterAll(() => server?.dispose())

  test("serves this machine, and refuses clients from a network", async () => {
    expect(await modeOf(server)).toBe("open")
    await server.stream().create()
    for (const url of ["https://streams.example/v1/stream/a", "https://streams.example/health"]) {
      const reply = await server.mf.dispatchFetch(url)
      expect([reply.status, (await reply.json()).error.code]).toEqual([503, "not_configured"])
    }
    // workerd knows the address of each connection, whatever host name the request uses.
    for (const [clientIp, status] of [["192.0.2.1:49152", 503], ["[::ffff:192.0.2.1]:49152", 503], ["[::ffff:127.0.0.1]:49152", 404]]) {
      for (const query of ["", "?offset=now&live=sse"]) {
        const reply = await server.mf.dispatchFetch(`http://localhost/v1/stream/a${query}`, { cf: { clientIp } })
        expect([clientIp, reply.status]).toEqual([clientIp, status])
        await reply.arrayBuffer()
      }
    }
    const { path } = server.stream()
    const through = await server.stream(path).ask("PUT", { headers: { ...BYTES, "cf-ray": "8a1b" } })
    expect(through.status).toBe(503)
  })

  test("shows a page of another host name only that it is refused", async () => {
    // An attacker's DNS name may resolve to this machine. The preflight succeeds, but the request itself is refused.
    for (const origin of ["http://evil.example:8787", "https://app.example"]) {
      const ask = (method) => server.mf.dispatchFetch("http://evil.example:8787/v1/stream/a", { method, headers: { origin, ...BYTES } })
      expect(await shown(await ask("OPTIONS"))).toEqual([204, "*"])
      for (const method of ["GET", "PUT", "POST", "DELETE", "HEAD"]) expect(await shown(await ask(method))).toEqual([503, "*"])
    }
  })
})

test("without Miniflare in front, workerd recognises this machine by its connection", async () => {
  const server = await startWorkerd(await scratch(), { ALLOW_OPEN: "" })
  try {
    await server.stream().create()
    expect((await fetch(server.stream().url, { headers: { "cf-ray": "8a1b" } })).status).toBe(503)
  } finally {
    await server.kill()
  }
})

test("a locked server shows its refusals to the origins in CORS_ORIGINS", async () => {
  const server = await start({ vars: { AUTH_TOKEN: "short", CORS_ORIGINS: `${APP.origin}/ null https://*.com`, ALLOW_OPEN: "1" } })
  try {
    for (const [origin, allowed] of [[APP.origin, APP.origin], ["https://evil.example", null], ["null", null], ["https://a.com", null]]) {
      const ask = (method) => fetch(server.stream().url, { method, headers: { origin } })
      expect(await shown(await ask("OPTIONS"))).toEqual([204, allowed])
      expect(await shown(await ask("GET"))).toEqual([503, allowed])
    }
    const warnings = server.log.matching({ operation: "configure", level: "warn" })
    expect(warnings.map(({ cause }) => cause)).toEqual([expect.stringMatching(/^CORS_ORIGINS: origins that are ignored: null https:\/\/\*\.com;/u)])
  } finally {
    await server.dispose()
  }
})

test("an invalid variable locks the server", async () => {
  for (const vars of [{ AUTH_TOKEN: "" }, { AUTH_TOKEN, PROJECT_KEYS: "{}" }, { PROJECT_KEYS: "secret" }]) {
    const server = await start({ vars: { ALLOW_OPEN: "1", ...vars } })
    try {
      for (const method of ["GET", "PUT", "OPTIONS"]) {
        const status = method === "OPTIONS" ? 204 : 503
        const reply = await server.stream().ask(method, { headers: bearer(AUTH_TOKEN), status })
        expect(reply.text).not.toContain(AUTH_TOKEN)
      }
    } finally {
      await server.dispose()
    }
  }
})

test("an object's failure is visible to listed origins, and to every origin in open mode only", async () => {
  const world = `import { WorkerEntrypoint } from "cloudflare:workers"
export class Streams extends WorkerEntrypoint {
  getByName() { throw new Error("no object is there") }
}
export default { fetch: () => new Response() }`
  const token = bearer(AUTH_TOKEN)
  const requests = [
    ["GET", "", token, ""],
    ["POST", "", token, "x"],
    ["PUT", "", token, ""],
    ["HEAD", "", token, ""],
    ["GET", "?offset=now&live=long-poll", token, ""],
    ["GET", "?offset=0000000000000000_0000000000000001&live=long-poll", token, ""],
    ["GET", "?offset=0000000000000000_0000000000000001&rk=x", token, ""],
    ["GET", "?offset=now&live=sse", token, ""],
    ["GET", `?token=${AUTH_TOKEN}`, {}, ""],
    ["GET", "", { cookie: `stream-token=${AUTH_TOKEN}` }, ""],
    ["GET", "", {}, ""],
  ]
  for (const vars of [{ AUTH_TOKEN, CORS_ORIGINS: APP.origin, PUBLIC_STREAMS: "on" }, {}]) {
    const failing = await startWorkerd(await scratch(), vars, undefined, world)
    try {
      for (const [method, query, headers, body] of requests) {
        for (const origin of [APP, { origin: "https://evil.example" }, { origin: "null" }, {}]) {
          const all = { ...BYTES, ...headers, ...origin }
          const reply = await failing.stream().ask(method, { query, headers: all, body: body || undefined })
          expect([method, query, reply.status]).toEqual([method, query, 503])
          const allowed = vars.AUTH_TOKEN ? (origin === APP ? APP.origin : null) : "*"
          expect([method, query, reply.header("access-control-allow-origin")]).toEqual([method, query, allowed])
        }
      }
    } finally {
      await failing.kill()
    }
  }
})

test("a locked server names the invalid variable, but none of its contents", async () => {
  const PROJECT_KEYS = JSON.stringify({ "customer-17": { keys: [{ kty: "oct", kid: "key-17", k: "c2hvcnQ" }] } })
  const locked = await startWorkerd(await scratch(), { PROJECT_KEYS })
  try {
    for (const path of ["/health", "/v1/stream/customer-17/x", "/v1/streams", "/v1/admin/orphans", "/"]) {
      for (const headers of [{}, APP]) {
        const reply = await fetch(`${locked.url}${path}`, { headers })
        // The id is random, and may contain any digits.
        const text = (await reply.text()).replaceAll(reply.headers.get("x-request-id"), "")
        expect([path, reply.status, reply.headers.get("access-control-allow-origin")]).toEqual([path, 503, null])
        expect(text).toContain("PROJECT_KEYS")
        expect(text).not.toMatch(/17|customer|kid|c2hv/u)
      }
    }
    expect(locked.log.matching({ operation: "configure" })[0].cause).toContain("customer-17")
  } finally {
    await locked.kill()
  }
})

/** Every way to request a stream without a token. */
const STRANGERS = [
  ["GET", "", {}],
  ["HEAD", "", {}],
  ["GET", "?offset=0000000000000000_0000000000000001", {}],
  ["GET", "?offset=now&live=long-poll", {}],
  ["GET", "?offset=-1&live=sse", {}],
  ["GET", "", { "if-none-match": "*" }],
  ["GET", "?rk=x", {}],
]

describe("public streams", () => {
  const shape = ({ status, header, text }) => [status, text, ...["cache-control", "www-authenticate", "etag"].map(header)]
  const authorized = bearer(AUTH_TOKEN)
  const served = (server, stream) => server.log.lines.filter((line) => line.stream === stream.path)

  test("without PUBLIC_STREAMS, reads without a token reach no object", async () => {
    const folder = await scratch()
    const before = await startWorkerd(folder, { AUTH_TOKEN, PUBLIC_STREAMS: "on" })
    const [wasPublic, isPrivate] = [before.stream(), before.stream()]
    await wasPublic.ask("PUT", { headers: { ...BYTES, ...authorized, ...PUBLIC }, body: "abc", status: 201 })
    await isPrivate.ask("PUT", { headers: { ...BYTES, ...authorized }, body: "abc", status: 201 })
    expect((await wasPublic.ask("GET", { status: 200 })).text).toBe("abc")
    await before.kill()
    for (const PUBLIC_STREAMS of [undefined, "off", "ON", "1"]) {
      const server = await startWorkerd(folder, { AUTH_TOKEN, ...(PUBLIC_STREAMS ? { PUBLIC_STREAMS } : {}) })
      try {
        const streams = [wasPublic, isPrivate, server.stream()].map(({ path }) => server.stream(path))
        for (const [method, query, headers] of STRANGERS) {
          for (const token of [{}, bearer("x"), { cookie: "stream-token=x" }]) {
            const all = []
            for (const stream of streams) all.push(await stream.ask(method, { query, headers: { ...headers, ...token } }))
            expect([method, query, all[0].status]).toEqual([method, query, 401])
            expect(shape(all[0])).toEqual(shape(all[2]))
            expect(shape(all[1])).toEqual(shape(all[2]))
          }
        }
        // The log keeps the order of requests, so this line follows those of all earlier requests.
        const [known] = streams
        const reply = await known.ask("GET", { headers: authorized, status: 200 })
        expect(reply.header("cache-control")).toBe("private, no-cache")
        await server.log.until({ event: "served", stream: known.path })
        expect(streams.map((stream) => served(server, stream).filter(({ event }) => event === "loaded").length)).toEqual([1, 0, 0])
        const refused = await server.stream().ask("PUT", { headers: { ...BYTES, ...authorized, ...PUBLIC }, status: 400 })
        expect(refused.text).toContain("PUBLIC_STREAMS")
      } finally {
        await server.kill()
      }
    }
  })

  test("with PUBLIC_STREAMS, invalid reads count as unknown names, and public streams do not", async () => {
    const server = await startWorkerd(await scratch(), { AUTH_TOKEN, PUBLIC_STREAMS: "on" })
    try {
      const open = server.stream()
      await open.ask("PUT", { headers: { ...BYTES, ...authorized, ...PUBLIC }, body: "abc", status: 201 })
      await open.ask("GET", { headers: { "cf-connecting-ip": "192.0.2.1" }, status: 200 })
      const headers = { "cf-connecting-ip": "192.0.2.2" }
      const queries = ["?offset=x", "?offset=-1&live=x", "?offset=x&live=sse", "?live=long-poll"]
      const made = numbers(100).map(() => server.stream())
      const answers = await Promise.all(made.map((stream, at) => stream.ask("GET", { query: queries[at % 4], headers })))
      const statuses = answers.map(({ status }) => status)
      expect(statuses.filter((status) => status === 400)).toHaveLength(60)
      expect(statuses.filter((status) => status === 429)).toHaveLength(40)
      await open.ask("GET", { headers, status: 200 })
    } finally {
      await server.kill()
    }
  })

  test("with PUBLIC_STREAMS, a client without a token may request 60 unknown names per minute, and other clients are not limited", async () => {
    const server = await startWorkerd(await scratch(), { AUTH_TOKEN, PUBLIC_STREAMS: "on" })
    try {
      const open = server.stream()
      await open.ask("PUT", { headers: { ...BYTES, ...authorized, ...PUBLIC }, body: "abc", status: 201 })
      const from = (address) => ({ "cf-connecting-ip": address })
      const made = numbers(200).map(() => server.stream())
      const answers = await Promise.all(made.map((stream, at) => stream.ask("GET", { headers: from(`2001:db8::${at}`) })))
      const statuses = answers.map(({ status }) => status)
      expect(statuses.filter((status) => status === 401)).toHaveLength(60)
      const limited = answers.filter(({ status }) => status === 429)
      expect(limited).toHaveLength(140)
      for (const { header } of limited) {
        expect(Number(header("retry-after"))).toBeGreaterThan(0)
        expect(Number(header("retry-after"))).toBeLessThanOrEqual(60)
        expect(header("cache-control")).toBe("no-store")
      }
      expect((await open.ask("GET", { headers: from("2001:db8::1") })).status).toBe(429)
      for (const others of [from("2001:db8:0:1::1"), {}, { ...authorized, ...from("2001:db8::1") }]) {
        await open.ask("GET", { headers: others, status: 200 })
      }
      await server.log.until({ event: "served", stream: open.path, method: "GET" }, 3)
      const loaded = made.filter((stream) => served(server, stream).some(({ event }) => event === "loaded"))
      expect(loaded).toHaveLength(60)
    } finally {
      await server.kill()
    }
  })
})

describe("one token (AUTH_TOKEN)", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { AUTH_TOKEN, PUBLIC_STREAMS: "on", CORS_ORIGINS: APP.origin, CORS_CREDENTIALS: "1", ...PATIENT } })
  })
  afterAll(() => server?.dispose())

  test("allows every operation, and no operation succeeds without it", async () => {
    expect(await modeOf(server)).toBe("token")
    const stream = server.stream()
    const authorized = bearer(AUTH_TOKEN)
    for (const [method, headers, body, status] of [
      ["PUT", BYTES, undefined, 201],
      ["POST", BYTES, "hello", 204],
      ["GET", {}, undefined, 200],
      ["HEAD", {}, undefined, 200],
      ["DELETE", {}, undefined, 204],
    ]) {
      for (const token of [{}, bearer("x"), bearer(`${AUTH_TOKEN}x`), bearer(AUTH_TOKEN.slice(1)), { authorization: AUTH_TOKEN }]) {
        const refused = await stream.ask(method, { headers: { ...headers, ...token }, body })
        const known = "authorization" in token ? ', error="invalid_token"' : ""
        expect([refused.status, refused.header("www-authenticate")]).toEqual([401, `Bearer realm="durable-streams"${known}`])
        expect(refused.header("cache-control")).toBe("no-store")
      }
      await stream.ask(method, { headers: { ...headers, ...authorized }, body, status })
    }
  })

  test("is accepted in the URL or in a cookie for an EventSource, and then the response is not stored and the token not logged", async () => {
    const stream = server.stream()
    await stream.ask("PUT", { headers: { ...JSON_TYPE, ...bearer(AUTH_TOKEN) }, body: "[1]", status: 201 })
    const cookie = { cookie: `other=1; stream-token=${AUTH_TOKEN}` }
    for (const [query, headers] of [
      [`?offset=-1&token=${AUTH_TOKEN}`, {}],
      [`?offset=-1&%74oken=${AUTH_TOKEN}`, {}],
      ["?offset=-1", cookie],
    ]) {
      const reply = await stream.ask("GET", { query, headers, status: 200 })
      expect([reply.text, reply.header("cache-control")]).toEqual(["[1]", "private, no-store"])
    }
    expect((await stream.ask("GET", { headers: cookie })).header("cross-origin-resource-policy")).toBe("same-origin")
    const reader = await SseReader.open(stream, { query: `&token=${AUTH_TOKEN}` })
    expect(reader.response.headers.get("cache-control")).toBe("private, no-store, no-transform")
    await reader.untilMessages(1)
    await reader.close()
    expect(JSON.stringify(server.log.lines)).not.toContain(AUTH_TOKEN)
    // Another site can make a browser send a cookie, and can submit a form to any URL.
    for (const method of ["PUT", "POST", "DELETE"]) {
      expect((await stream.ask(method, { headers: { ...JSON_TYPE, ...cookie }, body: "[2]" })).status).toBe(401)
      expect((await stream.ask(method, { headers: JSON_TYPE, query: `?token=${AUTH_TOKEN}` })).status).toBe(400)
    }
  })

  test("scripts of listed origins may read responses", async () => {
    const stream = server.stream()
    const authorized = bearer(AUTH_TOKEN)
    await stream.ask("PUT", { headers: { ...BYTES, ...authorized, ...PUBLIC }, body: "abc", status: 201 })
    const requests = [
      ["GET", "", {}, 200],
      ["GET", "?offset=0000000000000000_0000000000000001&live=long-poll", {}, 200],
      ["GET", "", authorized, 200],
      ["HEAD", "", authorized, 200],
      ["POST", "", authorized, 400],
      ["POST", "", {}, 401],
      ["GET", "?live=x", authorized, 400],
      ["OPTIONS", "", {}, 204],
    ]
    for (const [method, query, headers, status] of requests) {
      const from = async (origin) => stream.ask(method, { query, headers: { ...headers, ...origin }, status })
      const ours = await from(APP)
      expect(ours.header("access-control-allow-origin")).toBe(APP.origin)
      expect(ours.header("access-control-allow-credentials")).toBe("true")
      expect(ours.header("vary")).toBe(method === "OPTIONS" ? "Origin, Access-Control-Request-Headers" : "Origin")
      for (const origin of [{ origin: "https://evil.example" }, { origin: "null" }, {}]) {
        const theirs = await from(origin)
        expect(theirs.header("access-control-allow-origin")).toBeNull()
        expect(theirs.header("access-control-allow-credentials")).toBeNull()
        // A cache that stores this response must not return it to a listed origin.
        if (theirs.header("cache-control") !== "no-store") expect(theirs.header("vary")).toBe("Origin")
      }
    }
  })

  test("a page of a listed origin can read every refusal", async () => {
    const preflight = { "access-control-request-method": "PUT", "access-control-request-headers": "traceparent,x-mine" }
    for (const [path, status] of [
      ["/v1/stream/a//b", 400],
      ["/v1/stream/%zz", 400],
      [`/v1/stream/${"x".repeat(742)}`, 400],
      ["/v1/stream/__ds/x", 404],
      ["/v1/stream/a", 401],
      ["/v1/streams", 405],
      ["/v1/admin/orphans", 404],
      ["/nowhere", 404],
      ["/health", 405],
    ]) {
      for (const [origin, allowed] of [[APP.origin, APP.origin], ["https://evil.example", null]]) {
        const asked = await fetch(server.url + path, { method: "OPTIONS", headers: { origin, ...preflight } })
        expect([path, ...(await shown(asked))]).toEqual([path, 204, allowed])
        expect(asked.headers.get("access-control-allow-headers")).toMatch(/\btraceparent\b.*, x-mine$/u)
        const refused = await fetch(server.url + path, { method: "PUT", headers: { origin, ...BYTES } })
        expect([path, ...(await shown(refused))]).toEqual([path, status, allowed])
      }
    }
  })

  test("shared caches may store public streams only", async () => {
    const authorized = bearer(AUTH_TOKEN)
    const below = "?offset=0000000000000000_0000000000000001&live=long-poll"
    for (const [more, ofTail, ofRest] of [
      [{}, "private, no-cache", "private, no-cache"],
      [PUBLIC, "no-cache", "public, max-age=60, stale-while-revalidate=300, stale-if-error=0"],
    ]) {
      const stream = server.stream()
      await stream.ask("PUT", { headers: { ...BYTES, ...authorized, ...more }, body: "abc", status: 201 })
      expect((await stream.ask("GET", { headers: authorized })).header("cache-control")).toBe(ofTail)
      expect((await stream.ask("GET", { headers: authorized, query: below })).header("cache-control")).toBe(ofRest)
    }
  })

  test("anyone can read a public stream in every read mode, and only token holders can write it", async () => {
    const stream = server.stream()
    const authorized = bearer(AUTH_TOKEN)
    await stream.ask("PUT", { headers: { ...JSON_TYPE, ...authorized, ...PUBLIC }, body: "[1]", status: 201 })
    const readers = [{}, bearer("x"), { authorization: "Basic abc" }]
    for (const headers of readers) {
      expect((await stream.ask("GET", { headers, status: 200 })).text).toBe("[1]")
      expect((await stream.ask("HEAD", { headers, status: 200 })).header("stream-public")).toBe("true")
    }
    const reader = await SseReader.open(stream)
    await reader.untilAtTail()
    const { next } = await stream.ask("HEAD")
    const poll = longPoll(stream, next)
    await server.log.until({ event: "served", stream: stream.path, method: "GET" }, readers.length + 2)
    await stream.ask("POST", { headers: { ...JSON_TYPE, ...authorized }, body: "2", status: 204 })
    expect((await poll).text).toBe("[2]")
    await reader.untilMessages(2)
    for (const method of ["PUT", "POST", "DELETE"]) {
      expect((await stream.ask(method, { headers: { ...JSON_TYPE, ...PUBLIC }, body: "[3]" })).status).toBe(401)
    }
    await stream.ask("DELETE", { headers: authorized, status: 204 })
    await reader.untilEnd()
    expect((await stream.ask("GET")).status).toBe(401)
  })
})

describe("projects", () => {
  const keys = { a: secretKey(), b: secretKey(), kv: secretKey("k"), late: secretKey() }
  const pairs = ["RS256", "ES256", "EdDSA"].map((alg) => [alg, keyPair(alg, `key-${alg}`)])
  const JWKS = "https://keys.example/jwks.json"
  const project = (...list) => ({ keys: list })
  let server
  let asked = 0
  /** The key server's response. */
  let said

  beforeAll(async () => {
    said = JSON.stringify({ keys: [...pairs.map(([, { jwk }]) => jwk), keys.a] })
    const PROJECT_KEYS = JSON.stringify({
      a: { ...project(keys.a), cors: { origins: [APP.origin] } },
      b: project(keys.b),
      c: { jwks_url: JWKS },
      "my-project": project(keys.a),
      d: { jwks_url: "https://keys.example/moved" },
      e: { jwks_url: "https://keys.example/large" },
    })
    const outboundService = (request) => {
      asked += 1
      if (request.url === JWKS) return new Response(said)
      if (request.url.endsWith("/large")) return new Response(said + " ".repeat(1 << 20))
      return new Response(null, { status: 302, headers: { location: JWKS } })
    }
    server = await start({ vars: { PROJECT_KEYS, ...PATIENT }, registry: true, outboundService })
    const registry = await server.mf.getKVNamespace("PROJECTS")
    await registry.put("project:kv", JSON.stringify({ ...project(keys.kv), cors: { origins: ["https://kv.example"] } }))
    await registry.put("project:broken", "{")
  })
  afterAll(() => server?.dispose())

  const at = (name) => server.stream(`${name}/${unique()}`)
  const create = (stream, token, status) =>
    stream.ask("PUT", { headers: { ...BYTES, ...(token ? bearer(token) : {}) }, status })

  test("each project has its own streams and keys", async () => {
    expect(await modeOf(server)).toBe("projects")
    // The server has no rate limit bound, and recommends one once.
    const recommended = { operation: "configure", level: "warn", cause: expect.stringContaining("REQUEST_LIMIT") }
    expect(server.log.matching({ operation: "configure" })).toEqual([recommended])
    const token = makeToken(keys.a, { sub: "a" })
    await create(at("a"), token, 201)
    const forbidden = await create(at("b"), token, 403)
    expect(forbidden.header("www-authenticate")).toBe(
      'Bearer realm="durable-streams", error="insufficient_scope", scope="manage"',
    )
    await create(at("a"), makeToken(keys.b, { sub: "a" }), 401)
    await create(at("b"), makeToken(keys.a, { sub: "b" }), 401)
    await create(at("a"), undefined, 401)
    await create(at("nobody"), makeToken(keys.a, { sub: "nobody" }), 401)
    // A path with bytes that are not ASCII names no project and no stream.
    for (const source of ["/v1/stream/a/\xe8", "/v1/stream/\xe8/a", "/v1/stream/a/\xc3\xa4"]) {
      const fork = await at("a").ask("PUT", { headers: { ...BYTES, ...bearer(token), "stream-forked-from": source }, status: 400 })
      expect(fork.text).toContain("The header Stream-Forked-From cannot be used: it must have visible ASCII")
    }
  })

  test("a project in KV is looked up once for many requests", async () => {
    const token = makeToken(keys.kv, { sub: "kv" })
    for (let request = 0; request < 3; request += 1) await create(at("kv"), token, 201)
    await create(at("kv"), makeToken(keys.a, { sub: "kv" }, { kid: "k" }), 401)
    const registry = await server.mf.getKVNamespace("PROJECTS")
    await registry.delete("project:kv")
    await create(at("kv"), token, 201)
    expect((await create(at("broken"), makeToken(keys.a, { sub: "broken" }), 401)).text).toContain("unauthorized")
    expect(server.log.matching({ operation: "look up project", stream: "broken" })).toHaveLength(1)
    const preflight = { origin: "https://kv.example", "access-control-request-method": "GET" }
    const allowed = await at("kv").ask("OPTIONS", { headers: preflight, status: 204 })
    expect(allowed.header("access-control-allow-origin")).toBe("https://kv.example")
    const other = await at("a").ask("OPTIONS", { headers: preflight, status: 204 })
    expect(other.header("access-control-allow-origin")).toBeNull()
    // This also holds for an invalid path below the project.
    for (const [method, status] of [["OPTIONS", 204], ["GET", 400]]) {
      const wrong = await fetch(`${server.url}/v1/stream/kv//x`, { method, headers: preflight })
      expect(await shown(wrong)).toEqual([status, "https://kv.example"])
    }
  })

  test("an invalid origin is ignored and logged, in KV too", async () => {
    const registry = await server.mf.getKVNamespace("PROJECTS")
    const cors = { origins: ["null", "https://*.kv.example"], credentials: true }
    await registry.put("project:sites", JSON.stringify({ ...project(keys.kv), cors }))
    const ask = (origin) => fetch(at("sites").url, { method: "OPTIONS", headers: { origin } })
    for (const [origin, allowed] of [["https://a.kv.example", "https://a.kv.example"], ["null", null], ["https://kv.example", null]]) {
      expect(await shown(await ask(origin))).toEqual([204, allowed])
    }
    const cause = expect.stringContaining("project sites: origins that are ignored: null;")
    expect(server.log.matching({ operation: "look up project", level: "warn" })).toEqual([expect.objectContaining({ cause })])
    await create(at("sites"), makeToken(keys.kv, { sub: "sites", scope: ["manage"] }), 201)
    await create(at("sites"), makeToken(keys.kv, { sub: "sites", scope: undefined, scp: "manage" }), 201)
  })

  test("a project may have a key server, from which only public keys are used", async () => {
    for (const [, pair] of pairs) {
      await create(at("c"), pair.token({ sub: "c" }), 201)
      await create(at("c"), pair.token({ sub: "c" }, { kid: "other" }), 401)
      await create(at("c"), pair.token({ sub: "c", exp: inSeconds(-1) }), 401)
      await create(at("a"), pair.token({ sub: "c" }), 403)
      const [head, body, signature] = pair.token({ sub: "c", scope: "read" }).split(".")
      const more = Buffer.from(JSON.stringify({ sub: "c", scope: "manage", exp: inSeconds(60) })).toString("base64url")
      await create(at("c"), `${head}.${more}.${signature}`, 401)
      await create(at("c"), `${head}.${body}.${signature.slice(0, -8)}AAAAAAAA`, 401)
      // A public key is not a shared secret, neither as PEM nor under the server's name for it.
      for (const k of [pair.pem, JSON.stringify(pair.jwk), pair.jwk.n ?? pair.jwk.x]) {
        const key = { kid: pair.jwk.kid, k: Buffer.from(k).toString("base64url") }
        await create(at("c"), makeToken(key, { sub: "c" }), 401)
      }
      await create(at("c"), makeToken(keys.a, { sub: "c" }, { kid: keys.a.kid }), 401)
    }
    // One fetch: the server requests unknown keys again after half a minute at the earliest.
    expect(asked).toBe(1)
    const [, pair] = pairs[1]
    expect((await create(at("d"), pair.token({ sub: "d" }), 503)).header("retry-after")).toBe("5")
    await create(at("d"), pair.token({ sub: "d" }), 503)
    await create(at("e"), pair.token({ sub: "e" }), 503)
    expect(asked).toBe(3)
  })

  test("only a token in Authorization with the scope read receives the reader key", async () => {
    const of = (scope, more) => bearer(makeToken(keys.a, { sub: "a", scope, ...more }))
    const keyOf = ({ header }) => header("stream-reader-key")
    const [source, stream] = [at("a"), at("a")]
    const put = (one, token, more, status) => one.ask("PUT", { headers: { ...BYTES, ...token, ...more }, status })
    await put(source, of("manage read"), {}, 201)
    const fork = { "stream-forked-from": `/v1/stream/${source.path}` }
    const readsSourceOnly = of("manage read", { stream: source.path })
    const manages = of("manage")
    expect(keyOf(await put(stream, manages, {}, 201))).toBeNull()
    expect(keyOf(await put(stream, manages, {}, 200))).toBeNull()
    expect(keyOf(await put(stream, manages, { "stream-reader-key": "new" }, 200))).toBeNull()
    expect(keyOf(await put(stream, of("manage write"), {}, 200))).toBeNull()
    await put(at("a"), readsSourceOnly, fork, 403)
    await stream.ask("HEAD", { headers: manages, status: 403 })
    const key = keyOf(await put(stream, of("manage read"), {}, 200))
    expect(key).toMatch(/^[\w-]{22}$/u)
    expect(keyOf(await stream.ask("HEAD", { headers: of("read"), status: 200 }))).toBe(key)
    expect(keyOf(await put(at("a"), of("manage read"), fork, 201))).toMatch(/^[\w-]{22}$/u)
    // A request with an invalid reader key receives the valid one under the same conditions.
    await stream.ask("POST", { headers: { ...BYTES, ...of("write") }, body: "x", status: 204 })
    const token = makeToken(keys.a, { sub: "a", scope: "read" })
    for (const query of ["?rk=x", "?offset=0000000000000000_0000000000000000&rk=x", "?offset=now&rk=x", "?offset=-1&live=long-poll&rk=x"]) {
      const ask = (more, headers) => stream.ask("GET", { query: `${query}${more}`, headers, status: 200 })
      const renewed = await ask("", bearer(token))
      expect([query, keyOf(renewed)]).toEqual([query, key])
      expect(renewed.header("cache-control")).toMatch(/^(private, no-cache|no-store)$/u)
      expect([query, keyOf(await ask(`&token=${token}`, {}))]).toEqual([query, null])
      expect([query, keyOf(await ask("", { cookie: `stream-token=${token}` }))]).toEqual([query, null])
    }
    expect(keyOf(await stream.ask("HEAD", { query: `?token=${token}`, status: 200 }))).toBeNull()
    expect(keyOf(await stream.ask("HEAD", { headers: { cookie: `stream-token=${token}` }, status: 200 }))).toBeNull()
  })

  test("a live response ends when its token expires", async () => {
    const stream = at("a")
    await create(stream, makeToken(keys.a, { sub: "a" }), 201)
    const short = bearer(makeToken(keys.a, { sub: "a", exp: inSeconds(3) }))
    const reader = await SseReader.open(stream, { headers: short })
    const poll = stream.ask("GET", { query: "?offset=now&live=long-poll", headers: short })
    await reader.untilEnd()
    expect((await poll).status).toBe(204)
    expect((await stream.ask("GET", { headers: short })).status).toBe(401)
  }, SOON_MS)
})

describe("former names of variables and bindings", () => {
  const key = secretKey("k")
  const hint = (old, name) => `${old} is now called ${name}: rename it; the old name still works`
  const hints = (server) => server.log.matching({ operation: "configure", level: "warn" }).map(({ cause }) => cause).filter((cause) => cause.includes("is now called"))

  /** The tail after two appends to a new stream of a project in KV. */
  async function tail(server, binding) {
    const projects = await server.mf.getKVNamespace(binding)
    await projects.put("project:p", JSON.stringify({ keys: [key] }))
    expect(await modeOf(server)).toBe("projects")
    const stream = server.stream(`p/${unique()}`)
    const headers = { ...JSON_TYPE, ...bearer(makeToken(key, { sub: "p" })) }
    await stream.create(headers)
    await stream.append("1", headers)
    return (await stream.append("2", headers)).next
  }

  test("still work, and the log names their replacements", async () => {
    const server = await start({ vars: { SEGMENT_MAX_MESSAGES: "2" }, registry: "REGISTRY" })
    try {
      expect(await tail(server, "REGISTRY")).toBe("0000000000000001_0000000000000000")
      expect(hints(server)).toEqual([hint("SEGMENT_MAX_MESSAGES", "SEGMENT_MAX_APPENDS"), hint("REGISTRY", "PROJECTS")])
    } finally {
      await server.dispose()
    }
  })

  test("have no effect next to the present names", async () => {
    const server = await start({ vars: { SEGMENT_MAX_MESSAGES: "1", SEGMENT_MAX_APPENDS: "2" }, registry: true })
    try {
      expect(await tail(server, "PROJECTS")).toBe("0000000000000001_0000000000000000")
      expect(hints(server)).toEqual([])
    } finally {
      await server.dispose()
    }
  })
})

describe("rate limits", () => {
  /** The bindings of the commented example in wrangler.toml. */
  async function limitsOfExample() {
    const text = await readFile(join(root, "wrangler.toml"), "utf8")
    const line = /^# (?=\[\[ratelimits\]\]|name = "[A-Z]+_LIMIT"|namespace_id = |simple = )/gmu
    const config = join(await scratch(), "wrangler.toml")
    await writeFile(config, text.replace(line, ""))
    return workerOptionsOf(readConfig({ config })).workerOptions.ratelimits
  }

  const key = secretKey()
  const PROJECT_KEYS = JSON.stringify({ a: { keys: [key] }, b: { keys: [key] } })
  const PERIOD_MS = 60_000
  /** Requests in flight at a time. */
  const LANES = 6

  /** A server with the example's bindings and these limits. `counted` runs within one period. */
  async function limited({ requests, creates, vars = { PROJECT_KEYS } }, counted) {
    const { REQUEST_LIMIT, CREATE_LIMIT } = await limitsOfExample()
    const to = (binding, limit = binding.simple.limit) => ({ ...binding, simple: { ...binding.simple, limit } })
    const ratelimits = { REQUEST_LIMIT: to(REQUEST_LIMIT, requests), CREATE_LIMIT: to(CREATE_LIMIT, creates) }
    const period = () => Math.floor(Date.now() / PERIOD_MS)
    for (let began = -1; began !== period(); ) {
      began = period()
      const server = await start({ vars, ratelimits })
      try {
        await counted(server)
      } catch (error) {
        // If a period ended meanwhile, the counts began again.
        if (began === period()) throw error
      } finally {
        await server.dispose()
      }
    }
  }

  /** The statuses of these requests, sent one after another. */
  async function statuses(server, count, method, project, headers, query = "") {
    const found = []
    for (let asked = 0; asked < count; asked += 1) {
      const reply = await server.stream(`${project}/${unique()}`).ask(method, { query, headers: { ...BYTES, ...headers } })
      if (reply.status === 429) {
        expect(["retry-after", "cache-control"].map(reply.header)).toEqual(["60", "no-store"])
        if (method !== "HEAD") expect(JSON.parse(reply.text).error.code).toBe("too_many_requests")
      }
      found.push(reply.status)
    }
    return found
  }

  const tokenOf = (project, jti) => makeToken(key, { sub: project, jti })
  const times = (count, status) => Array(count).fill(status)

  test("the example in wrangler.toml has the limits that it states", async () => {
    expect(await limitsOfExample()).toEqual({
      REQUEST_LIMIT: expect.objectContaining({ simple: { limit: 6000, period: 60 } }),
      CREATE_LIMIT: expect.objectContaining({ simple: { limit: 600, period: 60 } }),
    })
    await limited({}, async (server) => {
      const stream = server.stream(`a/${unique()}`)
      const put = () => stream.ask("PUT", { headers: { ...BYTES, ...bearer(tokenOf("a")) } })
      // A few at a time: of 600 concurrent requests, the last would wait for all others.
      const lane = async () => {
        const found = []
        for (const _ of numbers(600 / LANES)) found.push((await put()).status)
        return found
      }
      const answers = (await Promise.all(numbers(LANES).map(lane))).flat()
      expect(answers).toHaveLength(600)
      expect(new Set(answers)).toEqual(new Set([201, 200]))
      expect((await put()).status).toBe(429)
    })
  }, 2 * PERIOD_MS)

  test("apply to a project's creations and to a token's requests", async () => {
    await limited({ requests: 6, creates: 2 }, async (server) => {
      // A client that may not create streams does not use up the project's limit.
      expect(await statuses(server, 3, "PUT", "a", bearer(tokenOf("b")))).toEqual(times(3, 403))
      // Each token has its own `jti`: the limit counts per token.
      const [token, second, third] = numbers(3).map((jti) => tokenOf("a", jti))
      for (const [one, status] of [[token, 201], [second, 201], [third, 429]]) {
        expect(await statuses(server, 1, "PUT", "a", bearer(one))).toEqual([status])
      }
      expect(await statuses(server, 1, "PUT", "b", bearer(tokenOf("b", 4)))).toEqual([201])
      // The limit counts every method, wherever the token is sent.
      expect(await statuses(server, 1, "HEAD", "a", bearer(token))).toEqual([404])
      expect(await statuses(server, 1, "POST", "a", bearer(token))).toEqual([400])
      expect(await statuses(server, 1, "GET", "a", {}, `?token=${token}`)).toEqual([404])
      expect(await statuses(server, 1, "GET", "a", { cookie: `stream-token=${token}` })).toEqual([404])
      expect(await statuses(server, 3, "GET", "a", bearer(token))).toEqual([404, 429, 429])
      expect(await statuses(server, 1, "HEAD", "a", bearer(token))).toEqual([429])
      expect(await statuses(server, 1, "GET", "a", bearer(second))).toEqual([404])
    })
  })

  test("apply to each network of clients without a valid token, whatever they send", async () => {
    await limited({ requests: 4, creates: 100 }, async (server) => {
      const from = (address, more) => ({ "cf-connecting-ip": address, ...more })
      expect(await statuses(server, 2, "GET", "a", from("2001:db8::1"))).toEqual(times(2, 401))
      expect(await statuses(server, 1, "GET", "a", from("2001:db8::2", bearer("x")))).toEqual([401])
      expect(await statuses(server, 1, "PUT", "a", from("2001:db8::3", bearer(tokenOf("b"))))).toEqual([403])
      expect(await statuses(server, 2, "GET", "a", from("2001:db8::4", bearer("y")))).toEqual(times(2, 429))
      expect(await statuses(server, 1, "GET", "a", from("2001:db8:0:1::1"))).toEqual([401])
      // Clients with a valid token are not affected, and requests that cost nothing are answered.
      expect(await statuses(server, 1, "PUT", "a", from("2001:db8::1", bearer(tokenOf("a"))))).toEqual([201])
      expect(await statuses(server, 5, "OPTIONS", "a", from("2001:db8::1"))).toEqual(times(5, 204))
      expect((await fetch(`${server.url}/health`, { headers: from("2001:db8::1") })).status).toBe(200)
    })
  })

  test("apply to each address in open mode", async () => {
    await limited({ requests: 5, creates: 2, vars: {} }, async (server) => {
      const from = (address, more) => ({ "cf-connecting-ip": address, ...more })
      expect(await statuses(server, 2, "PUT", "a", from("192.0.2.1"))).toEqual([201, 201])
      expect(await statuses(server, 1, "PUT", "a", from("192.0.2.2"))).toEqual([429])
      // Tokens have no meaning in open mode, wherever they are sent.
      expect(await statuses(server, 1, "GET", "a", from("192.0.2.1"), "?token=a")).toEqual([404])
      expect(await statuses(server, 1, "GET", "a", from("192.0.2.1", { cookie: "stream-token=b" }))).toEqual([404])
      expect(await statuses(server, 2, "GET", "a", from("192.0.2.1"))).toEqual([404, 429])
      expect(await statuses(server, 1, "GET", "a", from("192.0.2.1"), "?token=c")).toEqual([429])
      expect(await statuses(server, 1, "PUT", "b", from("192.0.2.2"))).toEqual([201])
    })
  })
})
