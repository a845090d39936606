// What a browser makes of the server: Chromium, on a page of another origin, with nothing but its own EventSource and
// fetch.

import { existsSync } from "node:fs"
import { createServer } from "node:http"
import { once } from "node:events"
import { chromium } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { CLOSED, JSON_TYPE, LONG_MS, PATIENT, SOON_MS, TEXT, Watch, numbers } from "./support.mjs"
import { producer, readmeExample, scratch, startWorkerd, unique } from "./support.mjs"

const executablePath = "/usr/bin/chromium"
// In CI it must be there: the launch then fails and says why.
const isLeftOut = !existsSync(executablePath) && process.env.CI !== "true"
if (isLeftOut) console.warn(`There is no ${executablePath}: the browser tests are left out.`)

describe.skipIf(isLeftOut)("a page of another origin in Chromium", () => {
  let server, recycling, browser, site, origin
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
    recycling = await startWorkerd(await scratch(), { SSE_LIFETIME_SECONDS: "2" })
    site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"))
    site.listen(0, "127.0.0.1")
    await once(site, "listening")
    origin = `http://127.0.0.1:${site.address().port}`
    const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    browser = await chromium.launch({ executablePath, args, timeout: SOON_MS * 2 })
  }, LONG_MS)
  afterAll(async () => {
    await browser?.close()
    site?.close()
    await server?.kill()
    await recycling?.kill()
  })

  /** A page, and what it tells: `tell(kind, value)` in the page, `story.until(kind, count)` here. */
  async function open() {
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    const story = new Story()
    await page.exposeFunction("tell", story.take)
    page.on("pageerror", (error) => story.take("pageerror", String(error)))
    await page.goto(origin, { timeout: SOON_MS })
    return { page, story }
  }

  test("README's EventSource gets all messages once and in order, over the server's recycles", async () => {
    const stream = recycling.stream(unique("browser"))
    await stream.create(JSON_TYPE, '[{"n":0}]')
    const { page, story } = await open()
    const follow = `
      const S = ${JSON.stringify(stream.url)}
      const render = (messages) => messages.forEach((message) => tell("message", message))
      ${await readmeExample("new EventSource")}
      events.addEventListener("open", () => tell("open"))
      events.addEventListener("error", () => tell("broken"))
      events.addEventListener("control", ({ data, lastEventId: id }) => tell("control", { ...JSON.parse(data), id }))
      window.state = () => events.readyState`
    await page.addScriptTag({ content: `{ ${follow} }` })

    let appended = 1
    const append = async (count) => {
      for (let left = count; left > 0; left -= 1) await stream.append(`{"n":${appended++}}`, JSON_TYPE)
    }
    const recycles = 2
    await story.until("open")
    for (let recycle = 1; recycle <= recycles; recycle += 1) {
      await append(3)
      await story.until("message", appended)
      await story.until("broken", recycle)
      // Chromium comes back after 3 s: these are what it missed.
      await append(3)
      await story.until("open", recycle + 1)
      await append(3)
    }
    await stream.append(`[{"n":${appended++}},{"n":${appended++}}]`, { ...JSON_TYPE, ...CLOSED })
    const [ended] = await story.until("control", 1, ({ streamClosed }) => streamClosed)

    expect(story.all("message").map(({ n }) => n)).toEqual(numbers(appended))
    expect(ended.streamNextOffset).toBe(`0000000000000000_${`${appended}`.padStart(16, "0")}`)
    for (const { id, streamNextOffset } of story.all("control")) expect(id).toBe(streamNextOffset)
    expect(story.all("open").length).toBeGreaterThan(recycles)
    // The example has closed it: it does not come back.
    expect(await page.evaluate("state()")).toBe(2)
    expect(story.all("pageerror")).toEqual([])
  }, LONG_MS)

  test("text of all kinds arrives as it was, but for the ends of lines", async () => {
    const stream = server.stream(unique("text"))
    await stream.create(TEXT)
    await stream.append(" a: b\n\n data: c\r\nd\re é 漢 𝄞 \u2028 \u0085 end", { ...TEXT, ...CLOSED })
    const { page, story } = await open()
    await page.evaluate((url) => {
      const events = new EventSource(`${url}?offset=-1&live=sse`)
      events.addEventListener("data", ({ data }) => window.tell("data", data))
      events.addEventListener("control", () => events.close())
    }, stream.url)
    await story.until("data")
    expect(story.all("data")).toEqual([" a: b\n\n data: c\nd\ne é 漢 𝄞 \u2028 \u0085 end"])
  })

  test("a page that is closed frees its socket by the next event", async () => {
    const stream = server.stream(unique("closed"))
    await stream.create(JSON_TYPE)
    const { page, story } = await open()
    await page.evaluate((url) => {
      const events = new EventSource(`${url}?offset=-1&live=sse`)
      events.addEventListener("control", () => window.tell("at the tail"))
    }, stream.url)
    await story.until("at the tail")
    await page.close()
    // Chromium goes without a word, and not at once; the kernel says so when something is written after that, and workerd
    // notices then or next.
    let hasLeft = false
    const left = server.log.until({ event: "reader_left", stream: stream.path }).finally(() => {
      hasLeft = true
    })
    for (let n = 0; !hasLeft; n += 1) await stream.append(`${n}`, JSON_TYPE)
    await left
  })

  test("fetch reads the protocol's headers, on refusals too", async () => {
    const stream = server.stream(unique("fetch"))
    await stream.create(JSON_TYPE, "[1,2]")
    const { page } = await open()
    const asked = await page.evaluate(async (url) => {
      const ask = async (suffix, init) => {
        const response = await fetch(`${url}${suffix}`, init)
        return [response.status, Object.fromEntries(response.headers), await response.text()]
      }
      return {
        read: await ask("?offset=-1"),
        polled: await ask("?offset=-1&live=long-poll"),
        head: await ask("", { method: "HEAD" }),
        refused: await ask("?offset=0000000000000000_0000000000000009"),
        missing: await ask("/missing"),
      }
    }, stream.url)
    const next = "0000000000000000_0000000000000002"
    const { read, polled, head, refused, missing } = asked
    const seen = (headers) => expect.objectContaining({ "stream-next-offset": next, ...headers })
    expect(read).toEqual([200, seen({ etag: expect.any(String) }), "[1,2]"])
    expect(polled).toEqual([200, seen({ "stream-cursor": expect.stringMatching(/^\d+$/) }), "[1,2]"])
    expect(head).toEqual([200, seen(), ""])
    expect([refused[0], JSON.parse(refused[2]).error.code]).toEqual([400, "offset_beyond_tail"])
    expect([missing[0], JSON.parse(missing[2]).error.code]).toEqual([404, "stream_not_found"])
  })

  test("requests that must be allowed first: create, append by a producer, delete", async () => {
    const stream = server.stream(unique("preflight"))
    const { page } = await open()
    const asked = await page.evaluate(
      async ([url, json, headers]) => {
        const shown = ["stream-next-offset", "producer-seq", "producer-expected-seq", "location"]
        const ask = async (method, headers, body) => {
          const response = await fetch(url, { method, headers: { ...json, ...headers }, body })
          return [response.status, ...shown.map((name) => response.headers.get(name))]
        }
        return {
          created: await ask("PUT", { "stream-ttl": "3600" }),
          appended: await ask("POST", headers, '{"n":1}'),
          duplicate: await ask("POST", headers, '{"n":1}'),
          gap: await ask("POST", { ...headers, "producer-seq": "5" }, "1"),
          // Only with a preflight does a browser find out that this is not allowed.
          unknown: await ask("POST", { "x-unknown": "1" }, "1").catch(String),
          deleted: await ask("DELETE"),
        }
      },
      [stream.url, JSON_TYPE, producer(0)],
    )
    const [start, next] = [0, 1].map((position) => `0000000000000000_000000000000000${position}`)
    expect(asked).toEqual({
      created: [201, start, null, null, stream.url],
      appended: [200, next, "0", null, null],
      duplicate: [204, next, "0", null, null],
      gap: [409, null, null, "1", null],
      unknown: "TypeError: Failed to fetch",
      deleted: [204, null, null, null, null],
    })
  })
})

/** What a page told, in order. */
class Story {
  #told = []
  #watch = new Watch()

  take = (kind, value) => {
    this.#told.push([kind, value])
    this.#watch.changed()
  }

  all(kind) {
    return this.#told.filter(([of]) => of === kind).map(([, value]) => value)
  }

  /** All of this kind that are meant, once there are that many. */
  until(kind, count = 1, isMeant = () => true) {
    const enough = () => {
      const found = this.all(kind).filter(isMeant)
      return found.length >= count && found
    }
    return this.#watch.until(`${count} times ${kind}`, enough, 2 * SOON_MS)
  }
}
