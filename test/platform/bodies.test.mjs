// Requests byte by byte on plain workerd: bodies of all sizes and framings, connections that continue after a refusal,
// and the headers of every response.

import { createHash, randomBytes } from "node:crypto"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { HttpConnection } from "./raw.mjs"
import { BYTES, CLOSED, JSON_TYPE, LONG_MS, TEXT, numbers, producer } from "./support.mjs"
import { scratch, startWorkerd, unique } from "./support.mjs"

const MIB = 2 ** 20
const APPEND_MAX_BYTES = 16 * MIB

let server
beforeAll(async () => {
  server = await startWorkerd(await scratch(), { LONG_POLL_TIMEOUT_SECONDS: "1", SSE_LIFETIME_SECONDS: "1" })
})
afterAll(() => server?.kill())

const connect = () => HttpConnection.open(server.url)
const created = async (name, headers = BYTES, body = undefined) => {
  const stream = server.stream(unique(name))
  await stream.create(headers, body)
  return { stream, target: `/v1/stream/${stream.path}` }
}
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex")
const stored = async (stream) => Buffer.concat((await stream.readAll()).map(({ bytes }) => bytes))
const codeOf = ({ text }) => JSON.parse(text).error.code

/** The same bytes in pieces of this size. */
const pieces = (bytes, size) =>
  numbers(Math.ceil(bytes.length / size)).map((index) => bytes.subarray(index * size, (index + 1) * size))

