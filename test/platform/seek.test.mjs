// Reads from an instant or from the last messages, and descriptions of streams, on workerd: calls between objects, live
// reads at the edge, and who may ask.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { bearer, makeToken, secretKey } from "../tokens.mjs"
import { SseReader, readersAsked } from "./readers.mjs"
import { filledIn } from "./segments.mjs"
import { JSON_TYPE, PATIENT, numbers, start, unique } from "./support.mjs"

const LONG_AGO = "1970-01-01T00:00:00Z"

/** The details of a stream, or the answer if it is another one. */
async function detailsOf(server, path, headers = {}) {
  const answer = await fetch(`${server.url}/v1/streams/${path}`, { headers })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, details: answer.ok ? JSON.parse(text) : undefined }
}

describe("an open server with small segments", () => {
  let server
  beforeAll(async () => {
    server = await start({ vars: { ...PATIENT, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" } })
  })
  afterAll(() => server?.dispose())

  test("reads the last messages across the bucket and the hot log", async () => {
    const { stream } = await filledIn(server, 8)
    for (const count of [1, 2, 3, 5, 8, 99]) {
      const read = await stream.ask("GET", { query: `?last=${count}`, status: 200 })
      expect(JSON.parse(read.text)).toEqual(numbers(8).slice(-count))
      expect(read.header("cache-control")).toBe("no-store")
      const again = await stream.ask("GET", { query: `?offset=${read.header("stream-start-offset")}`, status: 200 })
      expect(again.text).toBe(read.text)
      expect(again.header("stream-start-offset")).toBeNull()
    }
    const whole = await stream.ask("GET", { query: `?at=${LONG_AGO}`, status: 200 })
    expect(JSON.parse(whole.text)).toEqual(numbers(8))
    await stream.ask("GET", { query: "?last=0", status: 400 })
  })

  test("continues live from there", async () => {
    const { stream } = await filledIn(server, 8)
    const reader = await SseReader.open(stream, { from: "last=4" })
    await reader.untilMessages(4)
    const poll = stream.ask("GET", { query: "?at=2999-01-01T00:00:00Z&live=long-poll", status: 200 })
    await readersAsked(server, stream, 2)
    const { tail } = (await detailsOf(server, stream.path)).details
    await stream.append("8", JSON_TYPE)
    expect(await poll).toMatchObject({ text: "[8]" })
    expect((await poll).header("stream-start-offset")).toBe(tail)
    expect((await poll).header("cache-control")).toBe("no-store")
    await reader.untilMessages(5)
    expect(reader.messages).toEqual(numbers(5, 4))
  })

  test("asks the owners of a fork, and forks at an instant", async () => {
    const { stream } = await filledIn(server, 8)
    const fork = server.stream(unique("fork"))
    const from = { "stream-forked-from": `/v1/stream/${stream.path}` }
    await fork.ask("PUT", { headers: from, status: 201 })
    await fork.append("8", JSON_TYPE)
    for (const count of [1, 2, 5, 9, 99]) {
      const read = await fork.ask("GET", { query: `?last=${count}`, status: 200 })
      expect(JSON.parse(read.text)).toEqual(numbers(9).slice(-count))
    }
    expect(JSON.parse((await fork.ask("GET", { query: `?at=${LONG_AGO}`, status: 200 })).text)).toEqual(numbers(9))
    const early = server.stream(unique("fork"))
    await early.ask("PUT", { headers: { ...from, "stream-fork-at": LONG_AGO }, status: 201 })
    expect((await early.ask("GET", { status: 200 })).text).toBe("[]")
    const { details } = await detailsOf(server, stream.path)
    expect(details.forks).toEqual({ count: 2, paths: expect.arrayContaining([fork.path, early.path]) })
    expect((await detailsOf(server, fork.path)).details.forkedFrom.path).toBe(stream.path)
  })

  test("describes a stream", async () => {
    const { stream } = await filledIn(server, 8)
    const { status, headers, details } = await detailsOf(server, stream.path)
    expect(status).toBe(200)
    expect(headers.get("cache-control")).toBe("no-store")
    expect(details).toMatchObject({ path: stream.path, contentType: "application/json", messages: 8, hotMessages: 2, closed: false })
    expect(details.segments).toMatchObject({ count: 2, newest: [{ number: 1, messages: 3 }, { number: 0, messages: 3 }] })
    expect((await detailsOf(server, unique("none"))).status).toBe(404)
    // With a parameter of a read, the same URL reads.
    const read = await fetch(`${server.url}/v1/streams/${stream.path}?last=1`)
    expect(await read.json()).toEqual([7])
  })
})

describe("a server with projects", () => {
  const key = secretKey()
  const token = (claims) => makeToken(key, { sub: "p", ...claims })
  let server
  beforeAll(async () => {
    server = await start({ vars: { PUBLIC_STREAMS: "on", PROJECT_KEYS: JSON.stringify({ p: { keys: [key] } }) } })
  })
  afterAll(() => server?.dispose())

  test("describes to owners only, and calls no object for strangers", async () => {
    const stream = server.stream(unique("p/details"))
    const all = bearer(token({}))
    await stream.create({ ...JSON_TYPE, ...all, "stream-public": "true" }, "[1]")
    expect((await detailsOf(server, stream.path, all)).details).toMatchObject({ messages: 1, public: true })
    const described = () => server.log.matching({ event: "described" }).length
    const before = described()
    const refused = [
      [{}, 401],
      [bearer("guess"), 401],
      [bearer(token({ scope: "read write" })), 403],
      [bearer(token({ sub: "q" })), [401, 403]],
      [bearer(token({ stream: `${stream.path}x` })), 403],
    ]
    for (const [headers, status] of refused) {
      for (const path of [stream.path, unique("p/none")]) {
        expect([status].flat()).toContain((await detailsOf(server, path, headers)).status)
      }
    }
    expect(described()).toBe(before)
    expect((await detailsOf(server, unique("p/none"), all)).status).toBe(404)
  })
})
