// What a browser makes of the server: Chromium, on a page of another origin, with only its own EventSource and fetch.

import { createServer } from "node:http"
import { once } from "node:events"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { CLOSED, JSON_TYPE, LONG_MS, PATIENT, SOON_MS, TEXT, Watch, numbers } from "./support.mjs"
import { documentExample, documentExamples, producer, scratch, startWorkerd, unique } from "./support.mjs"
import { isLeftOut, launchChromium } from "../chromium.mjs"
import { bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"

describe.skipIf(isLeftOut)("a page of another origin in Chromium", () => {
  let server, recycling, browser, site, origin
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), PATIENT)
    recycling = await startWorkerd(await scratch(), { SSE_LIFETIME_SECONDS: "2" })
    site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"))
    site.listen(0, "127.0.0.1")
    await once(site, "listening")
    origin = `http://127.0.0.1:${site.address().port}`
    browser = await launchChromium()
  }, LONG_MS)
  afterAll(async () => {
    await browser?.close()
    site?.close()
    await server?.kill()
    await recycling?.kill()
  })

  /**
   * A page, and what it reports: the page calls `tell(kind, value)`, and the test waits with `story.until(kind,
   * count)`.
   */
  async function open() {
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    const story = new Story()
    await page.exposeFunction("tell", story.take)
    page.on("pageerror", (error) => story.take("pageerror", String(error)))
    await page.goto(origin, { timeout: SOON_MS })
    return { page, story }
  }

  test("the documents' EventSource gets all messages once and in order, over the server's recycles", async () => {
    const stream = recycling.stream(unique("browser"))
    await stream.create(JSON_TYPE, '[{"token":0}]')
    const { page, story } = await open()
    const examples = await documentExamples("new EventSource(")
    const example = examples.find((code) => !code.includes("<script"))
    const follow = `
      const console = { log: (token) => tell("message", token) }
      ${example.replace(/http:[^"`'?]+/u, stream.url)}
      events.addEventListener("open", () => tell("open", performance.now()))
      events.addEventListener("error", () => tell("broken", performance.now()))
      events.addEventListener("control", ({ data, lastEventId: id }) => tell("control", { ...JSON.parse(data), id }))
      window.state = () => events.readyState`
    await page.addScriptTag({ content: `{ ${follow} }` })

    let appended = 1
    const append = async (count) => {
      for (let left = count; left > 0; left -= 1) await stream.append(`{"token":${appended++}}`, JSON_TYPE)
    }
    const recycles = 2
    await story.until("open")
    for (let recycle = 1; recycle <= recycles; recycle += 1) {
      await append(3)
      await story.until("message", appended)
      await story.until("broken", recycle)
      // The page misses these messages until it reconnects.
      await append(3)
      await story.until("open", recycle + 1)
      await append(3)
    }
    await stream.append(`[{"token":${appended++}},{"token":${appended++}}]`, { ...JSON_TYPE, ...CLOSED })
    const [ended] = await story.until("control", 1, ({ streamClosed }) => streamClosed)

    expect(story.all("message")).toEqual(numbers(appended))
    expect(ended.streamNextOffset).toBe(`0000000000000000_${`${appended}`.padStart(16, "0")}`)
    for (const { id, streamNextOffset } of story.all("control")) expect(id).toBe(streamNextOffset)
    expect(story.all("open").length).toBeGreaterThan(recycles)
    // Without `retry:` Chromium waits 3 s.
    const [opened, broken] = [story.all("open"), story.all("broken")]
    for (const recycle of numbers(recycles)) expect(opened[recycle + 1] - broken[recycle]).toBeLessThan(2000)
    // The example has closed it: it does not come back.
    expect(await page.evaluate("state()")).toBe(2)
    expect(story.all("pageerror")).toEqual([])
  }, LONG_MS)

  test("README's page shows what another one appends", async () => {
    const stream = recycling.stream(unique("page"))
    const html = (await documentExample("<script")).replace(/http:[^"`'?]+/u, stream.url)
    const pages = [(await open()).page, (await open()).page]
    for (const page of pages) {
      // From then on the form sends what it has.
      const follows = page.waitForResponse(/live=sse/u, { timeout: SOON_MS })
      await page.setContent(html, { timeout: SOON_MS })
      await follows
    }
    for (const [from, page] of pages.entries()) {
      await page.fill("input", `from ${from}`, { timeout: SOON_MS })
      await page.click("button", { timeout: SOON_MS })
      for (const each of pages) await each.getByText(`from ${from}`).waitFor({ timeout: SOON_MS })
    }
  })

  test("text arrives unchanged, except for line ends", async () => {
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

  test("a closed page frees its socket by the next event", async () => {
    const stream = server.stream(unique("closed"))
    await stream.create(JSON_TYPE)
    const { page, story } = await open()
    await page.evaluate((url) => {
      const events = new EventSource(`${url}?offset=-1&live=sse`)
      events.addEventListener("control", () => window.tell("at the tail"))
    }, stream.url)
    await story.until("at the tail")
    await page.close()
    // Chromium does not announce that a page closes, and does not close the connection at once. The kernel reports it
    // when the server writes after that, and workerd notices at that write or the next.
    let hasLeft = false
    const left = server.log.until({ event: "reader_left", stream: stream.path }).finally(() => {
      hasLeft = true
    })
    for (let n = 0; !hasLeft; n += 1) await stream.append(`${n}`, JSON_TYPE)
    await left
  })

  test("fetch can read the protocol's headers, on refusals too", async () => {
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

  test("requests with a preflight succeed: create, append by a producer, delete", async () => {
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
          // The preflight allows headers that tracing and HTTP libraries add, whatever their names.
          traced: await ask("POST", { traceparent: "00-1-1-00", "x-unknown": "1", "cache-control": "no-cache" }, "2"),
          // The page can read the refusal of an invalid path.
          misspelt: await fetch(`${url}//x`, { method: "PUT", headers: json }).then(({ status }) => status),
          deleted: await ask("DELETE"),
        }
      },
      [stream.url, JSON_TYPE, producer(0)],
    )
    const [start, next, last] = [0, 1, 2].map((position) => `0000000000000000_000000000000000${position}`)
    expect(asked).toEqual({
      created: [201, start, null, null, stream.url],
      appended: [200, next, "0", null, null],
      duplicate: [204, next, "0", null, null],
      gap: [409, null, null, "1", null],
      traced: [204, last, null, null, null],
      misspelt: 400,
      deleted: [204, null, null, null, null],
    })
  })
})

