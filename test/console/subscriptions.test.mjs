// Subscriptions: the list, one of them, and the links to them.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { bearer, makeToken, secretKey } from "../tokens.mjs"
import { numbers } from "../platform/support.mjs"
import { DESKTOP, PHONE, rows, useConsole } from "./support.mjs"

const SOME_MINUTES = { "retry-after": "1800" }

const list = (page) => page.getByRole("region", { name: "Subscriptions" })
const one = (page) => page.getByRole("region", { name: "Subscription", exact: true })
const ids = (page) => list(page).locator("article h3 a").allTextContents()

/** Creates the webhook `id` of a root for these streams. */
const subscribe = (console, root, id, streams, headers = {}) =>
  console.ask("PUT", `${root}__ds/subscriptions/${encodeURIComponent(id)}`, {
    headers,
    body: JSON.stringify({ type: "webhook", streams, webhook: { url: `https://hooks.example.com/${encodeURIComponent(id)}` } }),
  })

describe.skipIf(isLeftOut)("the list of subscriptions", () => {
  let isBroken = true
  const console = useConsole({ outboundService: () => new Response(null, isBroken ? { status: 503, headers: SOME_MINUTES } : { status: 204 }) })
  const show = async (id) => (await console.ask("GET", `shop/__ds/subscriptions/${id}`)).json()

  test("has those of all projects, failed ones first, and retries one", async () => {
    for (const path of ["shop/jobs/1", "shop/mail/1", "mill/jobs/1"]) await console.create(path)
    await subscribe(console, "shop/", "a-quiet", ["jobs/1"])
    await subscribe(console, "shop/", "z-broken", ["mail/1"])
    await subscribe(console, "mill/", "b", ["jobs/1"])
    await subscribe(console, "", "of/all", ["mill/jobs/1"])
    await console.create("shop/wakes")
    const pull = { type: "pull-wake", pattern: "jobs/*", wake_stream: "wakes" }
    await console.ask("PUT", "shop/__ds/subscriptions/pull", { body: JSON.stringify(pull) })
    await console.append("shop/mail/1", ["news"])
    await expect.poll(async () => (await show("z-broken")).status, { timeout: 10_000 }).toBe("failed")
    const page = await console.open()
    await page.getByRole("link", { name: "shop/mail/1" }).waitFor()
    await page.getByRole("link", { name: "Subscriptions" }).click()
    await expect.poll(() => ids(page)).toEqual(["z-broken", "of/all", "b", "a-quiet", "pull"])
    await list(page).getByText("Of /v1/stream, mill, shop.").waitFor()
    const broken = list(page).locator("article").filter({ hasText: "z-broken" })
    await broken.getByText("webhook to https://hooks.example.com/z-broken, 1 stream pending").waitFor()
    await broken.getByText(/Last error, .+ 503/u).waitFor()
    await broken.getByText(/Next attempt: .+ \(in \d+ min\)/u).waitFor()
    await list(page).locator("article").filter({ hasText: "pull-wake" }).getByText("Pattern: shop/jobs/*").waitFor()
    await list(page).getByRole("button", { name: "Failed or parked 1" }).click()
    expect(await ids(page)).toEqual(["z-broken"])
    isBroken = false
    await broken.getByRole("button", { name: "Retry now: z-broken" }).click()
    await list(page).getByText("None has failed.").waitFor()
    expect((await show("z-broken")).status).toBe("active")
    await list(page).getByRole("button", { name: "All 5" }).click()
    await broken.getByRole("link", { name: "shop/mail/1" }).click()
    await rows(page).filter({ hasText: "news" }).waitFor()
    expect(page.problems).toEqual([])
  })

  test("is refreshed while it is open, and fits every window", { timeout: 60_000 }, async () => {
    await console.create("fresh/1")
    const pages = await Promise.all([DESKTOP, PHONE].map((viewport) => console.open(undefined, { viewport })))
    for (const page of pages) {
      await page.getByRole("link", { name: "Subscriptions" }).click()
      await list(page).waitFor()
    }
    await subscribe(console, "fresh/", "later", ["1"])
    for (const page of pages) {
      await list(page).getByRole("link", { name: "later" }).waitFor({ timeout: 20_000 })
      expect(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)).toBe(false)
      expect(page.problems).toEqual([])
    }
    await pages[1].getByRole("link", { name: "All streams" }).click()
    await pages[1].getByRole("link", { name: "fresh/1" }).waitFor()
  })

  test("asks the project of the prefix", async () => {
    await console.create("other/1")
    const page = await console.open()
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("other/")
    await page.getByText("1 stream", { exact: true }).waitFor()
    await page.getByRole("link", { name: "Subscriptions" }).click()
    await list(page).getByText("Of /v1/stream, other.").waitFor()
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("nothing/")
    await list(page).getByText("Of /v1/stream, nothing.").waitFor()
    expect(await page.getByRole("alert").count()).toBe(0)
  })

  test("reads the next page on demand", async () => {
    await Promise.all(numbers(101).map((n) => subscribe(console, "many/", `s${String(n).padStart(3, "0")}`, [`${n}`])))
    const page = await console.open()
    await page.getByRole("searchbox", { name: /Search streams/u }).fill("many/")
    await page.getByRole("link", { name: "Subscriptions" }).click()
    await list(page).getByText("Of many only the first 100.").waitFor()
    expect(await list(page).getByRole("link", { name: "s100" }).count()).toBe(0)
    await list(page).getByRole("button", { name: "Show more" }).click()
    await list(page).getByRole("link", { name: "s100" }).waitFor()
    await list(page).getByText("A list of several pages is not refreshed by itself.").waitFor()
    expect(await list(page).getByRole("button", { name: "Show more" }).count()).toBe(0)
    expect(page.problems).toEqual([])
  })

  test("opens one from its path, and from its event in the registry", async () => {
    await console.create("typed/jobs/1")
    await subscribe(console, "typed/", "a/b c", ["jobs/1"])
    const page = await console.open()
    const search = page.getByRole("searchbox", { name: /Search streams/u })
    await search.fill("typed/__ds/subscriptions/a/b c")
    await search.press("Enter")
    await page.getByRole("heading", { name: "typed/__ds/subscriptions/a/b c" }).waitFor()
    await one(page).getByRole("table", { name: "Streams: 1" }).getByRole("link", { name: "typed/jobs/1" }).waitFor()
    await page.getByRole("link", { name: "Registry" }).click()
    await rows(page).filter({ hasText: "a/b c" }).first().click()
    await page.getByRole("link", { name: "Open subscription" }).click()
    await one(page).getByText("webhook to https://hooks.example.com/").waitFor()
    expect(await page.getByRole("alert").count()).toBe(0)
    await page.reload()
    await one(page).getByRole("link", { name: "typed/jobs/1" }).waitFor()
    await search.fill("typed/__ds/subscriptions/none")
    await search.press("Enter")
    await page.getByRole("alert").filter({ hasText: "404" }).waitFor()
    await page.getByRole("link", { name: "All subscriptions" }).click()
    await list(page).waitFor()
    expect(page.problems).toEqual([])
  })
})

