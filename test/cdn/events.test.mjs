// Server-sent events through nginx as Debian ships it, in front of the worker: each event arrives at once.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { SseReader } from "../platform/readers.mjs"
import { CLOSED, PATIENT, Stream, TEXT, scratch, startWorkerd, unique } from "../platform/support.mjs"
import { isInstalled, startPlainNginx } from "./nginx.mjs"

describe.skipIf(!isInstalled)("through nginx with buffering and gzip as shipped", () => {
  let worker, guarded, nginx, guardedNginx, deaf
  beforeAll(async () => {
    worker = await startWorkerd(await scratch(), PATIENT)
    guarded = await startWorkerd(await scratch(), { ...PATIENT, AUTH_TOKEN })
    nginx = await startPlainNginx(worker.url)
    guardedNginx = await startPlainNginx(guarded.url)
    deaf = await startPlainNginx(worker.url, "proxy_ignore_headers X-Accel-Buffering;")
  })
  afterAll(async () => {
    await Promise.all([nginx?.stop(), guardedNginx?.stop(), deaf?.stop()])
    await Promise.all([worker?.kill(), guarded?.kill()])
  })

  /** The header that a browser sends. */
  const BROWSER = { "accept-encoding": "gzip, deflate, br" }

  test("nginx delivers events at once because the worker disables buffering", async () => {
    const stream = new Stream(worker.url, unique("events"))
    await stream.create(TEXT, "before")
    const reader = await SseReader.open(new Stream(nginx.url, stream.path), { headers: BROWSER })
    expect(reader.response.headers.get("content-encoding")).toBe(null)
    expect(reader.response.headers.get("cache-control")).toBe("no-cache, no-transform")
    await reader.untilAtTail()
    // An nginx that ignores `X-Accel-Buffering` delivers nothing to its reader.
    let hears = false
    const unheard = SseReader.open(new Stream(deaf.url, stream.path), { headers: BROWSER })
    unheard.then(() => (hears = true))
    await worker.log.until({ event: "served", stream: stream.path, method: "GET" }, 2)
    for (const message of ["one", "two", "three"]) {
      await stream.append(message, TEXT)
      await reader.until(message, ({ data }) => data.at(-1) === message)
    }
    expect(hears).toBe(false)
    await stream.append("end", { ...TEXT, ...CLOSED })
    await reader.untilEnd()
    expect(reader.data).toEqual(["before", "one", "two", "three", "end"])
    const late = await unheard
    await late.untilEnd()
    expect(late.data.join("")).toBe("beforeonetwothreeend")
  })

  test.each([
    ["in Authorization", (token) => ({ headers: bearer(token) }), "private, no-cache, no-transform"],
    ["in the URL", (token) => ({ query: `&token=${token}` }), "private, no-store, no-transform"],
    ["in a cookie", (token) => ({ headers: { cookie: `stream-token=${token}` } }), "private, no-store, no-transform"],
  ])("nginx delivers events of a private stream at once, with the token %s", async (_, given, policy) => {
    const stream = new Stream(guarded.url, unique("events"))
    await stream.create({ ...TEXT, ...bearer(AUTH_TOKEN) })
    const reader = await SseReader.open(new Stream(guardedNginx.url, stream.path), given(AUTH_TOKEN))
    expect(reader.response.headers.get("cache-control")).toBe(policy)
    await reader.untilAtTail()
    await stream.append("live", { ...TEXT, ...bearer(AUTH_TOKEN) })
    await reader.until("live", ({ data }) => data.at(-1) === "live")
    await reader.close()
  })
})