/** Requests another stream with the credentials of the page. */
const SCRIPT = `
  const token = new URLSearchParams(location.search).get("token")
  fetch("/v1/stream/shared/secret?offset=-1" + (token ? "&token=" + token : "")).catch(() => {})`
const HTML = `<!doctype html><img src="/v1/stream/shared/secret?offset=-1"><script>${SCRIPT}</script>`
const XHTML = `<html xmlns="http://www.w3.org/1999/xhtml"><script><![CDATA[${SCRIPT}]]></script></html>`

/** Content that would run a script, by content type. */
const ACTIVE = {
  "text/html": HTML,
  "text/html; charset=utf-8": HTML,
  "image/svg+xml": `<svg xmlns="http://www.w3.org/2000/svg"><script><![CDATA[${SCRIPT}]]></script></svg>`,
  "application/xhtml+xml": XHTML,
  "text/xml": XHTML,
  "application/xml": XHTML,
  "multipart/x-mixed-replace; boundary=b": `--b\r\nContent-Type: text/html\r\n\r\n${HTML}\r\n--b--\r\n`,
  "text/javascript": SCRIPT,
  "application/pdf": "%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/URI/URI(/v1/stream/shared/secret)>>>>endobj\n%%EOF",
  "application/x-unheard-of": HTML,
  'text/plain; x="a, text/html"': HTML,
  'text/plain ;x="\\",text/html;\\""': HTML,
  "text/html ;charset=utf-8": HTML,
  "text/html; ;": HTML,
  'text/plain ;x="text/html;";;': HTML,
  "text/plain": HTML,
  "application/json": JSON.stringify(HTML),
  "application/octet-stream": HTML,
  "text/event-stream": HTML,
}

