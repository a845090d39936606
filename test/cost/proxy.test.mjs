// The caching proxy shares only what may be shared. Otherwise the bill would be too low.

import { once } from "node:events"
import { createServer } from "node:http"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { CachingProxy, sharedFor } from "./proxy.mjs"

const PUBLIC = { "cache-control": "public, max-age=60, stale-while-revalidate=300" }

/** The requests that the server behind the proxy received. `answer` makes its responses. */
let requests
let answer
let origin
let proxy

beforeEach(async () => {
  requests = []
  origin = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    answer(request, response)
  })
  origin.listen(0, "127.0.0.1")
  await once(origin, "listening")
  proxy = await new CachingProxy(
    { host: "127.0.0.1", port: origin.address().port, prefix: "" },
    { caching: true },
  ).start()
})

afterEach(() => {
  vi.useRealTimers()
  proxy.stop()
  origin.closeAllConnections()
  origin.close()
})

const ask = async (path, init = {}) => {
  const response = await fetch(`http://${proxy.host}:${proxy.port}${path}`, init)
  return { status: response.status, age: response.headers.get("age"), text: await response.text() }
}

const always = (status, headers, body) => (_, response) => response.writeHead(status, headers).end(body)

/** A server that answers when `release` is called. */
function onRelease(status, headers) {
  const waiting = []
  answer = (_, response) => waiting.push(response)
  return {
    until: (count) => vi.waitFor(() => expect(waiting).toHaveLength(count)),
    release: () => waiting.splice(0).forEach((response, index) => response.writeHead(status, headers).end(`${index}`)),
  }
}

describe("the proxy caches", () => {
  test("a public response, under its exact URL", async () => {
    answer = always(200, PUBLIC, "found")
    expect(await ask("/a?offset=1")).toEqual({ status: 200, age: null, text: "found" })
    expect(await ask("/a?offset=1")).toEqual({ status: 200, age: "0", text: "found" })
    await ask("/a?offset=1&cursor=2")
    expect(requests).toEqual(["GET /a?offset=1", "GET /a?offset=1&cursor=2"])
    expect(proxy.counts).toEqual({ received: 3, forwarded: 2, answered: 1 })
  })

  test("a response until its max-age has passed", async () => {
    answer = always(200, { "cache-control": "public, max-age=1" }, "found")
    await ask("/a")
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1500 })
    await ask("/a")
    expect(requests).toHaveLength(2)
  })

  test.each([
    ["no-store", 200, { "cache-control": "no-store" }],
    ["no-cache, even if public", 200, { "cache-control": "public, no-cache, max-age=60" }],
    ["private, even if public", 200, { "cache-control": "public, private, max-age=60" }],
    ["without public", 200, { "cache-control": "max-age=60" }],
    ["without Cache-Control", 200, {}],
    ["without max-age", 200, { "cache-control": "public" }],
    ["204", 204, PUBLIC],
    ["404", 404, PUBLIC],
  ])("no response if it is %s", async (_, status, headers) => {
    answer = always(status, headers, undefined)
    await ask("/a")
    await ask("/a")
    expect(requests).toHaveLength(2)
    expect(sharedFor(status, headers)).toBe(0)
  })

  test("no response to HEAD, to POST or to a request with a key", async () => {
    answer = always(200, PUBLIC, "")
    await ask("/a", { method: "HEAD" })
    await ask("/a", { method: "POST", body: "x" })
    await ask("/a", { headers: { authorization: "key" } })
    await ask("/a")
    expect(requests).toEqual(["HEAD /a", "POST /a", "GET /a", "GET /a"])
  })

  test("nothing if it only counts", async () => {
    proxy.caching = false
    answer = always(200, PUBLIC, "found")
    await ask("/a")
    await ask("/a")
    expect(proxy.counts).toEqual({ received: 2, forwarded: 2, answered: 0 })
  })
})

describe("identical concurrent requests", () => {
  test("share the first response if it is public", async () => {
    const server = onRelease(200, PUBLIC)
    const answers = [ask("/a"), ask("/a"), ask("/a")]
    await server.until(1)
    await vi.waitFor(() => expect(proxy.counts.received).toBe(3))
    server.release()
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(["0", "0", "0"])
    expect(proxy.counts).toEqual({ received: 3, forwarded: 1, answered: 2 })
  })

  test("are forwarded one by one if the first response is not public", async () => {
    const server = onRelease(200, { "cache-control": "no-store" })
    const answers = [ask("/a"), ask("/a"), ask("/a")]
    await server.until(1)
    await vi.waitFor(() => expect(proxy.counts.received).toBe(3))
    server.release()
    await server.until(2)
    server.release()
    expect((await Promise.all(answers)).map(({ text }) => text).sort()).toEqual(["0", "0", "1"])
    expect(proxy.counts).toEqual({ received: 3, forwarded: 3, answered: 0 })
  })

  test("are forwarded if the client of the first one disconnects", async () => {
    const server = onRelease(200, PUBLIC)
    const left = new AbortController()
    const first = ask("/a", { signal: left.signal }).catch(() => "left")
    await server.until(1)
    const second = ask("/a")
    await vi.waitFor(() => expect(proxy.counts.received).toBe(2))
    left.abort()
    expect(await first).toBe("left")
    await server.until(2)
    server.release()
    expect((await second).status).toBe(200)
  })
})

test("events pass at once, and a client's disconnect reaches the server", async () => {
  const gone = Promise.withResolvers()
  answer = (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
    response.write("data: 1\n\n")
    response.on("close", gone.resolve)
  }
  const left = new AbortController()
  const response = await fetch(`http://${proxy.host}:${proxy.port}/a`, { signal: left.signal })
  const { value } = await response.body.getReader().read()
  expect(Buffer.from(value).toString()).toBe("data: 1\n\n")
  left.abort()
  await gone.promise
})

test("an unreachable server is reported as 502", async () => {
  origin.close()
  answer = (_, response) => response.destroy()
  expect((await ask("/a")).status).toBe(502)
})