test("a Host that is no name or address is refused, and the connection continues", async () => {
  const { stream, target } = await created("host")
  const connection = await connect()
  const wrong = ["a/b", "a?x", "a#x", "a\\b", "a b", "a@b", "a,b", "a:b", "[::1", "a:99999", "1.2.3.4.5"].map((host) => `host: ${host}`)
  wrong.push("host: test\r\nhost: test", "host: test\r\nhost: evil.example", "host: a/v1/stream")
  for (const lines of wrong) {
    for (const [request, body] of [["GET", ""], ["POST", "x"], ["PUT", ""], ["GET", ""], ["OPTIONS", ""]]) {
      // A valid request in between: the server remembers its Host.
      expect((await connection.ask("POST", target, { headers: BYTES, body: "y" })).status).toBe(204)
      connection.send(`${request} ${target} HTTP/1.1\r\n${lines}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      const reply = await connection.reply(request)
      // A preflight may succeed: the request that follows it has the same Host, and is refused.
      expect([lines, request, reply.status]).toEqual([lines, request, request === "OPTIONS" ? 204 : 400])
      if (request === "OPTIONS") continue
      expect([codeOf(reply), reply.header("cache-control")]).toEqual(["invalid_header", "no-store"])
    }
  }
  // workerd refuses these itself.
  for (const lines of ["host: ", "host: \xff", "x: no host"]) {
    connection.send(`GET ${target} HTTP/1.1\r\n${lines}\r\n\r\n`)
    expect((await connection.reply("GET")).status).toBe(400)
  }
  for (const host of ["127.0.0.1:8787", "streams.example", "[::1]:80", "A_b.example"]) {
    expect((await connection.ask("GET", target, { headers: { host } })).status).toBe(200)
  }
  connection.close()
  expect((await stored(stream)).toString()).toBe("y".repeat(wrong.length * 5))
})

describe.concurrent("a chunked body", () => {
  for (const size of [1, 7, 4096, 100_000]) {
    test(`is stored as one append: pieces of ${size}`, async () => {
      const { stream, target } = await created("chunked")
      const bytes = randomBytes(Math.min(300_001, size * 1000 + 1))
      const connection = await connect()
      const reply = await connection.ask("POST", target, { headers: BYTES, body: pieces(bytes, size) })
      expect(reply.status).toBe(204)
      expect(reply.header("stream-next-offset")).toBe(`${"0".repeat(16)}_${`${bytes.length}`.padStart(16, "0")}`)
      expect(sha256(await stored(stream))).toBe(sha256(bytes))
    })
  }

  test("is one JSON batch, wherever it is split", async () => {
    const { stream, target } = await created("chunked", JSON_TYPE)
    const text = '[{"a":"é𝄞\\n"}, 1.0 ,[2]]'
    const connection = await connect()
    const reply = await connection.ask("POST", target, { headers: JSON_TYPE, body: pieces(Buffer.from(text), 1) })
    expect(reply.status).toBe(204)
    expect((await stream.read()).text).toBe('[{"a":"é𝄞\\n"},1.0,[2]]')
  })

  test("does not block other appends while it is slow, and is stored once it is complete", async () => {
    const { stream, target } = await created("slow")
    const connection = await connect()
    connection.begin("POST", target, { ...BYTES, "transfer-encoding": "chunked" })
    connection.sendChunk("slow ")
    await stream.append("quick ")
    expect((await stream.read()).text).toBe("quick ")
    connection.sendChunk("and ")
    await stream.append("quicker ")
    connection.sendChunk("whole")
    connection.sendChunk("")
    expect((await connection.reply("POST")).status).toBe(204)
    expect((await stream.read()).text).toBe("quick quicker slow and whole")
  })

  test("is no append if it is empty, but can close the stream", async () => {
    const { stream, target } = await created("empty")
    const connection = await connect()
    const refused = await connection.ask("POST", target, { headers: BYTES, body: [] })
    expect([refused.status, codeOf(refused)]).toEqual([400, "empty_body"])
    const closed = await connection.ask("POST", target, { headers: { ...BYTES, ...CLOSED }, body: [] })
    expect([closed.status, closed.header("stream-closed")]).toEqual([204, "true"])
    expect((await stream.read()).text).toBe("")
  })
})

describe("the limit of 16 MiB", () => {
  const exact = randomBytes(APPEND_MAX_BYTES)
  const framings = { "with a length": (bytes) => bytes, chunked: (bytes) => pieces(bytes, MIB) }

  for (const [framing, framed] of Object.entries(framings)) {
    test(`an append of exactly 16 MiB is stored: ${framing}`, async () => {
      const { stream, target } = await created("exact")
      const connection = await connect()
      const reply = await connection.ask("POST", target, { headers: BYTES, body: framed(exact), millis: LONG_MS })
      expect(reply.status).toBe(204)
      expect(sha256(await stored(stream))).toBe(sha256(exact))
    }, LONG_MS)

    for (const [size, bytes] of [
      ["16 MiB and a byte", APPEND_MAX_BYTES + 1],
      ["40 MB", 40_000_000],
    ]) {
      test(`${size} are refused, and the connection continues: ${framing}`, async () => {
        const { stream, target } = await created("large", BYTES, "before")
        const connection = await connect()
        const body = framed(Buffer.alloc(bytes, "x"))
        const refused = await connection.ask("POST", target, { headers: BYTES, body, millis: LONG_MS })
        expect(refused.status).toBe(413)
        expect(refused.header("content-type")).toBe("application/json")
        const { code, message } = JSON.parse(refused.text).error
        expect(code).toBe("body_too_large")
        expect(message).toContain(`${APPEND_MAX_BYTES} bytes`)
        expect((await connection.ask("POST", target, { headers: BYTES, body: " after" })).status).toBe(204)
        expect((await stream.read()).text).toBe("before after")
      }, LONG_MS)
    }
  }

  test("a JSON message and a PUT may have 16 MiB, too", async () => {
    const text = JSON.stringify("x".repeat(APPEND_MAX_BYTES - 2))
    const { stream } = await created("json", JSON_TYPE, text)
    await stream.append(text, JSON_TYPE)
    const whole = sha256(`[${text}]`)
    const chunks = await stream.readAll()
    expect(chunks.map(({ bytes }) => sha256(bytes))).toEqual([whole, whole])
    const other = server.stream(unique("json"))
    await other.ask("PUT", { headers: JSON_TYPE, body: `${text} `, status: 413 })
    await other.ask("HEAD", { status: 404 })
  }, LONG_MS)
})

describe.concurrent("a refusal leaves the connection usable", () => {
  const paths = {}
  beforeAll(async () => {
    paths.bytes = (await created("bytes", BYTES, "kept")).target
    paths.json = (await created("json", JSON_TYPE, "[1]")).target
    paths.closed = (await created("closed", { ...BYTES, ...CLOSED }, "kept")).target
    paths.missing = `/v1/stream/${unique("missing")}`
  })

  const refusals = [
    ["a bad path", "POST", () => "/v1/stream/a//b", BYTES, 400, "invalid_path"],
    ["a bad path", "PUT", () => "/v1/stream/a/../b", BYTES, 400, "invalid_path"],
    ["an unknown route", "POST", () => "/nowhere", BYTES, 404, "unknown_route"],
    ["a reserved path", "PUT", () => "/v1/stream/__ds/x", JSON_TYPE, 404, "SUBSCRIPTION_NOT_FOUND"],
    ["no method of /health", "POST", () => "/health", BYTES, 405, "method_not_allowed"],
    ["no method of streams", "PATCH", () => paths.bytes, BYTES, 405, "method_not_allowed"],
    ["no content type", "POST", () => paths.bytes, {}, 400, "missing_content_type"],
    ["another content type", "POST", () => paths.bytes, TEXT, 409, "content_type_mismatch"],
    ["no stream", "POST", () => paths.missing, BYTES, 404, "stream_not_found"],
    ["a closed stream", "POST", () => paths.closed, BYTES, 409, "stream_closed"],
    ["no JSON", "POST", () => paths.json, JSON_TYPE, 400, "invalid_json"],
    ["half a producer", "POST", () => paths.bytes, { ...BYTES, "producer-id": "p" }, 400, "invalid_header"],
    ["a broken epoch", "POST", () => paths.bytes, { ...BYTES, ...producer(0, { epoch: "x" }) }, 400, "invalid_header"],
    ["a producer's gap", "POST", () => paths.bytes, { ...BYTES, ...producer(7) }, 409, "producer_gap"],
    ["an empty Stream-Seq", "POST", () => paths.bytes, { ...BYTES, "stream-seq": "" }, 400, "invalid_header"],
    ["another stream there", "PUT", () => paths.bytes, JSON_TYPE, 409, "stream_exists"],
    ["a broken TTL", "PUT", () => paths.missing, { ...BYTES, "stream-ttl": "1.5" }, 400, "invalid_header"],
    ["a fork", "PUT", () => paths.missing, { ...BYTES, "stream-forked-from": "/x" }, 400, "invalid_header"],
    ["a broken query", "GET", () => `${paths.bytes}?offset=x`, {}, 400, "invalid_query"],
  ]
  const bodies = { "a few bytes": "some bytes", "a megabyte": Buffer.alloc(MIB, "x") }

  for (const [why, method, target, headers, status, code] of refusals) {
    test(`${method}: ${why}`, async () => {
      for (const [size, body] of Object.entries(bodies)) {
        for (const framed of [body, [body]]) {
          const connection = await connect()
          for (const _ of numbers(2)) {
            const refused = await connection.ask(method, target(), { headers, body: framed })
            expect([refused.status, codeOf(refused)], size).toEqual([status, code])
          }
          const next = await connection.ask("GET", paths.bytes)
          expect([next.status, next.text], size).toEqual([200, "kept"])
        }
      }
    })
  }

  test("a refused body in tiny pieces is cancelled before its end", async () => {
    const connection = await connect()
    connection.begin("POST", "/nowhere", { ...BYTES, "transfer-encoding": "chunked" })
    connection.send("1\r\nx\r\n".repeat(100))
    const refused = await connection.reply("POST")
    expect([refused.status, codeOf(refused)]).toEqual([404, "unknown_route"])
  })

  // Bodies where the method expects none.
  for (const [method, query, status] of [
    ["OPTIONS", "", 204],
    ["GET", "?offset=-1", 200],
    ["HEAD", "", 200],
    ["GET", "?offset=-1&live=long-poll", 200],
    ["GET", "?offset=now&live=long-poll", 204],
    ["GET", "?offset=-1&live=sse", 200],
    ["GET", "?offset=x&live=sse", 400],
  ]) {
    test(`${method}${query} ignores a body`, async () => {
      for (const body of [Buffer.alloc(MIB, "x"), [Buffer.alloc(MIB, "x")]]) {
        const connection = await connect()
        const reply = await connection.ask(method, `${paths.bytes}${query}`, { headers: BYTES, body })
        expect(reply.status).toBe(status)
        expect((await connection.ask("GET", paths.bytes)).text).toBe("kept")
      }
    })
  }

  test("pipelined requests are answered in order", async () => {
    const connection = await connect()
    const targets = [paths.bytes, "/nowhere", "/health", paths.json, paths.missing, paths.bytes]
    for (const target of targets) connection.begin("GET", target)
    const statuses = []
    for (const _ of targets) statuses.push((await connection.reply("GET")).status)
    expect(statuses).toEqual([200, 404, 200, 200, 404, 200])
  })

  test("Expect: 100-continue is answered, whatever follows", async () => {
    const connection = await connect()
    const { stream, target } = await created("expect")
    for (const [at, status] of [
      [target, 204],
      [paths.missing, 404],
      ["/nowhere", 404],
    ]) {
      connection.begin("POST", at, { ...BYTES, expect: "100-continue", "content-length": "5" })
      expect((await connection.reply("POST")).status).toBe(100)
      connection.send("hello")
      expect((await connection.reply("POST")).status).toBe(status)
    }
    expect((await stream.read()).text).toBe("hello")
  })
})

describe("a client that disconnects during its upload", () => {
  const begun = async (target, headers, part) => {
    const connection = await connect()
    connection.begin("POST", target, { ...BYTES, ...headers })
    connection.send(part)
    return connection
  }
  const framings = {
    "before its length": [{ "content-length": "1000" }, "some of it"],
    "between chunks": [{ "transfer-encoding": "chunked" }, "4\r\nsome\r\n"],
    "inside a chunk": [{ "transfer-encoding": "chunked" }, "40\r\nsome"],
    "before the end of a body over the limit": [{ "content-length": "20000000" }, "some of it"],
  }

  for (const [where, [headers, part]] of Object.entries(framings)) {
    test(`stores nothing, and causes no server error: ${where}`, async () => {
      const { stream, target } = await created("gone", BYTES, "kept")
      // A client that only stops sending receives the refusal.
      const half = await begun(target, headers, part)
      half.finish()
      const refused = await half.reply("POST")
      expect([refused.status, codeOf(refused)]).toEqual([400, "broken_body"])
      // A client that resets the connection cannot. The stream still serves other clients.
      for (const _ of numbers(5)) {
        const connection = await begun(target, headers, part)
        connection.reset()
        await stream.append(".")
      }
      expect((await stream.read()).text).toBe("kept.....")
      expect(server.log.trouble).toEqual([])
    })
  }
})

/** Checks that a page may send a request to this target, and read the refusal. */
async function expectPreflight(connection, target) {
  const headers = { origin: "https://app.example", "access-control-request-method": "PUT", "access-control-request-headers": "x-mine" }
  const preflight = await connection.ask("OPTIONS", target, { headers })
  expect([preflight.status, preflight.header("access-control-allow-origin")], target).toEqual([204, "*"])
  expect(list(preflight, "access-control-allow-headers")).toContain("x-mine")
  const refused = await connection.ask("PUT", target, { headers })
  expect([refused.status >= 400, refused.header("access-control-allow-origin")], target).toEqual([true, "*"])
}

describe.concurrent("paths as sent on the wire", () => {
  for (const path of [
    ...["", "/", "a//b", "a/", "a/../b", "..", "a/.", "./a", "a/%2e%2e/b", "a/%2E", "a%2F%2Fb", "a\\b"],
    ...["a%00b", "a%0Ab", "a%7Fb", "%zz", "a%", "a%2", "%ff", "%c0%af", "x".repeat(1025), "%C3%A9".repeat(513)],
  ]) {
    const target = `/v1/stream/${path}`
    test(`400: ${target.slice(0, 60)}`, async () => {
      const connection = await connect()
      for (const method of ["PUT", "GET", "POST", "DELETE"]) {
        const reply = await connection.ask(method, target, { headers: BYTES })
        expect([reply.status, codeOf(reply)], method).toEqual([400, "invalid_path"])
      }
      await expectPreflight(connection, target)
    })
  }

  const elsewhere = ["/v1/stream", "/v1", "/", "*", "/streams", "/V1/stream/a", "/v1//stream/a", "//streams/a"]
  for (const target of [...elsewhere, "/v1/../v1/stream/a"]) {
    test(`404: ${target}`, async () => {
      const connection = await connect()
      for (const method of ["PUT", "GET", "POST", "DELETE"]) {
        const reply = await connection.ask(method, target, { headers: BYTES })
        expect([reply.status, codeOf(reply)], method).toEqual([404, "unknown_route"])
      }
      await expectPreflight(connection, target)
    })
  }

  const id = crypto.randomUUID()
  for (const [name, ...others] of [
    [`${id}/a/b`, `${id}%2Fa%2fb`, `${id}/%61/b`, `${id}/a/b?offset=-1`, `${id}/a/b?x=/../`],
    [`${id}%20a`, `${id}%20%61`],
    [`${id}-%C3%A9-%F0%9D%84%9E`, `${id}-%c3%a9-%f0%9d%84%9e`],
    [`${id}%5Cb`, `${id}%5cb`],
    [`${id};v=1,a+b@c:d!$&'()*~_-.`, `${id}%3Bv%3D1%2Ca%2Bb%40c%3Ad%21%24%26%27%28%29%2A%7E_-.`],
    [`${id}..a/...`, `${id}%2E.a/.%2e.`],
    [`${id}${"x".repeat(741 - id.length)}`, `${id}${"%78".repeat(741 - id.length)}`],
  ]) {
    test(`the same stream: ${name.slice(id.length, id.length + 40)}`, async () => {
      const connection = await connect()
      const created = await connection.ask("PUT", `/v1/stream/${name}`, { headers: TEXT, body: name })
      expect(created.status).toBe(201)
      expect(created.header("location")).toMatch(/^http:\/\/test\/v1\/stream\//u)
      for (const other of others) {
        const reply = await connection.ask("GET", `/v1/stream/${other}`)
        expect([reply.status, reply.text], other).toEqual([200, name])
      }
      const location = created.header("location").slice("http://test".length)
      expect((await connection.ask("GET", location)).text).toBe(name)
    })
  }

  test("paths that differ in case or by a segment are different streams", async () => {
    const connection = await connect()
    const { stream, target } = await created("case")
    for (const other of [target.replace("case", "CASE"), `${target}/a`, `${target}%20`]) {
      expect((await connection.ask("HEAD", other)).status).toBe(404)
    }
    await stream.ask("HEAD", { status: 200 })
  })
})

describe("the headers of every response", () => {
  test("HEAD has no body, whatever the status", async () => {
    const { target } = await created("head", TEXT, "text")
    const connection = await connect()
    for (const [at, status] of [
      [target, 200],
      ["/health", 200],
      [`/v1/stream/${unique("missing")}`, 404],
      ["/nowhere", 404],
      ["/v1/stream/a//b", 400],
      ["/v1/stream/__ds/a", 404],
    ]) {
      expect((await connection.ask("HEAD", at)).status, at).toBe(status)
      // If there were a body, the next reply would not begin here.
      expect((await connection.ask("GET", target)).text, at).toBe("text")
    }
  })

  test("CORS: the preflight allows the protocol's request headers, and each response exposes its response headers", async () => {
    const { target } = await created("cors")
    const connection = await connect()
    const names = [
      ["Authorization", "Content-Type", "If-None-Match", "Last-Event-ID"],
      ["Stream-Seq", "Stream-TTL", "Stream-Expires-At", "Stream-Closed"],
      ["Stream-Forked-From", "Stream-Fork-Offset", "Producer-Id", "Producer-Epoch", "Producer-Seq"],
    ].flat()
    for (const method of ["PUT", "POST", "GET", "HEAD", "DELETE"]) {
      const preflight = await connection.ask("OPTIONS", target, {
        headers: {
          origin: "https://app.example",
          "access-control-request-method": method,
          "access-control-request-headers": names.join(","),
        },
      })
      expect(preflight.status).toBe(204)
      expect(list(preflight, "access-control-allow-methods")).toContain(method.toLowerCase())
      const allowed = list(preflight, "access-control-allow-headers")
      for (const name of names) expect(allowed).toContain(name.toLowerCase())
      expect(["*", "https://app.example"]).toContain(preflight.header("access-control-allow-origin"))
      expect(Number(preflight.header("access-control-max-age"))).toBeGreaterThan(0)
    }
    const reply = await connection.ask("GET", target, { headers: { origin: "https://app.example" } })
    const exposed = list(reply, "access-control-expose-headers")
    for (const name of [
      ["Stream-Next-Offset", "Stream-Cursor", "Stream-Up-To-Date", "Stream-Closed", "Stream-SSE-Data-Encoding"],
      ["Producer-Epoch", "Producer-Seq", "Producer-Expected-Seq", "Producer-Received-Seq", "ETag", "Location"],
    ].flat()) {
      expect(exposed).toContain(name.toLowerCase())
    }
  })

  test("every response has Cache-Control, nosniff, CORP, CSP and CORS headers", async () => {
    const stream = server.stream(unique("sweep"))
    const target = `/v1/stream/${stream.path}`
    await stream.create(BYTES, "old life")
    await stream.delete()
    await stream.create(BYTES, "abc")
    const tag = (await stream.read()).header("etag")
    const closed = (await created("closed", { ...BYTES, ...CLOSED }, "end")).target
    const connection = await connect()

    const routes = ["/health", "/", "/v1/stream", "/v1/stream/", "/v1/stream/__ds/x", "/v1/stream/__registry__/x"]
    const streams = [target, closed, `/v1/stream/${unique("missing")}`]
    const queries = ["?offset=-1", "?offset=now", "?offset=x", "?offset=-1&offset=-1", "?offset=9999999999999999_0"]
    const live = ["-1", "now", "0000000000000000_0000000000000001"].flatMap((offset) => [
      `?offset=${offset}&live=long-poll`,
      `?offset=${offset}&live=sse`,
    ])
    const methods = ["GET", "HEAD", "OPTIONS", "PATCH", "PUT"]
    const requests = [
      ...routes.flatMap((at) => [...methods, "POST", "DELETE"].map((method) => [method, at])),
      ...streams.flatMap((at) => methods.map((method) => [method, at])),
      ...streams.flatMap((at) => [...queries, ...live].map((query) => ["GET", `${at}${query}`])),
      ["GET", `${target}?offset=-1`, { "if-none-match": tag }],
      ["GET", `${target}?live=other`],
      ["PUT", `${target}-new`, BYTES],
      ["PUT", `${target}-fork`, { ...BYTES, "stream-forked-from": target }],
      ["PUT", `${target}-ttl`, { ...BYTES, "stream-ttl": "x" }],
      ["PUT", target, JSON_TYPE],
      ["POST", target, BYTES],
      ["POST", target, BYTES, "d"],
      ["POST", target, {}, "d"],
      ["POST", target, { ...BYTES, ...producer(0) }, "e"],
      ["POST", target, { ...BYTES, ...producer(0) }, "e"],
      ["POST", target, { ...BYTES, ...producer(5) }, "e"],
      ["POST", target, { ...BYTES, ...producer(0, { epoch: 2 }) }, "f"],
      ["POST", target, { ...BYTES, ...producer(1, { epoch: 1 }) }, "f"],
      ["POST", closed, BYTES, "d"],
      ["POST", closed, CLOSED],
      ["POST", target, BYTES, Buffer.alloc(APPEND_MAX_BYTES + 1)],
      ["POST", `${target}-new`, CLOSED],
      ["DELETE", `${target}-new`],
      ["DELETE", `${target}-missing`],
    ]
    const statuses = new Set()
    for (const [method, at, headers, body] of requests) {
      const sent = { origin: "https://app.example", ...headers }
      const reply = await connection.ask(method, at, { headers: sent, body, millis: LONG_MS })
      const what = `${method} ${at}: ${reply.status}`
      statuses.add(reply.status)
      expect(reply.header("cache-control"), what).toMatch(
        /^(no-store|no-cache|no-cache, no-transform|public, max-age=\d+, stale-while-revalidate=\d+, stale-if-error=0)$/u,
      )
      expect(reply.header("x-content-type-options"), what).toBe("nosniff")
      expect(reply.header("cross-origin-resource-policy"), what).toBe("cross-origin")
      expect(reply.header("content-security-policy"), what).toBe("default-src 'none'; frame-ancestors 'none'; sandbox")
      expect(reply.header("access-control-allow-origin"), what).toBe("*")
      if (reply.status >= 400) expect(reply.header("cache-control"), what).toBe("no-store")
      if (reply.status >= 400 && method !== "HEAD") {
        expect(reply.header("content-type"), what).toBe("application/json")
        expect(JSON.parse(reply.text).error, what).toEqual({
          code: expect.stringMatching(/^([a-z_]+|[A-Z_]+)$/u),
          message: expect.stringMatching(/^[A-Z].*\.$/u),
        })
      }
    }
    const numerically = [...statuses].sort((one, other) => one - other)
    expect(numerically).toEqual([200, 201, 204, 304, 400, 403, 404, 405, 409, 410, 413])
    expect(server.log.trouble).toEqual([])
  }, LONG_MS)
})

/** The words of a header, in lower case. */
function list(reply, name) {
  return reply.header(name).toLowerCase().split(/, */u)
}
