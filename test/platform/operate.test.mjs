// What operators rely on: the id of a request in its response and in the log, readiness, and metrics.

import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Control, webhook } from "./control.mjs"
import { isPrometheusInstalled, problemsOf, startPrometheus } from "./prometheus.mjs"
import { Receiver } from "./receiver.mjs"
import { bucketOf, indexOf, keyOf, makeTables, rotated } from "./segments.mjs"
import { JSON_TYPE, LONG_MS, START, TEXT, numbers, root, scratch, start, startWorkerd, unique } from "./support.mjs"

const ADMIN_TOKEN = "an-administrator-of-32-characters"
const ADMIN = { authorization: `Bearer ${ADMIN_TOKEN}` }
const RAY = "8f1b2c3d4e5f6a7b"
/** More appends than an isolate sends to one stream separately, so some are grouped. */
const WRITERS = 24
/** A world without objects. */
const NO_OBJECTS = `import { WorkerEntrypoint } from "cloudflare:workers"
export class Streams extends WorkerEntrypoint {
  getByName() { throw new Error("no object is there") }
}
export default { fetch: () => new Response() }`
/** A world with objects that fail after a while. */
const SLOW_OBJECTS = NO_OBJECTS.replace("getByName() {", "async getByName() { await new Promise((resolve) => setTimeout(resolve, 500));")
const ZERO = `${"0".repeat(16)}_${"0".repeat(16)}`
const RANDOM = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe("the id of a request", () => {
  let server
  let stream
  beforeAll(async () => {
    server = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "1" } })
    stream = server.stream()
    await stream.create(TEXT)
    await stream.append("hello", TEXT)
  })
  afterAll(() => server?.dispose())

  /** Each way to a response. */
  const REQUESTS = [
    ["PUT", "", { headers: TEXT }],
    ["POST", "", { headers: TEXT, body: "x" }],
    ["POST", "", { headers: TEXT }],
    ["HEAD", ""],
    ["GET", `?offset=${START}`],
    ["GET", `?offset=${START}`],
    ["GET", "?offset=now&live=long-poll"],
    ["GET", "?offset=now&live=sse"],
    ["GET", "?offset=wrong"],
    ["OPTIONS", ""],
    ["PATCH", ""],
  ]

  test("is the platform's on every response, or random", async () => {
    for (const [method, query, init] of REQUESTS) {
      for (const ray of [RAY, undefined, "not a ray"]) {
        const headers = { ...init?.headers, ...(ray && { "cf-ray": ray }), "x-request-id": "of-the-client" }
        const response = await fetch(`${stream.url}${query}`, { ...init, method, headers })
        const id = response.headers.get("x-request-id")
        if (ray === RAY) expect([method, query, id]).toEqual([method, query, RAY])
        else expect(id, `${method} ${query}`).toMatch(RANDOM)
        await response.body?.cancel()
      }
    }
    for (const path of ["/health", "/ready", "/metrics", "/v1/streams", "/nowhere", "/v1/stream/__ds/subscriptions/x"]) {
      const response = await fetch(`${server.url}${path}`, { headers: { "cf-ray": RAY } })
      expect([path, response.headers.get("x-request-id")]).toEqual([path, RAY])
    }
  })

  test("differs for clients that share a read", async () => {
    const url = `${stream.url}?offset=${(await stream.ask("HEAD")).next}&live=long-poll`
    const waiting = numbers(5).map(() => fetch(url))
    const ids = (await Promise.all(waiting)).map(({ headers }) => headers.get("x-request-id"))
    for (const id of ids) expect(id).toMatch(RANDOM)
    expect(new Set(ids).size).toBe(5)
  })

  test("is new for each copy of the data centre's cache", async () => {
    const small = await start({ vars: { CHUNK_MAX_BYTES: "1024" } })
    try {
      const read = small.stream()
      await read.create()
      for (const _ of numbers(4)) await read.append("x".repeat(1000))
      const ask = () => read.read(ZERO)
      await expect.poll(async () => (await ask()).header("x-cache")).toBe("HIT")
      const copies = [await ask(), await ask()]
      expect(copies.map(({ header }) => header("x-cache"))).toEqual(["HIT", "HIT"])
      const ids = copies.map(({ header }) => header("x-request-id"))
      for (const id of ids) expect(id).toMatch(RANDOM)
      expect(new Set(ids).size).toBe(2)
    } finally {
      await small.dispose()
    }
  })

  test("can be read by scripts of other sites", async () => {
    const response = await fetch(stream.url, { method: "POST", headers: { ...TEXT, origin: "https://app.example" }, body: "x" })
    expect(response.headers.get("access-control-expose-headers")).toContain("x-request-id")
  })
})