describe.skipIf(isLeftOut)("the subscriptions of a project", () => {
  const key = secretKey()
  const console = useConsole({
    vars: { PROJECT_KEYS: JSON.stringify({ shop: { keys: [key] } }), WEBHOOK_GIVE_UP_SECONDS: "1" },
    outboundService: () => new Response(null, { status: 410 }),
  })
  const token = (scope) => makeToken(key, { sub: "shop", scope })

  test("are those of the token's project, and a parked one is resumed only with manage", async () => {
    const all = token("read write manage")
    await console.create("shop/1", [], bearer(all))
    await subscribe(console, "shop/", "gone", ["1"], bearer(all))
    await console.ask("POST", "shop/1", { headers: bearer(all), body: "[1]" })
    const page = await console.open(undefined, { token: all })
    await page.getByRole("link", { name: "Subscriptions" }).click()
    await list(page).getByText("Of shop.").waitFor()
    await list(page).getByText("parked", { exact: true }).waitFor({ timeout: 20_000 })
    await list(page).getByRole("button", { name: "Resume gone" }).waitFor()
    expect(page.problems).toEqual([])
    const reader = await console.open("shop/__ds/subscriptions/gone", { token: token("read") })
    await one(reader).getByText("parked", { exact: true }).waitFor()
    expect(await one(reader).getByRole("button", { name: "Resume gone" }).count()).toBe(0)
  })
})
