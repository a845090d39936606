// Attempts to make a real cache disclose private data, or return the wrong response to other clients.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { bearer, makeToken, secretKey } from "../tokens.mjs"
import { HttpConnection } from "../platform/raw.mjs"
import { BYTES, CLOSED, PATIENT, Stream, elsewhere, numbers, scratch, startWorkerd, unique } from "../platform/support.mjs"
import { isInstalled, startNginx } from "./nginx.mjs"

const keys = { victim: secretKey(), mallory: secretKey() }
const PROJECT_KEYS = JSON.stringify(Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, { keys: [key] }])))
const APP = { origin: "https://app.example" }
const EVIL = { origin: "https://evil.example" }
const CHUNK = 1024
/** No two chunks of the content are equal. */
const CONTENT = Array.from({ length: 1000 }, (_, index) => `${index} `).join("")

const offsetOf = (position) => `0000000000000000_${String(position).padStart(16, "0")}`

describe.skipIf(!isInstalled)("through nginx", () => {
  let worker, nginx
  const victim = () => bearer(makeToken(keys.victim, { sub: "victim" }))
  const mallory = () => bearer(makeToken(keys.mallory, { sub: "mallory" }))
  beforeAll(async () => {
    const vars = { PROJECT_KEYS, PUBLIC_STREAMS: "on", CORS_ORIGINS: APP.origin, CHUNK_MAX_BYTES: `${CHUNK}`, LONG_POLL_TIMEOUT_SECONDS: "1" }
    worker = await startWorkerd(await scratch(), vars)
    nginx = await startNginx(worker.url)
  })
  afterAll(async () => {
    await nginx?.stop()
    await worker?.kill()
  })

  async function ask(method, target, { headers = {}, body } = {}) {
    const from = { host: "streams.example", ...elsewhere() }
    const connection = await HttpConnection.open(nginx.url)
    try {
      return await connection.ask(method, target, { headers: { ...from, ...headers }, body })
    } finally {
      connection.close()
    }
  }

  /** Creates a stream with many offsets to read from, none of which has been requested yet. */
  async function created(headers = {}) {
    const stream = worker.stream(`victim/${unique()}`)
    const { header } = await stream.create({ ...BYTES, ...victim(), ...headers })
    await stream.append(CONTENT, { ...BYTES, ...victim() })
    // An offset one byte inside an append reads the whole append, so the positions start at 2.
    const places = numbers(100, 2).map((position) => ({
      query: `?offset=${offsetOf(position)}`,
      text: CONTENT.slice(position, position + CHUNK),
      next: offsetOf(position + CHUNK),
    }))
    return { stream, key: header("stream-reader-key"), target: `/v1/stream/${stream.path}`, places }
  }

  const tricks = [
    { range: "bytes=0-1" },
    { range: "bytes=0-1", "if-range": "*" },
    { "if-none-match": "*" },
    { "if-match": '"x"' },
    { "if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT" },
    { "if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT" },
    { "cache-control": "no-store" },
    { "cache-control": "max-age=999999, max-stale" },
    { pragma: "no-cache" },
    { "accept-encoding": "gzip, br" },
    { accept: "text/event-stream" },
    { "last-event-id": "-1" },
    { upgrade: "websocket", connection: "upgrade", "sec-websocket-key": "x", "sec-websocket-version": "13" },
    { host: "evil.example" },
    { "x-forwarded-host": "evil.example", "x-forwarded-proto": "http", forwarded: "host=evil.example" },
    { "x-http-method-override": "DELETE" },
    { "x-http-method-override": "HEAD" },
    { "x-original-url": "/v1/stream/mallory/x", "x-rewrite-url": "/health" },
    { "x-cache": "HIT", "x-kept-at": "0", age: "0" },
    { "content-length": "1" },
    { "stream-closed": "true" },
    { "stream-public": "true" },
    { "stream-stranger": "true" },
    { "stream-reader-key": "x" },
    { cookie: "stream-token=x" },
    { authorization: "Bearer x" },
    { authorization: "Basic eDp4" },
    EVIL,
    { origin: "null" },
  ]

  const bodyOf = (headers) => ("content-length" in headers ? "x" : undefined)

  test.each([
    ["of a public stream", { "stream-public": "true" }],
    ["of a private stream, under its reader key", {}],
  ])("a client's unusual headers do not change what others receive: %s", async (_, config) => {
    const { key, target, places } = await created(config)
    const isPublic = key === null
    for (const [index, headers] of tricks.entries()) {
      const { query, text, next } = places[index]
      const url = `${target}${query}${isPublic ? "" : `&rk=${key}`}`
      const what = JSON.stringify(headers)
      for (const more of [{}, mallory()]) {
        const { status, text: given } = await ask("GET", url, { headers: { ...more, ...headers }, body: bodyOf(headers) })
        if (isPublic) expect([200, 206, 304, 412], what).toContain(status)
        else expect([[401, 403].includes(status), given.includes(text)], what).toEqual([true, false])
      }
      for (let round = 0; round < 2; round += 1) {
        const reply = await ask("GET", url, { headers: isPublic ? {} : victim() })
        expect([what, reply.status, reply.text]).toEqual([what, 200, text])
        expect([what, reply.header("stream-next-offset")]).toEqual([what, next])
        expect(reply.header("access-control-allow-origin"), what).toBeNull()
        if (round === 1) expect([what, reply.header("x-cdn")]).toEqual([what, "HIT"])
      }
    }
  })

  test("one origin does not receive another origin's CORS headers", async () => {
    const { target, places } = await created({ "stream-public": "true" })
    const orders = [[EVIL, APP, {}], [APP, EVIL, {}], [{}, APP, EVIL], [{}, EVIL, APP]]
    for (const [index, order] of orders.entries()) {
      const url = target + places[index].query
      for (const round of ["MISS", "HIT"]) {
        for (const site of order) {
          const reply = await ask("GET", url, { headers: site })
          expect(reply.header("access-control-allow-origin")).toBe(site === APP ? APP.origin : null)
          expect([reply.text, reply.header("x-cdn")]).toEqual([places[index].text, round])
        }
      }
    }
  })

  test("nginx does not cache refusals, HEAD responses or reads with unusual queries", async () => {
    const { stream, key, target, places } = await created()
    const public_ = await created({ "stream-public": "true" })
    const place = places[0].query
    const token = makeToken(keys.victim, { sub: "victim" })
    const requests = [
      ["GET", `${target}${place}`, {}, 401],
      ["GET", `${target}${place}`, mallory(), 403],
      ["GET", `${target}${place}&rk=x`, victim(), 200],
      ["GET", `${target}${place}&rk=${key}&rk=x`, victim(), 400],
      ["GET", `${target}${place}&rk=${key}&token=${token}`, {}, 200],
      ["GET", `${target}${place}&rk=${key}&%74oken=${token}`, {}, 200],
      ["GET", `${target}${place}&rk=${key}&c=1`, { cookie: `stream-token=${token}` }, 200],
      ["GET", `${target}?offset=-1&rk=${key}`, victim(), 200],
      ["GET", `${target}?offset=now&rk=${key}`, victim(), 200],
      ["GET", `${target}?rk=${key}`, victim(), 200],
      ["GET", `${target}?offset=9999999999999999_0000000000000000&rk=${key}`, victim(), 400],
      ["GET", `/v1/stream/victim/${unique()}${place}`, victim(), 404],
      ["HEAD", `${target}${place}&rk=${key}`, victim(), 200],
      ["OPTIONS", `${target}${place}`, {}, 204],
      ["PATCH", `${target}${place}`, victim(), 405],
      ["GET", `${public_.target}${place}&offset=-1`, {}, 400],
      ["GET", `${public_.target}${place}&live=x`, {}, 400],
      ["GET", `${public_.target}${place}&token=${token}`, {}, 200],
      ["GET", "/health", {}, 200],
      ["GET", "/v1/stream/a/%2e%2e/b", {}, 400],
    ]
    for (const [method, url, headers, status] of requests) {
      for (let round = 0; round < 2; round += 1) {
        const reply = await ask(method, url, { headers })
        expect([method, url, reply.status]).toEqual([method, url, status])
        expect(reply.header("x-cdn") ?? "none", `${method} ${url}`).not.toMatch(/HIT|STALE|UPDATING/u)
      }
    }
    // Whatever those requests cached, a client without a token receives 401.
    for (const query of [place, `${place}&rk=${key}`, `${place}&rk=${key}&c=1`, `?rk=${key}`]) {
      expect((await ask("GET", target + query)).status).toBe(401)
    }
    await stream.ask("POST", { headers: { ...CLOSED, ...victim() }, status: 204 })
  })

  test("reads with the token in a cookie or in the URL are not collapsed", async () => {
    const patient = await startWorkerd(await scratch(), { PROJECT_KEYS, ...PATIENT, EDGE_CACHE: "off" })
    const between = await startNginx(patient.url)
    try {
      const token = makeToken(keys.victim, { sub: "victim" })
      const cookie = { cookie: `a=b; stream-token=${token}` }
      for (const [query, headers, reach] of [
        ["", cookie, 2],
        ["&rk=key", cookie, 2],
        [`&token=${token}`, {}, 2],
        [`&%74oken=${token}`, {}, 2],
        [`&rk=key&token=${token}`, {}, 2],
        ["", victim(), 2],
        // nginx collapses requests whose response it may cache.
        ["&rk=key", victim(), 1],
        ["&rk=key", { ...victim(), cookie: "a=b%20c" }, 1],
      ]) {
        const stream = patient.stream(`victim/${unique()}`)
        const { next, header } = await stream.create({ ...BYTES, ...victim() })
        const url = `?offset=${next}&live=long-poll${query}`.replace("rk=key", `rk=${header("stream-reader-key")}`)
        const through = new Stream(between.url, stream.path)
        const polls = numbers(2).map(() => through.ask("GET", { query: url, headers, status: 200 }))
        await patient.log.until({ event: "served", stream: stream.path, method: "GET" }, reach)
        await stream.append("x", { ...BYTES, ...victim() })
        expect((await Promise.all(polls)).map(({ text }) => text)).toEqual(["x", "x"])
      }
    } finally {
      await between.stop()
      await patient.kill()
    }
  })

  test("another spelling of a path does not bypass the token", async () => {
    const { stream, key, places } = await created()
    const name = stream.path.split("/")[1]
    const query = `${places[0].query}&rk=${key}`
    const right = `/v1/stream/${stream.path}${query}`
    for (const state of ["MISS", "HIT"]) expect((await ask("GET", right, { headers: victim() })).header("x-cdn")).toBe(state)
    for (const path of [
      `/v1/stream/mallory/../victim/${name}`,
      `/v1/stream/mallory/%2e%2e/victim/${name}`,
      `/v1/stream/mallory%2f..%2fvictim%2f${name}`,
      `/v1/stream/victim%2f${name}`,
      `/v1/stream/%76ictim/${name}`,
      `/v1/stream//victim/${name}`,
      `/v1//stream/victim/${name}`,
      `/v1/stream/victim/${name}/`,
      `/v1/stream/victim/${name}%20`,
      `/v1/stream/victim/./${name}`,
      `/V1/stream/victim/${name}`,
      `/v1/stream/victim;/${name}`,
      `//evil.example/v1/stream/victim/${name}`,
    ]) {
      for (const headers of [{}, mallory()]) {
        const reply = await ask("GET", path + query, { headers })
        expect([400, 401, 403, 404], path).toContain(reply.status)
        expect(reply.text).not.toContain(places[0].text)
      }
    }
  })
})
