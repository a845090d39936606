// The official client against this server: all that it can do.

import { createHash, randomBytes } from "node:crypto"
import { DurableStream, IdempotentProducer, StaleEpochError, stream as follow } from "@durable-streams/client"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { LONG_MS, PATIENT, SOON_MS, numbers, start, unique, within } from "../platform/support.mjs"
import { Requests } from "./requests.mjs"

let server, recycling
beforeAll(async () => {
  server = await start({ vars: PATIENT })
  recycling = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "2", SSE_LIFETIME_SECONDS: "2" } })
})
afterAll(async () => {
  await server?.dispose()
  await recycling?.dispose()
})

const json = "application/json"
const urlOf = (name, { url } = server) => `${url}/v1/stream/${unique(name)}`
const encoded = (messages) => messages.map((message) => JSON.stringify(message))
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex")
const soon = (what, promise) => within(SOON_MS, what, promise)

describe("create, append, read, close", () => {
  test("a JSON stream returns each message and its end", async () => {
    const url = urlOf("json")
    const handle = await DurableStream.create({ url, contentType: json, ttlSeconds: 3600 })
    expect(await handle.head()).toMatchObject({ exists: true, contentType: json, streamClosed: false })
    await handle.append('{"n":0}')
    // These calls overlap, so the client batches them.
    await Promise.all(numbers(50, 1).map((n) => handle.append(`{"n":${n}}`)))
    const { finalOffset } = await handle.close({ body: '{"n":51}' })

    const reader = await follow({ url, live: false })
    expect(await reader.json()).toEqual(numbers(52).map((n) => ({ n })))
    expect([reader.offset, reader.upToDate, reader.streamClosed]).toEqual([finalOffset, true, true])
    const text = await (await follow({ url, live: false })).text()
    expect(text).toBe(`[${encoded(numbers(52).map((n) => ({ n })))}]`)
    expect(await handle.head()).toMatchObject({ offset: finalOffset, streamClosed: true })
    const rest = await handle.stream({ offset: finalOffset, live: false })
    expect(await rest.json()).toEqual([])
    await handle.delete()
    expect(await DurableStream.head({ url })).toEqual({ exists: false })
  })

  test("a text stream returns the appended text", async () => {
    const url = urlOf("text")
    const handle = await DurableStream.create({ url, contentType: "text/plain; charset=utf-8", body: "é " })
    await handle.append("漢 ")
    await handle.append("𝄞")
    await handle.close()
    expect(await (await follow({ url })).text()).toBe("é 漢 𝄞")
  })

  test("a stream of bytes is read in more than one chunk, as appended", async () => {
    const url = urlOf("bytes")
    const parts = numbers(20).map(() => randomBytes(300_000))
    const handle = await DurableStream.create({ url, contentType: "application/octet-stream" })
    await handle.append(parts[0])
    await handle.appendStream(ReadableStream.from(parts.slice(1)))
    await handle.close()
    const requests = new Requests()
    // With `live: false` this client stops after the first chunk, whatever the response headers say.
    const reader = await follow({ url, fetch: requests.fetch })
    expect(sha256(await reader.body())).toBe(sha256(Buffer.concat(parts)))
    expect(requests.count("GET plain")).toBeGreaterThan(1)
  })

  test("refusals reach the caller with their reason", async () => {
    const url = urlOf("refused")
    const refused = async (status, code, promise) => {
      await expect(promise).rejects.toMatchObject({ status, json: { error: { code } } })
    }
    await refused(404, "stream_not_found", follow({ url }))
    const handle = await DurableStream.create({ url, contentType: json })
    await refused(409, "stream_exists", DurableStream.create({ url, contentType: "text/plain" }))
    await handle.append("1", { seq: "b" })
    const conflict = { status: 409, text: "Sequence conflict" }
    await expect(handle.append("2", { seq: "a" })).rejects.toMatchObject(conflict)
    await refused(400, "invalid_json", handle.append("{"))
    await handle.close()
    await refused(409, "stream_closed", handle.append("3"))
    expect(await (await follow({ url })).json()).toEqual([1])
  })
})