describe("a failed request", () => {
  const named = { headers: { "cf-ray": RAY } }

  test("is logged with its id, which its response has too", async () => {
    const server = await start({ vars: { SEGMENT_MAX_APPENDS: "2" } })
    try {
      const stream = server.stream(unique("damaged"))
      await stream.create()
      await stream.append("one")
      await stream.append("two")
      await rotated(server, stream, 1)
      await (await bucketOf(server)).delete(keyOf(stream, 0))
      for (const init of [named, {}]) {
        const refused = await stream.ask("GET", { ...init, query: `?offset=${START}`, status: 500 })
        const id = refused.header("x-request-id")
        if (init === named) expect(id).toBe(RAY)
        expect(JSON.parse(refused.text).error).toMatchObject({ code: "internal", request: id })
        await server.log.until({ level: "error", operation: "read segment", request: id })
      }
      const missing = await server.stream().ask("GET", { ...named, status: 404 })
      expect(JSON.parse(missing.text).error).not.toHaveProperty("request")
    } finally {
      await server.dispose()
    }
  })

  test("has an id also if its object does not answer", async () => {
    const server = await startWorkerd(await scratch(), {}, undefined, NO_OBJECTS)
    try {
      for (const [method, query] of [["POST", ""], ["GET", ""], ["GET", "?offset=now&live=sse"], ["PUT", ""]]) {
        for (const init of [named, {}]) {
          const reply = await server.stream().ask(method, { headers: { ...TEXT, ...init.headers }, query, status: 503 })
          const id = reply.header("x-request-id")
          if (init === named) expect([method, query, id]).toEqual([method, query, RAY])
          expect(JSON.parse(reply.text).error).toMatchObject({ code: "unavailable", request: id })
          await server.log.until({ level: "error", request: id })
        }
      }
    } finally {
      await server.kill()
    }
  })

  test("keeps its own id in a batch", async () => {
    const server = await startWorkerd(await scratch())
    try {
      const stream = server.stream(unique("grouped"))
      await stream.create(TEXT)
      const ids = numbers(WRITERS).map((at) => `${RAY}-${at}`)
      const send = (id) => fetch(stream.url, { method: "POST", headers: { ...TEXT, "cf-ray": id }, body: "x" })
      const responses = await Promise.all(ids.map(send))
      expect(responses.map(({ headers }) => headers.get("x-request-id"))).toEqual(ids)
      expect(server.log.matching({ event: "appended_together" }).length).toBeGreaterThan(0)
    } finally {
      await server.kill()
    }
  })
})

