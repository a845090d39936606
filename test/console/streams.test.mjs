// The list of streams: search, pages, live changes, links, and what it does with less than all permissions.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { bearer, makeToken, secretKey } from "../tokens.mjs"
import { rows, useConsole } from "./support.mjs"

const paths = (page) => page.locator(".stream-list .path").allTextContents()
const stream = (page, path) => page.getByRole("link", { name: path, exact: false }).filter({ hasText: path })

describe.skipIf(isLeftOut)("the list of streams", () => {
  const console = useConsole()

  test("is in order, and changes as streams appear and end", async () => {
    await console.create("list/b")
    await console.create("list/d", [1], { "content-type": "application/json" })
    const page = await console.open()
    await stream(page, "list/d").waitFor()
    await page.getByText("Live", { exact: true }).waitFor()
    await console.create("list/c")
    await stream(page, "list/c").waitFor()
    expect((await paths(page)).filter((path) => path.startsWith("list/"))).toEqual(["list/b", "list/c", "list/d"])
    await console.ask("DELETE", "list/b")
    await stream(page, "list/b").waitFor({ state: "detached" })
    expect(page.problems).toEqual([])
  })

  test("is searched by prefix, and Enter opens a path that is not listed", async () => {
    for (const path of ["search/one", "search/two", "other/one"]) await console.create(path)
    const page = await console.open()
    await stream(page, "other/one").waitFor()
    await page.keyboard.press("/")
    await page.keyboard.type("search/")
    await stream(page, "other/one").waitFor({ state: "detached" })
    await stream(page, "search/two").waitFor()
    expect(await paths(page)).toEqual(["search/one", "search/two"])
    // A stream without the prefix does not join the list.
    await console.create("other/two")
    await console.create("search/three")
    await stream(page, "search/three").waitFor()
    expect(await paths(page)).toEqual(["search/one", "search/three", "search/two"])
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("search/none")
    await page.keyboard.press("Enter")
    await page.getByRole("heading", { name: "search/none" }).waitFor()
    expect(await page.getByRole("alert").textContent()).toMatch(/404/u)
  })

  test("creates the stream that a typed path misses", async () => {
    const page = await console.open()
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("typed/path")
    await page.keyboard.press("Enter")
    const create = page.getByRole("button", { name: "Create typed/path" })
    await create.waitFor()
    const path = page.getByRole("dialog", { name: "Create a stream" }).getByLabel("Path")
    await page.getByRole("button", { name: "New stream" }).click()
    expect(await path.inputValue()).toBe("typed/path")
    await page.keyboard.press("Escape")
    await create.click()
    expect(await path.inputValue()).toBe("typed/path")
    await page.keyboard.press("Enter")
    await page.getByText("No messages yet.").waitFor()
    expect(await create.count()).toBe(0)
    expect((await console.ask("HEAD", "typed/path")).status).toBe(200)
    await page.getByRole("button", { name: "New stream" }).click()
    expect(await path.inputValue()).toBe("")
    expect(page.problems).toEqual([])
  })

  test("has pages", async () => {
    const names = Array.from({ length: 130 }, (_, at) => `pages/${`${at}`.padStart(3, "0")}`)
    for (let at = 0; at < names.length; at += 10) await Promise.all(names.slice(at, at + 10).map((name) => console.create(name)))
    const page = await console.open()
    await page.getByText("Live", { exact: true }).waitFor()
    // Without the prefix there are more than 100 streams, too.
    const searched = page.waitForResponse((response) => response.url().includes("prefix=pages"))
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("pages/")
    await searched
    await page.getByText("100+ streams").waitFor()
    // A stream beyond the page does not appear before its page.
    await console.create("pages/zzz")
    await console.create("pages/000a")
    await stream(page, "pages/000a").waitFor()
    expect(await stream(page, "pages/zzz").count()).toBe(0)
    await page.getByRole("button", { name: "Show more" }).click()
    await stream(page, "pages/zzz").waitFor()
    expect(await paths(page)).toEqual([...names, "pages/000a", "pages/zzz"].sort())
  })

  test("links to streams, whatever their names", async () => {
    const path = "links/ä ö/50%/<b>?#"
    await console.create(encodeURIComponent(path).replaceAll("%2F", "/"), ["hello"])
    const page = await console.open()
    await page.locator(".stream-list a", { hasText: path }).click()
    await page.getByRole("heading", { name: path }).waitFor()
    await rows(page).filter({ hasText: "hello" }).waitFor()
    await page.reload()
    await rows(page).filter({ hasText: "hello" }).waitFor()
    expect(await page.title()).toBe(`${path} – Durable Streams`)
    expect(page.problems).toEqual([])
  })

  test("says when an open stream ends", async () => {
    await console.create("ends", [1])
    const page = await console.open("ends")
    await rows(page).waitFor()
    await page.getByText("Live", { exact: true }).first().waitFor()
    await console.ask("DELETE", "ends")
    await page.getByText("There is no stream at this URL").first().waitFor()
  })
})

