// Reproduces the requests of `@tanstack/ai-durable-stream` 0.1.6, as its source makes them, and checks all that it
// expects of the responses. The package is not on npm.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { EventParser } from "../platform/readers.mjs"
import { LONG_MS, SOON_MS, numbers, start, unique, within } from "../platform/support.mjs"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"

let open, guarded
beforeAll(async () => {
  // Each response lasts one second.
  open = await start({ vars: { SSE_LIFETIME_SECONDS: "1" } })
  guarded = await start({ vars: { AUTH_TOKEN } })
})
afterAll(() => Promise.all([open, guarded].map((one) => one?.dispose())))

/** The requests that the adapter sends for one run. */
class Run {
  #producer = crypto.randomUUID()
  #seq = 0

  constructor(server, { runId = unique("run 1"), prefix = "runs", headers = {} } = {}) {
    this.url = `${server.replace(/\/+$/u, "")}/streams/${encodeURIComponent(`${prefix}/${runId}`)}`
    this.headers = headers
  }

  ask(method, headers = {}, body = undefined) {
    return fetch(this.url, { method, headers: { ...headers, ...this.headers }, body, signal: AbortSignal.timeout(SOON_MS) })
  }

  create() {
    return this.ask("PUT", { "Content-Type": "application/json" })
  }

  /** Appends records, and sends the request again as after a lost response. */
  async append(records, times = 1) {
    const headers = {
      "Content-Type": "application/json",
      "Producer-Id": this.#producer,
      "Producer-Epoch": "0",
      "Producer-Seq": `${this.#seq++}`,
    }
    let response
    for (; times > 0; times -= 1) response = await this.ask("POST", headers, JSON.stringify(records))
    return response
  }

  close() {
    return this.ask("POST", { "Stream-Closed": "true" })
  }

  /** Reads one live response until `isEnough` accepts a control event, or to its end. */
  async window(offset, { cursor, isEnough = () => false, signal } = {}) {
    const url = new URL(this.url)
    url.searchParams.set("offset", offset)
    url.searchParams.set("live", "sse")
    if (cursor !== undefined) url.searchParams.set("cursor", cursor)
    const response = await fetch(url, { headers: this.headers, signal })
    if (!response.ok) return { status: response.status }
    const [parser, decoder, events] = [new EventParser(), new TextDecoder(), []]
    const done = () => events.some(({ type, data }) => type === "control" && isEnough(JSON.parse(data)))
    for await (const chunk of response.body) {
      events.push(...parser.push(decoder.decode(chunk, { stream: true })))
      if (done()) break
    }
    return { status: response.status, ...checked(events) }
  }
}

/** The checks that the adapter makes on a response's events. */
function checked(events) {
  const records = []
  let control
  for (const { type, data } of events) {
    expect(["data", "control"]).toContain(type)
    const value = JSON.parse(data)
    if (type === "data") {
      expect(value).toBeInstanceOf(Array)
      records.push(...value)
    } else {
      expect(value.streamNextOffset).toMatch(/^\S+$/u)
      if (!value.streamClosed) expect(value.streamCursor).toMatch(/^\S+$/u)
      for (const flag of ["upToDate", "streamClosed"]) expect(["boolean", "undefined"]).toContain(typeof value[flag])
      control = value
    }
  }
  expect(events.at(-1).type, "a control event follows the data").toBe("control")
  const seqs = records.map(({ seq }) => seq)
  expect(seqs, "in order, each once").toEqual(seqs.toSorted((a, b) => a - b).filter((seq, n, all) => seq !== all[n - 1]))
  return { records, control }
}

const record = (seq) => ({ v: 1, seq, chunk: { type: "TEXT_MESSAGE_CONTENT", messageId: "m", delta: `token ${seq} é 漢 \n` } })
const records = (count, from = 1) => numbers(count, from).map(record)
const nextOf = ({ headers }) => headers.get("Stream-Next-Offset")
const isUpToDate = ({ upToDate }) => upToDate === true

describe.each([["", "server"], ["/", "server with a slash"], ["/v1", "server with /v1"]])("%s", (base) => {
  const run = (options) => new Run(`${open.url}${base}`, options)

  test("create, append, snapshot and close return what the adapter expects", async () => {
    const one = run()
    const created = await one.create()
    expect([created.status, nextOf(created)]).toEqual([201, expect.stringMatching(/\S/u)])
    expect(created.headers.get("location")).toBe(one.url)
    // The next host of the run creates the stream, too.
    const again = await one.create()
    expect([again.status, nextOf(again)]).toEqual([200, nextOf(created)])
    const empty = await one.window("-1", { isEnough: isUpToDate })
    expect([empty.records, empty.control.upToDate]).toEqual([[], true])
    const appended = await one.append(records(3))
    expect([appended.ok, nextOf(appended) > nextOf(created)]).toEqual([true, true])
    const twice = await one.append(records(2, 4), 2)
    expect(twice.ok).toBe(true)
    expect((await one.window("-1", { isEnough: isUpToDate })).records).toEqual(records(5))
    expect((await one.window(nextOf(appended), { isEnough: isUpToDate })).records).toEqual(records(2, 4))
    for (const _ of [1, 2]) {
      const closed = await one.close()
      expect([closed.ok, nextOf(closed), closed.headers.get("Stream-Closed")]).toEqual([true, nextOf(twice), "true"])
    }
    const rest = await one.window(nextOf(appended))
    expect([rest.records, rest.control.streamClosed]).toEqual([records(2, 4), true])
  })

  test("failures have the statuses that the adapter recognises", async () => {
    expect((await run().window("-1")).status).toBe(404)
    expect((await run().append([record(1)])).status).toBe(404)
    expect((await run().close()).status).toBe(404)
    const one = run()
    await one.create()
    await one.close()
    const late = await one.append([record(1)])
    expect([late.ok, late.status]).toEqual([false, 409])
  })
})

test("a reader continues from one live response to the next", async () => {
  const one = new Run(open.url)
  await one.create()
  await one.append([record(1)])
  let [offset, cursor, count] = ["-1", undefined, 0]
  const seen = []
  const reading = (async () => {
    for (;;) {
      const { records: found, control } = await one.window(offset, { cursor })
      seen.push(...found)
      if (control.streamClosed) return
      expect([control.streamNextOffset, control.streamCursor], "each response advances the offset or the cursor").not.toEqual([offset, cursor])
      offset = control.streamNextOffset
      cursor = control.streamCursor
      count += 1
      // Two responses have no messages.
      if (count === 3) await one.append(records(2, 2))
      if (count === 4) await one.close()
    }
  })()
  await within(LONG_MS, "the run ends", reading)
  expect(seen).toEqual(records(3))
  expect(count).toBeGreaterThanOrEqual(4)
}, LONG_MS)

test("the adapter's headers are accepted on each request", async () => {
  const strange = new Run(guarded.url)
  expect((await strange.create()).status).toBe(401)
  const known = new Run(guarded.url, { headers: bearer(AUTH_TOKEN) })
  expect((await known.create()).status).toBe(201)
  expect((await known.append([record(1)])).ok).toBe(true)
  expect((await known.window("-1", { isEnough: isUpToDate })).records).toEqual([record(1)])
  expect((await known.close()).ok).toBe(true)
})
