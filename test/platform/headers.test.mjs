// Header values as bytes. workerd decodes them as UTF-8 and replaces invalid bytes with U+FFFD, so different byte
// strings could become the same value. And bodies with a Content-Encoding.

import { gzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { HttpConnection } from "./raw.mjs"
import { BYTES, CLOSED, JSON_TYPE, TEXT, numbers, producer, scratch, startWorkerd, unique } from "./support.mjs"

/** Bytes as `HttpConnection` sends them: Latin-1 letters, half a character, whole characters, and U+FFFD itself. */
const NOT_ASCII = ["\xc4", "\xd6", "\xe8", "\xe9", "a\xff", "\xc3\xa4", "\xf0\x9d\x84\x9e", "\xef\xbf\xbd", "\xed\xa0\x80", "a\xa0", "\x7f", "a\tb", "a\x01b"]

/** More appends than an isolate sends to one stream separately, so most of them are grouped. */
const WRITERS = 24

let server
beforeAll(async () => {
  server = await startWorkerd(await scratch())
})
afterAll(() => server?.kill())

const connect = () => HttpConnection.open(server.url)
const created = async (headers = TEXT) => {
  const stream = server.stream(unique("headers"))
  await stream.create(headers)
  return { stream, target: `/v1/stream/${stream.path}` }
}
const errorOf = ({ text }) => JSON.parse(text).error
const stored = async (stream) => (await stream.readAll()).map(({ text }) => text).join("")
const isEmpty = async (stream) => expect([await stored(stream), (await stream.ask("HEAD")).next]).toEqual(["", `${"0".repeat(16)}_${"0".repeat(16)}`])

/** Sends the same requests one after another, and then all at the same time. */
async function everyWay(target, requests) {
  const connection = await connect()
  const alone = []
  for (const request of requests) alone.push(await connection.ask("POST", target, request))
  connection.close()
  const writers = await Promise.all(numbers(WRITERS).map(connect))
  const together = await Promise.all(writers.map((writer, at) => writer.ask("POST", target, requests[at % requests.length])))
  for (const writer of writers) writer.close()
  return [...alone, ...together]
}

describe("bytes that are not visible ASCII", () => {
  test("are refused in an append's headers, and never make two producers one", async () => {
    for (const headersOf of [
      (value) => producer(0, { id: value }),
      (value) => ({ "stream-seq": value }),
      (value) => ({ ...producer(0), "producer-seq": `0${value}` }),
      (value) => ({ ...producer(0), "producer-epoch": `0${value}` }),
      (value) => ({ "stream-closed": `true${value}` }),
    ]) {
      const { stream, target } = await created()
      const requests = NOT_ASCII.map((value) => ({ headers: { ...TEXT, ...headersOf(value) }, body: value }))
      for (const reply of await everyWay(target, requests)) {
        expect([reply.status, errorOf(reply).code]).toEqual([400, "invalid_header"])
        expect(errorOf(reply).message).toMatch(/^The header (Producer|Stream)-\w+ cannot be used: .*percent-encode/u)
      }
      await isEmpty(stream)
    }
    expect(server.log.matching({ event: "appended_together" }).length).toBeGreaterThan(0)
  })

  test("name two producers if they are percent-encoded", async () => {
    const { stream, target } = await created()
    const connection = await connect()
    for (const id of ["Ä", "Ö"].map(encodeURIComponent)) {
      for (const status of [200, 204]) {
        const reply = await connection.ask("POST", target, { headers: { ...TEXT, ...producer(0, { id }) }, body: id })
        expect(reply.status).toBe(status)
      }
    }
    expect(await stored(stream)).toBe("%C3%84%C3%96")
  })

  test("are refused in a create's headers, and create nothing", async () => {
    const source = await created()
    const connection = await connect()
    const path = unique("none")
    for (const value of NOT_ASCII) {
      for (const headers of [
        { "stream-forked-from": `/v1/stream/${value}` },
        { "stream-forked-from": source.target, "stream-fork-offset": `now${value}` },
        { "stream-forked-from": source.target, "stream-fork-sub-offset": `0${value}` },
        { "stream-ttl": `60${value}` },
        { "stream-expires-at": `2099-01-01T00:00:00${value}01:00` },
        { "stream-retention": `60${value}` },
        { "stream-closed": value },
        { "stream-public": value },
        { "stream-reader-key": `new${value}` },
      ]) {
        const reply = await connection.ask("PUT", `/v1/stream/${path}`, { headers: { ...TEXT, ...headers } })
        expect([headers, reply.status, errorOf(reply).code]).toEqual([headers, 400, "invalid_header"])
        expect(errorOf(reply).message).toContain("percent-encode")
      }
    }
    expect((await connection.ask("HEAD", `/v1/stream/${path}`)).status).toBe(404)
  })

  test("are accepted in a content type only as UTF-8 in quotes, and stay unchanged", async () => {
    const connection = await connect()
    const type = (value) => `text/plain ;title="${value}";charset=utf-8`
    const path = () => `/v1/stream/${unique("type")}`
    for (const value of ["\xc3\xa4", "\xf0\x9d\x84\x9e", "\xc2\x80\xc2\x85", "\xef\xbb\xbf", "\xc2\xa0", "a\tb"]) {
      const target = path()
      const headers = { "content-type": type(value) }
      const put = await connection.ask("PUT", target, { headers, body: "x" })
      expect([value, put.status, put.header("content-type")]).toEqual([value, 201, type(value)])
      expect((await connection.ask("PUT", target, { headers })).status).toBe(200)
      expect((await connection.ask("POST", target, { headers, body: "y" })).status).toBe(204)
      const live = connect().then((reader) => reader.ask("GET", `${target}?offset=now&live=long-poll`))
      await server.log.until({ event: "served", method: "GET", stream: target.slice("/v1/stream/".length) })
      await connection.ask("POST", target, { headers: TEXT, body: "z" })
      for (const reply of [await connection.ask("GET", target), await connection.ask("HEAD", target), await live]) {
        expect([value, reply.status, reply.header("content-type")]).toEqual([value, 200, type(value)])
      }
    }
    for (const value of ["\xc4", "\xe8", "\xed\xa0\x80", "\xef\xbf\xbd", "a\xa0", "\x01", "\x7f"]) {
      const target = path()
      const put = await connection.ask("PUT", target, { headers: { "content-type": type(value) } })
      expect([value, put.status, errorOf(put).code]).toEqual([value, 400, "invalid_header"])
      expect((await connection.ask("HEAD", target)).status).toBe(404)
    }
    for (const value of ["\xc3\xa4", "\xe4"]) {
      for (const unquoted of [`text/pl${value}in`, `text/plain;a=${value}`, `text/plain${value}`, `${value}text/plain`]) {
        const put = await connection.ask("PUT", path(), { headers: { "content-type": unquoted } })
        expect([unquoted, put.status]).toEqual([unquoted, 400])
      }
    }
  })
})

describe("two Content-Type headers", () => {
  test("are refused for PUT and POST, and in grouped appends", async () => {
    const { stream, target } = await created()
    const connection = await connect()
    const lines = "content-type: text/plain\r\ncontent-type: text/plain"
    for (const [method, at, body] of [["PUT", `/v1/stream/${unique("two")}`, ""], ["PUT", target, ""], ["POST", target, "x"], ["POST", target, ""]]) {
      connection.send(`${method} ${at} HTTP/1.1\r\nhost: test\r\n${lines}\r\nstream-closed: true\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      const reply = await connection.reply(method)
      expect([method, reply.status, errorOf(reply).code]).toEqual([method, 400, "invalid_header"])
    }
    const joined = [{ headers: { "content-type": "text/plain, text/plain" }, body: "x" }]
    for (const reply of await everyWay(target, joined)) {
      expect([reply.status, errorOf(reply).code]).toEqual([400, "invalid_header"])
    }
    await isEmpty(stream)
    const quoted = [{ headers: { "content-type": 'text/plain ;a="b, c"' }, body: "x" }]
    for (const reply of await everyWay(target, quoted)) expect(reply.status).toBe(204)
    expect(await stored(stream)).toBe("x".repeat(WRITERS + 1))
  })
})

describe("a Content-Encoding", () => {
  const compressed = gzipSync(Buffer.alloc(100, "x"))

  test("is refused with 415 if there is a body, and stores nothing", async () => {
    const { stream, target } = await created(BYTES)
    const connection = await connect()
    const gzip = { "content-encoding": "gzip" }
    const requests = ["gzip", "br", "identity, GZIP", "deflate", "\xe8"].map((encoding) => ({
      headers: { ...BYTES, "content-encoding": encoding },
      body: compressed,
    }))
    const replies = await everyWay(target, requests)
    replies.push(await connection.ask("POST", target, { headers: { ...BYTES, ...gzip }, body: [compressed] }))
    replies.push(await connection.ask("POST", target, { headers: { ...BYTES, ...gzip, ...CLOSED }, body: compressed }))
    replies.push(await connection.ask("PUT", `${target}-new`, { headers: { ...BYTES, ...gzip }, body: compressed }))
    replies.push(await connection.ask("PUT", `${target}-new`, { headers: { ...BYTES, ...gzip }, body: Buffer.alloc(1 << 20) }))
    for (const reply of replies) {
      expect([reply.status, errorOf(reply).code, reply.header("accept-encoding")]).toEqual([415, "encoded_body", "identity"])
      expect(errorOf(reply).message).toContain("send it unencoded")
    }
    await isEmpty(stream)
    expect((await connection.ask("HEAD", `${target}-new`)).status).toBe(404)
  })

  test("is ignored without a body, and may be identity", async () => {
    const { stream, target } = await created(JSON_TYPE)
    const connection = await connect()
    const identity = [{ headers: { ...JSON_TYPE, "content-encoding": "Identity" }, body: "\xef\xbb\xbf1" }]
    for (const reply of await everyWay(target, identity)) expect(reply.status).toBe(204)
    const headers = { ...JSON_TYPE, "content-encoding": "gzip" }
    for (const [method, at, status] of [["PUT", target, 200], ["PUT", `${target}-new`, 201], ["GET", target, 200], ["HEAD", target, 200]]) {
      expect([method, (await connection.ask(method, at, { headers })).status]).toEqual([method, status])
    }
    expect((await connection.ask("POST", target, { headers: { ...headers, ...CLOSED } })).status).toBe(204)
    expect(JSON.parse(await stored(stream))).toEqual(numbers(WRITERS + 1).map(() => 1))
  })
})