describe("readiness", () => {
  const ready = async (server) => {
    const response = await fetch(`${server.url}/ready`)
    return [response.status, await response.json()]
  }

  test("is 200 if every binding answers", async () => {
    const server = await start({ registry: true })
    try {
      expect(await ready(server)).toEqual([200, { status: "ok", checks: { streams: "ok", segments: "ok", projects: "ok" } }])
    } finally {
      await server.dispose()
    }
  })

  test("is 200 without optional bindings, and HEAD has no body", async () => {
    const server = await startWorkerd(await scratch())
    try {
      const checks = { streams: "ok", segments: "not bound", projects: "not bound" }
      expect(await ready(server)).toEqual([200, { status: "ok", checks }])
      const head = await fetch(`${server.url}/ready`, { method: "HEAD" })
      expect([head.status, await head.text()]).toEqual([200, ""])
    } finally {
      await server.kill()
    }
  })

  test("is 503 if objects fail, and an isolate repeats the result for a while", async () => {
    const server = await startWorkerd(await scratch(), {}, undefined, NO_OBJECTS)
    try {
      for (const _ of numbers(5)) {
        const [status, { error }] = await ready(server)
        expect([status, error.code, error.checks]).toEqual([503, "not_ready", { streams: "failed", segments: "not bound", projects: "not bound" }])
      }
      expect(await server.log.until({ level: "error", operation: "check object" })).toHaveLength(1)
    } finally {
      await server.kill()
    }
  })

  test("is checked once for all requests that arrive before the first result", async () => {
    const server = await startWorkerd(await scratch(), {}, undefined, SLOW_OBJECTS)
    try {
      const statuses = await Promise.all(numbers(20).map(async () => (await ready(server))[0]))
      expect(statuses).toEqual(numbers(20).map(() => 503))
      expect(await server.log.until({ level: "error", operation: "check object" })).toHaveLength(1)
    } finally {
      await server.kill()
    }
  })

  test("is 503 on a locked server, as everything is", async () => {
    const server = await start({ vars: { AUTH_TOKEN: "short" } })
    try {
      const [status, { error }] = await ready(server)
      expect([status, error.code]).toEqual([503, "not_configured"])
    } finally {
      await server.dispose()
    }
  })
})