describe("the batch producer", () => {
  const producing = async (name, options) => {
    const handle = await DurableStream.create({ url: urlOf(name), contentType: json })
    const errors = []
    const producer = new IdempotentProducer(handle, "writer", { onError: (error) => errors.push(error), ...options })
    return { handle, producer, errors }
  }
  const stored = async ({ url }) => (await follow({ url, live: false })).json()

  test("concurrent appends are stored once each and in order", async () => {
    const requests = new Requests()
    const { handle, producer, errors } = await producing("producer", {
      maxBatchBytes: 50,
      maxInFlight: 10,
      fetch: requests.fetch,
    })
    for (const n of numbers(500)) producer.append(`{"n":${n}}`)
    await soon("flushed", producer.flush())
    const { finalOffset } = await producer.close('{"n":500}')
    expect(errors).toEqual([])
    expect((await stored(handle)).map(({ n }) => n)).toEqual(numbers(501))
    expect(finalOffset).toBe((await handle.head()).offset)
    expect(requests.count("POST plain")).toBeGreaterThan(50)
  })

  test("a retried request is stored once", async () => {
    const statuses = []
    const twice = async (url, init) => {
      await (await fetch(url, init)).arrayBuffer()
      const again = await fetch(url, init)
      statuses.push(again.status)
      return again
    }
    const { handle, producer, errors } = await producing("twice", { maxBatchBytes: 50, maxInFlight: 1, fetch: twice })
    for (const n of numbers(40)) producer.append(`{"n":${n}}`)
    await soon("flushed", producer.flush())
    await producer.close('{"n":40}')
    expect(errors).toEqual([])
    expect(statuses.length).toBeGreaterThan(5)
    expect(new Set(statuses)).toEqual(new Set([204]))
    expect((await stored(handle)).map(({ n }) => n)).toEqual(numbers(41))
    expect((await handle.head()).streamClosed).toBe(true)
  })

  test("a producer with a higher epoch fences the first, and one that claims an epoch takes over", async () => {
    const { handle, producer, errors } = await producing("fenced")
    const flushed = (other) => soon("flushed", other.flush()).catch(() => {})
    producer.append('"first"')
    await flushed(producer)
    const heir = new IdempotentProducer(handle, "writer", { epoch: 1 })
    heir.append('"heir"')
    await flushed(heir)
    producer.append('"too late"')
    await flushed(producer)
    expect(errors).toEqual([expect.any(StaleEpochError)])
    expect(errors[0].currentEpoch).toBe(1)
    const claiming = new IdempotentProducer(handle, "writer", { autoClaim: true })
    claiming.append('"claimed"')
    await flushed(claiming)
    expect(claiming.epoch).toBe(2)
    expect(await stored(handle)).toEqual(["first", "heir", "claimed"])
  })
})

describe.concurrent("live", () => {
  const live = { "long-poll": "GET long-poll", sse: "GET sse" }

  for (const [mode, request] of Object.entries(live)) {
    test(`${mode}: a reader receives each JSON message until the close`, async () => {
      const url = urlOf(mode)
      const handle = await DurableStream.create({ url, contentType: json, body: "[0]" })
      const requests = new Requests()
      const reader = await follow({ url, offset: "-1", live: mode, fetch: requests.fetch })
      const seen = []
      for await (const message of reader.jsonStream()) {
        seen.push(message)
        // The reader has everything that is stored, so the next message arrives live.
        if (message < 5) await handle.append(`${message + 1}`)
        else await handle.close()
      }
      expect(seen).toEqual(numbers(6))
      expect(reader.streamClosed).toBe(true)
      expect(requests.count(request)).toBeGreaterThan(0)
      expect(requests.count("GET plain")).toBe(1)
    })

    test(`${mode}: a reader receives bytes unchanged`, async () => {
      const url = urlOf(mode)
      const handle = await DurableStream.create({ url, contentType: "application/octet-stream" })
      const parts = numbers(5).map((n) => randomBytes(1000 * n + 1))
      await handle.append(parts[0])
      const requests = new Requests()
      const reader = await follow({ url, offset: "-1", live: mode, fetch: requests.fetch })
      const seen = []
      let size = 0
      for await (const chunk of reader.bodyStream()) {
        seen.push(chunk)
        size += chunk.length
        const had = parts.findIndex((_, n) => Buffer.concat(parts.slice(0, n + 1)).length === size)
        if (had === parts.length - 1) await handle.close()
        else if (had >= 0) await handle.append(parts[had + 1])
      }
      expect(sha256(Buffer.concat(seen))).toBe(sha256(Buffer.concat(parts)))
      expect(requests.count(request)).toBeGreaterThan(0)
    })

    test(`${mode}: a reader continues when the server ends a wait`, async () => {
      const url = urlOf(mode, recycling)
      const handle = await DurableStream.create({ url, contentType: json })
      const requests = new Requests()
      const reader = await follow({ url, offset: "-1", live: mode, fetch: requests.fetch })
      const seen = []
      const reading = (async () => {
        for await (const message of reader.jsonStream()) seen.push(message)
      })()
      for (const count of [1, 2]) {
        await requests.until(request, count)
        await handle.append(`${count}`)
      }
      // Each append ends the long-poll, and the client sends the next one. The one after that is sent because the wait
      // timed out.
      await requests.until(request, 4)
      await handle.append("3")
      await handle.close()
      await soon("the stream ends", reading)
      expect(seen).toEqual([1, 2, 3])
    }, LONG_MS)
  }

  test("SSE delivers text unchanged", async () => {
    const url = urlOf("text")
    const handle = await DurableStream.create({ url, contentType: "text/plain", body: "a\n" })
    const reader = await follow({ url, offset: "-1", live: "sse" })
    let seen = ""
    for await (const text of reader.textStream()) {
      seen += text
      if (seen === "a\n") await handle.append(" b\n\nc é 漢 𝄞")
      else if (seen.endsWith("𝄞")) await handle.close()
    }
    expect(seen).toBe("a\n b\n\nc é 漢 𝄞")
  })

  test("a cancelled reader closes its connection", async () => {
    const url = urlOf("cancelled")
    const handle = await DurableStream.create({ url, contentType: json })
    const requests = new Requests()
    const reader = await follow({ url, offset: "-1", live: "sse", fetch: requests.fetch })
    const seen = Promise.withResolvers()
    reader.subscribeJson(({ items }) => items.length > 0 && seen.resolve(items))
    await requests.until("GET sse", 1)
    await handle.append("1")
    expect(await soon("a message", seen.promise)).toEqual([1])
    reader.cancel()
    await soon("the reader ends", reader.closed)
    const before = requests.seen.length
    await handle.append("2")
    await handle.close()
    expect(requests.seen).toHaveLength(before)
  })
})
