// Attempts on another project's stream: to read it, to write it, to learn that it exists, or to make a cache disclose
// it. Plain workerd receives each byte as it was sent.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"
import { HttpConnection } from "./raw.mjs"
import { BYTES, CLOSED, JSON_TYPE, elsewhere, scratch, startWorkerd, unique } from "./support.mjs"

const SECRET = "what only the victim's readers may know"
const keys = { victim: secretKey(), victim2: secretKey(), mallory: secretKey() }
const PROJECT_KEYS = JSON.stringify(Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, { keys: [key] }])))

let server
/** The victim's private stream, one that does not exist, and the victim's public one. */
let private_, missing, public_
const victims = () => bearer(makeToken(keys.victim, { sub: "victim" }))
const mallory = (claims = {}, header = {}) => makeToken(keys.mallory, { sub: "mallory", ...claims }, header)

beforeAll(async () => {
  const cors = { CORS_ORIGINS: "https://app.example", CORS_CREDENTIALS: "1" }
  const vars = { PROJECT_KEYS, PUBLIC_STREAMS: "on", ...cors, LONG_POLL_TIMEOUT_SECONDS: "1" }
  server = await startWorkerd(await scratch(), vars)
  private_ = server.stream(`victim/${unique()}`)
  missing = server.stream(`victim/${unique()}`)
  public_ = server.stream(`victim/${unique()}`)
  await private_.ask("PUT", { headers: { ...BYTES, ...victims() }, body: SECRET, status: 201 })
  await public_.ask("PUT", { headers: { ...BYTES, ...victims(), "stream-public": "true" }, body: "for all", status: 201 })
})
afterAll(() => server?.kill())

/** A reply without the parts that differ for each request. */
const shape = ({ status, headers, text }) => {
  const { date: _date, "x-request-id": _id, ...rest } = Object.fromEntries([...headers].sort())
  return { status, headers: rest, text }
}

async function connect() {
  return HttpConnection.open(server.url)
}

async function ask(method, target, { headers = {}, body } = {}) {
  const connection = await connect()
  try {
    return await connection.ask(method, target, { headers: { ...elsewhere(), ...headers }, body })
  } finally {
    connection.close()
  }
}