describe("metrics", () => {
  const scrape = async (server, { query = "", headers = ADMIN, method = "GET" } = {}) => {
    const response = await fetch(`${server.url}/metrics${query}`, { headers, method })
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() }
  }

  test("need the administrator's token, and do not exist without one", async () => {
    const [server, other] = [await start({ vars: { ADMIN_TOKEN } }), await start()]
    try {
      for (const headers of [{}, { authorization: "Bearer guess" }]) expect((await scrape(server, { headers })).status).toBe(401)
      expect((await scrape(server, { method: "POST" })).status).toBe(405)
      expect((await scrape(other)).status).toBe(404)
    } finally {
      await Promise.all([server.dispose(), other.dispose()])
    }
  })

  test("count streams and subscriptions", async () => {
    const server = await start({ vars: { ADMIN_TOKEN } })
    try {
      const counts = { streams: 0, created: 0, deleted: 0, subscriptions: 0 }
      expect(lines(await scrape(server))).toEqual(expect.arrayContaining(countLines(counts)))
      const [kept, deleted] = [server.stream(), server.stream()]
      await Promise.all([kept.create(JSON_TYPE), deleted.create(JSON_TYPE)])
      await deleted.delete()
      const subscription = { type: "pull-wake", pattern: "x/*", wake_stream: kept.path }
      const put = await fetch(`${server.url}/v1/stream/__ds/subscriptions/s`, { method: "PUT", headers: JSON_TYPE, body: JSON.stringify(subscription) })
      expect(put.status).toBe(201)
      await server.log.until({ event: "recorded" }, 4)
      const found = await scrape(server)
      expect([found.status, found.type]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"])
      expect(lines(found)).toEqual(expect.arrayContaining(countLines({ streams: 1, created: 2, deleted: 1, subscriptions: 1 })))
      expect(lines(found)).toEqual(expect.arrayContaining(["ds_registry_up 1", "ds_registry_counted 1"]))
    } finally {
      await server.dispose()
    }
  })

  test("are labelled with the project", async () => {
    const key = { keys: [{ kty: "oct", k: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }] }
    const server = await start({ vars: { ADMIN_TOKEN, PROJECT_KEYS: JSON.stringify({ b: key, a: key }) } })
    try {
      const up = (found) => lines(found).filter((line) => line.startsWith("ds_registry_up"))
      expect(up(await scrape(server))).toEqual(['ds_registry_up{project="a"} 1', 'ds_registry_up{project="b"} 1'])
      expect(up(await scrape(server, { query: "?project=c" }))).toEqual(['ds_registry_up{project="c"} 1'])
      expect((await scrape(server, { query: "?project=a/b" })).status).toBe(400)
    } finally {
      await server.dispose()
    }
  })

  test("say which registry does not answer", async () => {
    const server = await startWorkerd(await scratch(), { ADMIN_TOKEN }, undefined, NO_OBJECTS)
    try {
      const found = await scrape(server)
      expect([found.status, lines(found).filter((line) => line.startsWith("ds_registry_"))]).toEqual([200, ["ds_registry_up 0"]])
      await server.log.until({ level: "error", stream: "__registry__" })
    } finally {
      await server.kill()
    }
  })

  const lines = ({ text }) => text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  const countLines = ({ streams, created, deleted, subscriptions }) => [
    `ds_streams ${streams}`,
    `ds_streams_created_total ${created}`,
    `ds_streams_deleted_total ${deleted}`,
    `ds_subscriptions{status="active"} ${subscriptions}`,
  ]
  /** The value of each line that begins with a name. */
  const valuesOf = (found, name) => {
    const chosen = lines(found).filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    return Object.fromEntries(chosen.map((line) => [line.slice(name.length, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]))
  }
  const ofWebhooks = (found, result) => valuesOf(found, "ds_deliveries_total")[`{type="webhook",result="${result}"}`]

  test("show a delivery that succeeds, one that fails, and a parked subscription", async () => {
    const receiver = await Receiver.open()
    const server = await start({ vars: { ADMIN_TOKEN, ALLOW_LOCAL_WEBHOOKS: "1" } })
    try {
      const until = async (status, results) => {
        const found = await scrape(server)
        const known = Object.fromEntries(Object.keys(results).map((result) => [result, ofWebhooks(found, result)]))
        expect([known, valuesOf(found, "ds_subscriptions")[`{status="${status}"}`]]).toEqual([results, 1])
      }
      const stream = server.stream()
      await stream.create(JSON_TYPE)
      const url = receiver.at("hook", { body: `{"done":true}` }, { status: 500 }, { status: 410 }, { body: `{"done":true}` })
      const subscription = new Control(server.url).subscription()
      await subscription.put(webhook(url, { streams: [stream.path] }))
      await expect.poll(() => until("active", { ok: 0, failed: 0 }).catch((error) => error)).toBe(undefined)
      await stream.append("1", JSON_TYPE)
      await expect.poll(() => until("active", { ok: 1, failed: 0 }).catch((error) => error)).toBe(undefined)
      // A summary without an event: a row in the registry.
      const summary = server.log.matching({ event: "recorded", stream: "__registry__" }).at(-1)
      expect(summary.rows_written).toBe(1)
      await stream.append("2", JSON_TYPE)
      await expect.poll(() => until("failed", { ok: 1, failed: 1 }).catch((error) => error)).toBe(undefined)
      await receiver.until("hook", 3)
      await expect.poll(() => until("parked", { ok: 1, failed: 2 }).catch((error) => error)).toBe(undefined)
      await subscription.ask("POST", "/resume", { status: 200 })
      await receiver.until("hook", 4)
      await expect.poll(() => until("active", { failed: 2 }).catch((error) => error)).toBe(undefined)
      await subscription.ask("DELETE", "", { status: 204 })
      await expect.poll(async () => valuesOf(await scrape(server), "ds_subscriptions")).toEqual({
        '{status="active"}': 0, '{status="failed"}': 0, '{status="parked"}': 0, '{status="unknown"}': 0,
      })
      const found = await scrape(server)
      expect([ofWebhooks(found, "ok"), ofWebhooks(found, "failed"), ofWebhooks(found, "unsent")]).toEqual([2, 2, 0])
      expect(valuesOf(found, "ds_wakes_total")).toEqual({ '{type="webhook"}': 3, '{type="pull-wake"}': 0 })
      expect(valuesOf(found, "ds_registry_lag_seconds")[""]).toBeLessThan(LONG_MS / 1000)
    } finally {
      receiver.close()
      await server.dispose()
    }
  })

  test("cost no row while they are off", async () => {
    const receiver = await Receiver.open()
    const server = await start({ vars: { ALLOW_LOCAL_WEBHOOKS: "1" } })
    try {
      const stream = server.stream()
      await stream.create(JSON_TYPE)
      const url = receiver.at("hook", { body: `{"done":true}` })
      const subscription = new Control(server.url).subscription()
      await subscription.put(webhook(url, { streams: [stream.path] }))
      await stream.append("1", JSON_TYPE)
      await server.log.until({ event: "watched", stream: stream.path }, 2)
      // Of the stream and of the subscription's creation.
      const recorded = server.log.matching({ event: "recorded", stream: "__registry__" })
      expect(recorded.map(({ rows_written }) => rows_written)).toEqual([expect.any(Number), 2])
    } finally {
      receiver.close()
      await server.dispose()
    }
  })

  test("show an index that cannot be written, as does the description of its streams", async () => {
    const server = await start({ mirrors: true, vars: { ADMIN_TOKEN, SEGMENT_MAX_APPENDS: "2", SEGMENT_MIN_BYTES: "1" } })
    try {
      const isUp = async () => valuesOf(await scrape(server), "ds_index_up")[""]
      const details = async (stream) => (await fetch(`${server.url}/v1/details/${stream.path}`)).json()
      expect(await isUp(), "without tables").toBe(0)
      await server.log.until({ level: "error", operation: "check index" })
      await makeTables(server)
      expect(await isUp()).toBe(1)
      expect(valuesOf(await scrape(server), "ds_index_size_bytes")[""]).toBeGreaterThan(0)
      // What a scrape runs.
      for (const write of ["UPDATE segments_admin SET object_bytes = object_bytes", "DELETE FROM segments_admin_forgotten"]) {
        const { meta } = await (await indexOf(server)).prepare(`${write} WHERE path = ''`).run()
        expect([write, meta.rows_written, meta.rows_read]).toEqual([write, 0, 0])
      }
      const stream = server.stream()
      await stream.create(JSON_TYPE)
      for (const n of numbers(3)) await stream.append(`${n}`, JSON_TYPE)
      await server.log.until({ event: "mirrored", stream: stream.path })
      const upToDate = { behindSince: null, error: null }
      expect(await details(stream)).toMatchObject({ registry: upToDate, segmentIndex: upToDate })
      const index = await indexOf(server)
      await index.prepare("DROP TABLE segments_admin").run()
      expect(await isUp(), "without a table").toBe(0)
      for (const n of numbers(2)) await stream.append(`${n}`, JSON_TYPE)
      await server.log.until({ level: "error", operation: "mirror segments", stream: stream.path })
      const { segmentIndex } = await details(stream)
      expect(Math.abs(Date.now() - segmentIndex.behindSince)).toBeLessThan(LONG_MS)
      expect(segmentIndex.error).toMatch(/^Error: D1_ERROR: no such table: segments_admin/u)
    } finally {
      await server.dispose()
    }
  })

  test("are what the dashboard shows", async () => {
    const server = await start({ mirrors: true, vars: { ADMIN_TOKEN } })
    try {
      await makeTables(server)
      await server.stream().create()
      await server.log.until({ event: "recorded" })
      const { text } = await scrape(server)
      const exposed = new Set([...text.matchAll(/^# TYPE (\S+)/gmu)].map(([, name]) => name))
      const dashboard = JSON.parse(await readFile(join(root, "docs/grafana/durable-streams.json"), "utf8"))
      const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
      expect(queries.length).toBeGreaterThan(5)
      for (const query of queries) {
        const names = query.match(/\bds_\w+/gu) ?? []
        if (names.length === 0) expect(query).toMatch(/^(up|scrape_duration_seconds)\{/u)
        for (const name of names) expect(exposed, query).toContain(name)
      }
      // Every metric has a panel.
      for (const name of exposed) expect(queries.join(), "the dashboard").toContain(name)
    } finally {
      await server.dispose()
    }
  })

  test.skipIf(!isPrometheusInstalled)("are scraped by Prometheus", { timeout: LONG_MS }, async () => {
    const server = await start({ vars: { ADMIN_TOKEN } })
    const prometheus = await startPrometheus(server.url, ADMIN_TOKEN)
    try {
      await server.stream().create()
      await server.log.until({ event: "recorded" })
      const { text } = await scrape(server)
      expect(problemsOf(text)).toBe("")
      await prometheus.until("ds_streams", (values) => values.length === 1 && values[0] === 1)
      expect(await prometheus.values("up")).toEqual([1])
    } finally {
      await prometheus.stop()
      await server.dispose()
    }
  })
})

describe("data points", () => {
  const FRONT = join(import.meta.dirname, "measured.js")
  const started = async (sample) => startWorkerd(await scratch(), { METRICS_SAMPLE: sample }, undefined, undefined, FRONT)
  const pointsOf = async (server) => (await fetch(`${server.url}/points`)).json()

  test("are written for requests and objects, after the response", async () => {
    const server = await started("1")
    try {
      const stream = server.stream(unique("measured"))
      await stream.create(TEXT)
      await stream.append("hello", TEXT)
      await stream.read()
      await stream.ask("GET", { query: "?offset=now&live=sse&token=x", millis: 100 }).catch(() => {})
      const is = (...blobs) => (point) => blobs.every((blob, at) => point.blobs[at] === blob)
      const wanted = [
        is("request", "stream", "PUT", "201", "2xx", "open", ""),
        is("request", "stream", "POST", "204", "2xx", "open", ""),
        is("request", "stream", "GET", "200", "2xx", "open", ""),
        is("request", "sse", "GET", "200", "2xx", "open", ""),
        is("object", stream.path),
      ]
      // A point is written after its response.
      await expect.poll(async () => {
        const points = await pointsOf(server)
        return wanted.map((wants) => points.some(wants))
      }).toEqual(wanted.map(() => true))
      const points = await pointsOf(server)
      const append = points.find(wanted[1])
      expect([append.indexes, append.doubles[0], append.doubles[2]]).toEqual([["stream"], 1, 5])
      // Only the first request of an object sends a point at once.
      const ofObject = points.filter(wanted[4])
      expect(ofObject.map(({ indexes, doubles }) => [indexes, doubles.slice(0, 4)])).toEqual([[[stream.path], [1, 0, 0, 0]]])
      expect(ofObject[0].doubles[4]).toBeGreaterThan(0)
      // The registry and the segment index are not behind for long, and there is no index.
      expect(ofObject[0].doubles[5]).toBeLessThan(LONG_MS / 1000)
      expect(ofObject[0].doubles.slice(6)).toEqual([0])
      expect(JSON.stringify(points)).not.toContain("token")
    } finally {
      await server.kill()
    }
  })

  test("are left out for requests beyond the sample", async () => {
    const server = await started("0")
    try {
      const stream = server.stream()
      await stream.create()
      await stream.append("x")
      const kinds = (await pointsOf(server)).map(({ blobs }) => blobs[0])
      expect(kinds).toEqual(kinds.map(() => "object"))
      expect(kinds.length).toBeGreaterThan(0)
    } finally {
      await server.kill()
    }
  })
})