describe.skipIf(isLeftOut)("the rates of streams", () => {
  const console = useConsole({ vars: { SEGMENT_MAX_APPENDS: "4", SEGMENT_MIN_BYTES: "1" } })
  const rate = (page, path) => page.locator(".stream-list a").filter({ hasText: path }).locator(".type").textContent()

  test("show the fastest first, also across segments, and only on demand", async () => {
    for (const path of ["rate/a", "rate/hot", "rate/slow", "other/hot"]) await console.create(path)
    await console.ask("PUT", "rate/text", { headers: { "content-type": "text/plain" } })
    const page = await console.open()
    await stream(page, "other/hot").waitFor()
    const asked = []
    page.on("request", (request) => request.url().includes("/v1/streams?") && asked.push(request.url()))
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("rate/")
    await stream(page, "other/hot").waitFor({ state: "detached" })
    await page.getByText("4 streams", { exact: true }).waitFor()
    expect(asked).toHaveLength(1)
    const answered = page.waitForResponse((response) => response.url().includes("/v1/streams?"))
    await page.getByRole("button", { name: "Rates" }).click()
    await answered
    // Six appends fill one segment and begin the next.
    for (let at = 0; at < 6; at += 1) await console.append("rate/hot", Array.from({ length: 100 }, () => at))
    await console.append("rate/slow", [1, 2, 3, 4, 5, 6])
    await console.ask("POST", "rate/text", { headers: { "content-type": "text/plain" }, body: "x".repeat(90_000) })
    await page.getByRole("button", { name: "Rates again" }).waitFor()
    expect(await paths(page)).toEqual(["rate/hot", "rate/text", "rate/slow", "rate/a"])
    expect(await rate(page, "rate/hot")).toMatch(/^(1[5-9]\d|200) messages\/s$/u)
    expect(await rate(page, "rate/text")).toMatch(/^(2\d|30)\.\d kB\/s$/u)
    expect(await rate(page, "rate/slow")).toMatch(/^(1\.\d|2) messages\/s$/u)
    expect(await rate(page, "rate/a")).toBe("0 messages/s")
    expect(asked).toHaveLength(3)
    await page.getByRole("button", { name: "By path" }).click()
    expect(await paths(page)).toEqual(["rate/a", "rate/hot", "rate/slow", "rate/text"])
    expect(page.problems).toEqual([])
  })
})

describe.skipIf(isLeftOut)("the list without a registry", () => {
  const console = useConsole({ vars: { REGISTRY_STREAM: "off" } })

  test("says so, and opens paths", async () => {
    await console.create("unlisted", ["hello"])
    const page = await console.open()
    await page.getByText("REGISTRY_STREAM is off").waitFor()
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("unlisted")
    await page.keyboard.press("Enter")
    await rows(page).filter({ hasText: "hello" }).waitFor()
  })
})

describe.skipIf(isLeftOut)("the list of a project", () => {
  const key = secretKey()
  const console = useConsole({ vars: { PROJECT_KEYS: JSON.stringify({ shop: { keys: [key] } }) } })
  const token = (scope, more = {}) => makeToken(key, { sub: "shop", scope, ...more })

  test("has its streams, and follows its registry", async () => {
    const all = bearer(token("read write manage"))
    await console.create("shop/a", [1], all)
    const page = await console.open(undefined, { token: token("read write manage") })
    await stream(page, "shop/a").waitFor()
    await page.getByText("Live", { exact: true }).waitFor()
    await console.create("shop/b", [1], all)
    await stream(page, "shop/b").waitFor()
    expect(page.problems).toEqual([])
  })

  test("comes from the registry if the token may only read", async () => {
    await console.create("shop/read", [1], bearer(token("read write manage")))
    await console.create("shop/gone", [1], bearer(token("read write manage")))
    await console.ask("DELETE", "shop/gone", { headers: bearer(token("read write manage")) })
    const page = await console.open(undefined, { token: token("read") })
    await stream(page, "shop/read").waitFor()
    await stream(page, "shop/gone").waitFor({ state: "detached" })
    expect(await page.getByRole("button", { name: /New stream|Rates/u }).count()).toBe(0)
  })

  test("is asked for again with a new token", async () => {
    await console.create("shop/new", [1], bearer(token("read write manage")))
    const page = await console.open()
    // It asks once: a public stream needs no token.
    await page.getByText("The server refuses requests without a token.").waitFor()
    await page.keyboard.press("Escape")
    await page.getByText("The server requires a token").waitFor()
    expect(await page.getByRole("dialog").count()).toBe(0)
    await page.getByRole("button", { name: "Set token" }).click()
    await page.getByRole("textbox", { name: "Token" }).fill(token("read manage"))
    await page.getByText("read, manage").waitFor()
    await page.keyboard.press("Enter")
    await stream(page, "shop/new").waitFor()
    expect(await page.evaluate(() => Object.keys(localStorage).length + document.cookie.length)).toBe(0)
    expect(page.url()).not.toContain("ey")
    await page.getByRole("button", { name: "Token" }).click()
    await page.getByRole("button", { name: "Forget" }).click()
    await page.getByText("The server requires a token").waitFor()
    expect(await page.getByRole("dialog").count()).toBe(0)
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0)
  })
})