describe.skipIf(isLeftOut)("a page in Chromium that is a stream's content", () => {
  const key = secretKey()
  const token = makeToken(key, { sub: "shared", exp: inSeconds(3600) })
  let server, browser, site
  beforeAll(async () => {
    server = await startWorkerd(await scratch(), { PROJECT_KEYS: JSON.stringify({ shared: { keys: [key] } }) })
    site = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"))
    site.listen(0, "127.0.0.1")
    await once(site, "listening")
    browser = await launchChromium()
    await server.stream("shared/secret").create({ ...TEXT, ...bearer(token) }, "secret")
  }, LONG_MS)
  afterAll(async () => {
    await browser?.close()
    site?.close()
    await server?.kill()
  })

  /** Opens a URL, and returns the requests for the other stream once the content has been shown, saved or refused. */
  async function reached(url, { cookie, framed }) {
    const context = await browser.newContext()
    onTestFinished(() => context.close())
    if (cookie) await context.addCookies([{ name: "stream-token", value: token, url: server.url, httpOnly: true }])
    const page = await context.newPage()
    const requests = []
    context.on("request", (request) => requests.push(request.url()))
    const saved = page.waitForEvent("download", { timeout: SOON_MS }).catch(() => {})
    if (framed) {
      await page.goto(`http://127.0.0.1:${site.address().port}`, { timeout: SOON_MS })
      const shown = page.evaluate((url) => {
        const frame = document.createElement("iframe")
        frame.src = url
        return new Promise((resolve) => {
          frame.addEventListener("load", resolve)
          document.body.append(frame)
        }).then(() => {})
      }, url)
      await Promise.race([shown, saved])
    } else {
      await page.goto(url, { waitUntil: "load", timeout: SOON_MS }).catch(() => saved)
    }
    // The page's requests have been seen once a later request of the browser has.
    const last = await context.newPage()
    await last.goto(`${server.url}/health`, { timeout: SOON_MS })
    expect(requests).toContain(url)
    return requests.filter((asked) => asked.includes("/shared/secret"))
  }

  for (const [type, body] of Object.entries(ACTIVE)) {
    test(`no content of type ${type} runs, or requests another stream`, async () => {
      const stream = server.stream(`shared/${unique("page")}`)
      await stream.create({ "content-type": type, ...bearer(token) }, body)
      for (const [how, visit] of Object.entries({
        "with the cookie": { url: `${stream.url}?offset=-1`, cookie: true },
        "with the cookie, by its bare URL": { url: stream.url, cookie: true },
        "with a token in the URL": { url: `${stream.url}?offset=-1&token=${token}` },
        "in a frame of another origin": { url: `${stream.url}?offset=-1`, cookie: true, framed: true },
        "as a long-poll": { url: `${stream.url}?offset=-1&live=long-poll`, cookie: true },
      })) {
        expect([how, await reached(visit.url, visit)]).toEqual([how, []])
      }
    }, LONG_MS)
  }
})

/** What a page reported, in order. */
class Story {
  #reported = []
  #watch = new Watch()

  take = (kind, value) => {
    this.#reported.push([kind, value])
    this.#watch.changed()
  }

  all(kind) {
    return this.#reported.filter(([of]) => of === kind).map(([, value]) => value)
  }

  /** The values of this kind that match, once there are `count` of them. */
  until(kind, count = 1, isMeant = () => true) {
    const enough = () => {
      const found = this.all(kind).filter(isMeant)
      return found.length >= count && found
    }
    return this.#watch.until(`${count} times ${kind}`, enough, 2 * SOON_MS)
  }
}