/** The path that a server would see if it decoded too often. */
function decodedTwice(path) {
  try {
    return decodeURIComponent(decodeURIComponent(path))
  } catch {
    return path
  }
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
const READS = ["", "?offset=-1", "?offset=now", "?offset=0000000000000000_0000000000000001", "?offset=9999999999999999_0000000000000000"]
const LIVE = ["?offset=-1&live=sse", "?offset=now&live=sse", "?offset=-1&live=long-poll", "?offset=now&live=long-poll"]

/** Checks that nothing was read and nothing was changed. */
async function expectUntouched() {
  const { text, header } = await private_.ask("GET", { headers: victims(), status: 200 })
  expect(text).toBe(SECRET)
  expect(header("stream-closed")).toBeNull()
  await missing.ask("HEAD", { headers: victims(), status: 404 })
  const { text: shown } = await public_.ask("GET", { headers: victims(), status: 200 })
  expect(shown).toBe("for all")
}

describe("with any token", () => {
  const none = { alg: "none" }
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const unsigned = (header) => `${encode(header)}.${encode({ sub: "victim", scope: "read write manage", exp: inSeconds(60) })}.`
  const tokens = {
    "none at all": undefined,
    "of another project": mallory(),
    "of another project, for all streams": mallory({ stream: "*" }),
    "of another project, for the victim's": mallory({ stream: "victim/*" }),
    "of another project, with the victim's name": mallory({ sub: "victim" }),
    "of another project, with two names": mallory({ sub: ["mallory", "victim"] }),
    "of a project whose name is longer": makeToken(keys.victim2, { sub: "victim2" }),
    "of a project whose name is a path": mallory({ sub: "mallory/../victim" }),
    "of a project whose name is in capitals": mallory({ sub: "VICTIM" }),
    "of the victim, that has expired": makeToken(keys.victim, { sub: "victim", exp: inSeconds(-1) }),
    "of the victim, for later": makeToken(keys.victim, { sub: "victim", nbf: inSeconds(60) }),
    "of the victim, for ever": makeToken(keys.victim, { sub: "victim", exp: undefined }),
    "of the victim, for another stream": makeToken(keys.victim, { sub: "victim", stream: "victim/other" }),
    "of the victim, for nothing": makeToken(keys.victim, { sub: "victim", scope: "" }),
    "unsigned": unsigned(none),
    "unsigned, with the key's name": unsigned({ ...none, kid: "1" }),
    "unsigned, but it says HS256": unsigned({ alg: "HS256", kid: "1" }),
    "of another algorithm": mallory({ sub: "victim" }, { alg: "RS256" }),
    "with a key of its own": mallory({ sub: "victim" }, { jwk: keys.mallory, jku: "https://mallory.example/jwks" }),
    "with a key that is a path": mallory({ sub: "victim" }, { kid: "../mallory/1" }),
    "with a key of SQL": mallory({ sub: "victim" }, { kid: "1' UNION SELECT '1" }),
    "with an extension": mallory({ sub: "victim" }, { crit: ["b64"], b64: false }),
    "that is too long": mallory({ sub: "victim", more: "x".repeat(8_000) }),
    "of noise": "a.b.c",
    "of the other mode": AUTH_TOKEN,
  }

  test("every method gives the same response for a stream that exists and for one that does not", async () => {
    for (const [name, token] of Object.entries(tokens)) {
      const headers = token === undefined ? {} : bearer(token)
      for (const method of METHODS) {
        const queries = method === "GET" ? [...READS, ...LIVE] : [""]
        for (const query of queries) {
          const sent = { headers: method === "PUT" || method === "POST" ? { ...BYTES, ...headers } : headers }
          if (method === "POST") sent.body = "x"
          const what = `${name}: ${method} ${query}`
          const there = await ask(method, `/v1/stream/${private_.path}${query}`, sent)
          const not = await ask(method, `/v1/stream/${missing.path}${query}`, sent)
          expect([401, 403], what).toContain(there.status)
          expect(shape(there), what).toEqual(shape(not))
          expect(there.header("cache-control"), what).toBe("no-store")
          expect(there.text, what).not.toContain(SECRET)
        }
      }
    }
    await expectUntouched()
  }, 120_000)

  test("a token of another project is refused wherever it is sent", async () => {
    const own = mallory()
    const attempts = [
      ["GET", `?token=${own}`, {}],
      ["GET", `?token=${own}&token=${own}`, {}],
      ["GET", `?token=${own}`, bearer(own)],
      ["GET", "", { cookie: `stream-token=${own}` }],
      ["GET", "", { cookie: "stream-token=" }],
      ["GET", "", { authorization: `Bearer ${own}, Bearer x` }],
      ["GET", "", { authorization: `Basic ${own}` }],
      ["GET", "", { "x-authorization": `Bearer ${own}` }],
      ["POST", "", { ...BYTES, cookie: `stream-token=${own}` }],
      ["POST", `?token=${own}`, BYTES],
    ]
    for (const [method, query, headers] of attempts) {
      const body = method === "POST" ? "x" : undefined
      const there = await ask(method, `/v1/stream/${private_.path}${query}`, { headers, body })
      const not = await ask(method, `/v1/stream/${missing.path}${query}`, { headers, body })
      expect([400, 401, 403], `${method} ${query}`).toContain(there.status)
      expect(shape(there)).toEqual(shape(not))
    }
    await expectUntouched()
  })

  test("two Authorization headers are refused, even if one is valid", async () => {
    const connection = await connect()
    const right = victims().authorization
    for (const [first, second] of [[right, `Bearer ${mallory()}`], [`Bearer ${mallory()}`, right]]) {
      connection.send(`GET /v1/stream/${private_.path} HTTP/1.1\r\nhost: x\r\nauthorization: ${first}\r\nauthorization: ${second}\r\n\r\n`)
      expect((await connection.reply("GET")).status).toBe(401)
    }
    connection.close()
  })
})

describe("with any path", () => {
  const name = () => private_.path.split("/")[1]

  test("the server serves exactly the path that it authorised", async () => {
    const own = bearer(mallory())
    const paths = [
      `mallory/../victim/${name()}`,
      `mallory/%2e%2e/victim/${name()}`,
      `mallory/%2E%2E/victim/${name()}`,
      `mallory%2f..%2fvictim%2f${name()}`,
      `mallory/..%2fvictim/${name()}`,
      `mallory/%252e%252e/victim/${name()}`,
      `./victim/${name()}`,
      `/victim/${name()}`,
      `mallory//../victim/${name()}`,
      `victim%2f${name()}`,
      `%76ictim/${name()}`,
      `victim/${name()}%00`,
      `victim/${name()}/`,
      `victim/${name()};mallory`,
      `victim\\${name()}`,
      `mallory\\..\\victim\\${name()}`,
      `mallory/..\\victim/${name()}`,
      `mallory@victim/${name()}`,
      `VICTIM/${name()}`,
      `v\u200bictim/${name()}`,
      `..%5cvictim/${name()}`,
      `mallory%00/../victim/${name()}`,
      // Paths that are decoded once too often, or use another alphabet.
      `mallory/%252e%252e/victim/${name()}`,
      `mallory%252f..%252fvictim%252f${name()}`,
      `victim%252f${name()}`,
      `%2576ictim/${name()}`,
      `mallory/%c0%ae%c0%ae/victim/${name()}`,
      `victim%c0%af${name()}`,
      `mallory/%u002e%u002e/victim/${name()}`,
      `mallory/\uff0e\uff0e/victim/${name()}`,
      `mallory/../victim\uff0f${name()}`,
      `victim\u2215${name()}`,
      `vi\u0301ctim/${name()}`,
      `\u0076\u0131ctim/${name()}`,
      // Paths with additions that a server might cut off.
      `victim./${name()}`,
      `victim%2e/${name()}`,
      `victim%20/${name()}`,
      `victim%09/${name()}`,
      `victim%0d%0a/${name()}`,
      `victim;/${name()}`,
      `;/victim/${name()}`,
      `mallory;/../victim/${name()}`,
      `mallory/..;/victim/${name()}`,
      `mallory/.%2e/victim/${name()}`,
      `mallory/.../victim/${name()}`,
      `victim/${name()}.`,
      `victim/${name()}%20`,
      `victim/${name()}%23x`,
      `victim/${name()}%3foffset=-1`,
      `victim/./${name()}`,
      `victim//${name()}`,
      `victim%2f%2f${name()}`,
      `victim/${name()}%`,
      `victim/${name()}%2`,
      `victim/*`,
      `*/${name()}`,
      `%2a/${name()}`,
    ]
    for (const path of paths) {
      for (const method of METHODS) {
        const sent = { headers: { ...own, ...BYTES }, body: method === "POST" ? "x" : undefined }
        const reply = await ask(method, `/v1/stream/${Buffer.from(path).toString("latin1")}`, sent)
        // Some paths name streams of mallory's own, which do not exist or may be created.
        const isOwn = decodedTwice(path).startsWith("mallory")
        const expected = isOwn ? [201, 204, 400, 404] : [400, 401, 403]
        expect([...expected, ...(isOwn ? [401, 403] : [])], `${method} ${path}: ${reply.status}`).toContain(reply.status)
        expect(reply.text).not.toContain(SECRET)
      }
    }
    await expectUntouched()
  })

  test("no request target reaches the victim's stream", async () => {
    const own = mallory()
    for (const target of [
      `http://evil.example/v1/stream/${private_.path}`,
      `//evil.example/v1/stream/${private_.path}`,
      `/v1/stream/mallory/x?/v1/stream/${private_.path}`,
      `/v1/stream/mallory/x#/../../${private_.path}`,
      `/v1//stream/${private_.path}`,
      `/V1/stream/${private_.path}`,
      `/v1/stream/../stream/${private_.path}`,
      `/health/../v1/stream/${private_.path}`,
    ]) {
      const connection = await connect()
      connection.send(`GET ${target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${own}\r\n\r\n`)
      const reply = await connection.reply("GET")
      expect(reply.status, target).toBeGreaterThanOrEqual(400)
      expect(reply.text).not.toContain(SECRET)
      connection.close()
    }
  })

  test("no spelling of a method reaches the victim's stream", async () => {
    for (const method of ["get", "Get", "HEAD2", "PATCH", "TRACE", "PROPFIND", "SEARCH", "SUBSCRIBE", "QUERY", "PURGE", "G\u0000ET"]) {
      for (const headers of ["", `authorization: Bearer ${mallory()}\r\n`]) {
        const connection = await connect()
        connection.send(`${method} /v1/stream/${private_.path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`)
        const reply = await connection.reply("GET")
        expect([400, 401, 403, 405, 501], `${method}: ${reply.status}`).toContain(reply.status)
        expect(reply.text).not.toContain(SECRET)
        connection.close()
      }
    }
    await expectUntouched()
  })

  test("internal names belong to no project", async () => {
    const names = { "__registry__/victim": 400, "%5F_registry__/a": 400, "__ds/subscriptions": 401, __ds: 404, __registry__: 401 }
    for (const [path, status] of Object.entries(names)) {
      for (const headers of [{}, bearer(mallory({ sub: "__registry__" }))]) {
        expect((await ask("GET", `/v1/stream/${path}`, { headers })).status, path).toBe(status)
      }
    }
    for (const target of ["/counters", "/v1/stream", "/v1/streams/", "/v1/", "/.dev.vars", "/project:victim"]) {
      expect([400, 404]).toContain((await ask("GET", target, { headers: bearer(mallory()) })).status)
    }
  })
})

describe("with any header", () => {
  const own = () => bearer(mallory())

  test("only the token identifies the client, and only the method names the operation", async () => {
    const tricks = [
      { "x-http-method-override": "GET" },
      { "x-method-override": "DELETE" },
      { "x-original-url": `/v1/stream/mallory/x` },
      { "x-rewrite-url": `/v1/stream/mallory/x` },
      { "x-forwarded-host": "localhost", "x-forwarded-for": "127.0.0.1" },
      { host: "localhost" },
      { "stream-stranger": "false" },
      { "stream-stranger": "" },
      { "stream-public": "true" },
      { upgrade: "websocket", connection: "upgrade" },
      { "if-none-match": "*" },
      { range: "bytes=0-10" },
      { "last-event-id": "-1" },
      { "if-match": "*" },
      { "if-range": '"1:0000000000000000_0000000000000000"', range: "bytes=0-" },
      { "if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT" },
      { "x-http-method": "DELETE" },
      { forwarded: "for=127.0.0.1;host=localhost" },
      { "cf-connecting-ip": "127.0.0.1", "x-real-ip": "127.0.0.1" },
      { "cf-worker": "durable-streams.example", "cf-ray": "1" },
      { "mf-original-url": "http://localhost/v1/stream/mallory/x" },
      { "proxy-authorization": victims().authorization },
      { "www-authenticate": victims().authorization },
      { "stream-reader-key": "new" },
      { "stream-closed": "true", "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" },
      { "stream-next-offset": "-1", "stream-up-to-date": "true", "stream-incarnation": "1" },
      { "x-cache": "HIT", "x-kept-at": "0", "cache-control": "only-if-cached" },
    ]
    for (const headers of tricks) {
      for (const method of METHODS) {
        for (const token of [{}, own()]) {
          const sent = { headers: { ...BYTES, ...headers, ...token }, body: method === "POST" ? "x" : undefined }
          const there = await ask(method, `/v1/stream/${private_.path}`, sent)
          const not = await ask(method, `/v1/stream/${missing.path}`, sent)
          expect([401, 403], `${method} ${JSON.stringify(headers)}`).toContain(there.status)
          expect(shape(there)).toEqual(shape(not))
        }
      }
    }
    await expectUntouched()
  })

  test("no query gives access", async () => {
    const options = { headers: victims() }
    const key = (await private_.ask("HEAD", options)).header("stream-reader-key")
    const other = (await public_.ask("HEAD", options)).header("stream-reader-key")
    expect([key === null, other]).toEqual([false, null])
    const at = "offset=0000000000000000_0000000000000001"
    for (const query of [
      // The reader key opens cached copies in a cache. It does not open the server itself.
      `?${at}&rk=${key}`,
      `?rk=${key}&${at}`,
      `?rk=${key}`,
      `?${at}&live=long-poll&rk=${key}`,
      `?${at}&live=long-poll&%72k=${key}&cursor=1`,
      `?offset=-1&live=sse&rk=${key}`,
      `?${at}&rk=${key}&rk=`,
      `?${at}&rk=&rk=${key}`,
      `?${at}&rk=`,
      `?${at}&RK=${key}`,
      `?${at}&rk[]=${key}`,
      `?${at};rk=${key}`,
      // Repeated parameters, and other spellings.
      "?offset=-1&offset=now",
      "?live=sse&live=long-poll&offset=-1",
      "?live=SSE&offset=-1",
      "?LIVE=sse&offset=-1",
      "?offset=%2D1",
      "?offset=-1%00",
      "?offset=-1;live=sse",
      "?;offset=-1",
      "??offset=-1",
      "?&&&",
      "?%",
      "?offset=-1&cursor=-1",
      "?offset=-1&cursor=9007199254740993",
      "?offset=-1&cursor=1&cursor=2",
      // Parameters of the Worker, and parameters that other servers know.
      "?token=",
      "?token=&token=",
      "?stream-stranger=false",
      "?access_token=x&_method=DELETE&authorization=x",
      `?path=${private_.path}&project=victim`,
    ]) {
      for (const headers of [{}, own()]) {
        for (const method of ["GET", "HEAD"]) {
          const there = await ask(method, `/v1/stream/${private_.path}${query}`, { headers })
          const not = await ask(method, `/v1/stream/${missing.path}${query}`, { headers })
          expect([400, 401, 403], `${method} ${query}`).toContain(there.status)
          expect(shape(there), `${method} ${query}`).toEqual(shape(not))
          expect(there.header("cache-control")).toBe("no-store")
        }
      }
    }
    await expectUntouched()
  })

  test("a client without access does not receive the response to another client's long-poll", async () => {
    const { next, header } = await private_.ask("HEAD", { headers: victims() })
    const query = `?offset=${next}&live=long-poll&rk=${header("stream-reader-key")}`
    const waits = private_.ask("GET", { query, headers: victims() })
    for (const headers of [{}, own(), bearer("x"), { cookie: `stream-token=${mallory()}` }]) {
      expect([401, 403]).toContain((await private_.ask("GET", { query, headers })).status)
    }
    // The long-poll timed out without messages.
    expect((await waits).status).toBe(204)
  })

  test("the header that marks a stranger removes rights, and grants none", async () => {
    const headers = { ...victims(), "stream-stranger": "true" }
    expect((await private_.ask("GET", { headers })).status).toBe(401)
    expect((await private_.ask("POST", { headers: { ...headers, ...BYTES }, body: "x" })).status).toBe(401)
    expect((await public_.ask("GET", { headers })).text).toBe("for all")
    await expectUntouched()
  })

  test("a fork of another project's stream is refused", async () => {
    const escaped = private_.path.replace("victim/", "%76ictim%2F")
    for (const from of [private_, missing, public_, { path: escaped }]) {
      const headers = { ...BYTES, ...own(), "stream-forked-from": `/v1/stream/${from.path}` }
      const fork = server.stream(`mallory/${unique()}`)
      const reply = await fork.ask("PUT", { headers })
      expect([reply.status, JSON.parse(reply.text).error.code]).toEqual([403, "forbidden"])
      await fork.ask("GET", { headers: own(), status: 404 })
    }
    for (const from of [private_.path, `//v1/stream/${private_.path}`, `/v1/stream/mallory/../${private_.path}`, `https://x/v1/stream/${private_.path}`]) {
      const headers = { ...BYTES, ...own(), "stream-forked-from": from }
      const reply = await server.stream(`mallory/${unique()}`).ask("PUT", { headers })
      expect([reply.status, JSON.parse(reply.text).error.code]).toEqual([400, "invalid_header"])
    }
    await expectUntouched()
  })

  test("a fork into another project is refused, and so is a fork of a stream outside the token's scope", async () => {
    const mine = server.stream(`mallory/own/${unique()}`)
    await mine.ask("PUT", { headers: { ...BYTES, ...own() }, body: "mine", status: 201 })
    const from = { "stream-forked-from": `/v1/stream/${mine.path}` }
    expect((await server.stream(`victim/${unique()}`).ask("PUT", { headers: { ...own(), ...from } })).status).toBe(403)
    const fork = () => server.stream(`mallory/forks/${unique()}`)
    for (const [claims, status] of [
      [{ scope: "manage" }, 403],
      [{ scope: "read manage", stream: "mallory/forks/*" }, 403],
      [{ scope: "read", stream: "mallory/*" }, 403],
      [{ scope: "read manage", stream: "mallory/*" }, 201],
    ]) {
      expect((await fork().ask("PUT", { headers: { ...bearer(mallory(claims)), ...from } })).status, claims.scope).toBe(status)
    }
  })

  test("calls between objects cannot be made from outside", async () => {
    const question = JSON.stringify({ Inherit: { incarnation: 1, from: { read_seq: 0, position: 0 }, until: { read_seq: 9, position: 0 }, max_bytes: 1e6 } })
    for (const target of ["/inherited", `/v1/stream/${private_.path}`, "https://streams/inherited", "/v1/stream/../../inherited"]) {
      for (const headers of [{ question }, { ...own(), question, host: "streams" }]) {
        const reply = await ask("GET", target, { headers })
        expect([400, 401, 403, 404]).toContain(reply.status)
        expect(reply.text).not.toContain(SECRET)
      }
    }
    await expectUntouched()
  })

  test("a fork of another project's stream is refused in every spelling of the source", async () => {
    const spellings = ({ path }) => [
      `/v1/stream/${path}`,
      path,
      `/${path}`,
      `${server.url}/v1/stream/${path}`,
      `//x/v1/stream/${path}`,
      `/v1/stream/${path.replace("/", "%2f")}`,
      `/v1/stream/%76${path.slice(1)}`,
      `/v1/stream/mallory/../${path}`,
      `/v1/stream/mallory/%2e%2e/${path}`,
      `/v1/stream/mallory%2f..%2f${path}`,
      `/v1/stream//${path}`,
      `/v1/stream/${path}?offset=-1`,
      `/v1/stream/${path}#x`,
      `/v1/stream/mallory/x, /v1/stream/${path}`,
      `/v1/stream/${path}, /v1/stream/mallory/x`,
    ]
    const tokens = [mallory(), mallory({ stream: "*" }), mallory({ stream: "victim/*" }), makeToken(keys.victim, { sub: "victim", scope: "manage" })]
    const others = spellings(missing)
    for (const [index, from] of spellings(private_).entries()) {
      for (const [nth, token] of tokens.entries()) {
        const path = `${nth === 3 ? "victim" : "mallory"}/${unique()}`
        const fork = (source, more = {}) =>
          ask("PUT", `/v1/stream/${path}`, { headers: { ...BYTES, ...bearer(token), "stream-forked-from": source, ...more } })
        const there = await fork(from)
        // The path may name one of mallory's own streams, which does not exist.
        expect([400, 403, 404], `${from}: ${there.status}`).toContain(there.status)
        expect(shape(there), from).toEqual(shape(await fork(others[index])))
        expect(shape(await fork(from, { "stream-fork-offset": "0000000000000000_0000000000000001" })), from).toEqual(shape(there))
        await server.stream(path).ask("HEAD", { headers: nth === 3 ? victims() : own(), status: 404 })
      }
    }
    // A second header is another source, for the Worker as for the stream's object.
    const connection = await connect()
    const [target, source] = [`/v1/stream/mallory/${unique()}`, `/v1/stream/mallory/${unique()}`]
    await ask("PUT", source, { headers: { ...BYTES, ...own() } })
    const lines = [source, `/v1/stream/${private_.path}`].map((from) => `stream-forked-from: ${from}\r\n`)
    for (const sources of [lines, lines.toReversed()]) {
      connection.send(`PUT ${target} HTTP/1.1\r\nhost: x\r\nauthorization: ${own().authorization}\r\n${sources.join("")}\r\n`)
      expect((await connection.reply("PUT")).status).toBeGreaterThanOrEqual(400)
    }
    connection.close()
    await expectUntouched()
  })

  test("anyone can read a public stream, and only its project can change it", async () => {
    for (const headers of [{}, own(), bearer("x")]) {
      expect((await public_.ask("GET", { headers, status: 200 })).text).toBe("for all")
      for (const [method, more, body] of [
        ["POST", BYTES, "x"],
        ["POST", CLOSED, undefined],
        ["PUT", { ...BYTES, "stream-public": "true" }, undefined],
        ["PUT", JSON_TYPE, undefined],
        ["DELETE", {}, undefined],
      ]) {
        expect([401, 403]).toContain((await public_.ask(method, { headers: { ...headers, ...more }, body })).status)
      }
    }
    await expectUntouched()
  })
})

describe("from another site, or with a cache in front", () => {
  const EVIL = { origin: "https://evil.example" }
  const cookie = () => ({ cookie: `stream-token=${makeToken(keys.victim, { sub: "victim" })}` })

  test("a browser with the victim's cookie gives scripts of another site no data and no effect", async () => {
    const read = await private_.ask("GET", { headers: { ...EVIL, ...cookie() }, status: 200 })
    expect(read.header("access-control-allow-origin")).toBeNull()
    expect(read.header("access-control-allow-credentials")).toBeNull()
    expect(read.header("cross-origin-resource-policy")).toBe("same-origin")
    for (const method of ["POST", "PUT", "DELETE"]) {
      const body = method === "POST" ? "x" : undefined
      const reply = await private_.ask(method, { headers: { ...BYTES, ...EVIL, ...cookie() }, body })
      expect(reply.status).toBe(401)
    }
    for (const origin of ["null", "https://app.example.evil.example", "https://app.example@evil.example", "http://app.example"]) {
      const preflight = await private_.ask("OPTIONS", { headers: { origin, "access-control-request-method": "GET" } })
      expect([preflight.status, preflight.header("access-control-allow-origin")]).toEqual([204, null])
    }
    await expectUntouched()
  })

  test("OPTIONS has the same response for every stream", async () => {
    const answers = [private_, missing, public_].map((stream) => ask("OPTIONS", `/v1/stream/${stream.path}`, { headers: EVIL }))
    const [one, ...others] = (await Promise.all(answers)).map(shape)
    for (const other of others) expect(other).toEqual(one)
  })

  test("no cache may store a response to a request with a token, nor a refusal", async () => {
    const token = makeToken(keys.victim, { sub: "victim" })
    for (const query of [...READS, ...LIVE]) {
      const separator = query === "" ? "?" : "&"
      for (const [headers, secret] of [
        [victims(), ""],
        [cookie(), ""],
        [{}, `${separator}token=${token}`],
      ]) {
        const reply = await fetch(`${private_.url}${query}${secret}`, { headers })
        const cache = reply.headers.get("cache-control")
        await reply.body?.cancel()
        expect(cache, query).not.toMatch(/public|s-maxage|max-age=[1-9]|stale/u)
        expect(cache, query).toMatch(/private|no-store/u)
        if (secret || headers.cookie) expect(cache, query).toMatch(/no-store/u)
      }
      const refused = await fetch(`${private_.url}${query}`)
      expect([refused.status, refused.headers.get("cache-control")]).toEqual([401, "no-store"])
      await refused.body?.cancel()
    }
  })

  test("a cache may store a public stream's response only if it is the same for all clients", async () => {
    const rest = "?offset=0000000000000000_0000000000000001&live=long-poll"
    const plain = await public_.ask("GET", { query: rest, status: 200 })
    expect(plain.header("cache-control")).toMatch(/^public/u)
    expect(plain.header("vary")).toBe("Origin")
    const withToken = await public_.ask("GET", { query: `${rest}&token=${mallory()}`, status: 200 })
    expect(withToken.header("cache-control")).toBe("private, no-store")
    // A guessed entity tag discloses nothing about a stream that is not public.
    for (const stream of [private_, missing]) {
      expect((await stream.ask("GET", { headers: { "if-none-match": '"1:0000000000000000_0000000000000000"' } })).status).toBe(401)
    }
  })
})
