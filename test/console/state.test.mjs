// The state of a stream, its subscriptions and the chart.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { startServer } from "../server.mjs"
import { bearer, makeToken, secretKey } from "../tokens.mjs"
import { useConsole } from "./support.mjs"

const state = (page) => page.getByRole("region", { name: "State" })
const fact = (page, name) => state(page).locator("dl.facts > div").filter({ has: page.getByRole("term").filter({ hasText: name }) }).getByRole("definition")
const guard = secretKey()
const openState = (page) => page.getByRole("button", { name: "State", exact: true }).click()

describe.skipIf(isLeftOut)("the state", () => {
  let isBroken = true
  const console = useConsole({
    vars: { WEBHOOK_GIVE_UP_SECONDS: "1", SEGMENT_MAX_APPENDS: "4" },
    outboundService: () => new Response(null, { status: isBroken ? 500 : 204 }),
  })

  test("shows everything to the owner, also what changes", async () => {
    const producer = { "producer-id": "writer-1", "producer-epoch": "3", "producer-seq": "0" }
    await console.create("state/one", [1, 2], { "stream-ttl": "7200", "stream-retention": "86400" })
    await console.ask("POST", "state/one", { body: "[3]", headers: producer })
    await console.ask("PUT", "state/fork", { headers: { "stream-forked-from": "/v1/stream/state/one" } })
    const page = await console.open("state/one")
    await page.getByText("Live", { exact: true }).last().waitFor()
    await openState(page)
    await fact(page, "Tail").getByText("0000000000000000_0000000000000003").waitFor()
    expect(await fact(page, "Type").textContent()).toBe("application/json")
    expect(await fact(page, "TTL").textContent()).toBe("2 h")
    expect(await fact(page, "Retention").textContent()).toBe("24 h")
    expect(await fact(page, "Closed").textContent()).toBe("no")
    expect(await fact(page, "Created").textContent()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(.+ ago\)$/u)
    expect(await fact(page, "Forks").getByRole("link").getAttribute("href")).toBe("#/stream/state/fork")
    expect(await state(page).getByRole("table", { name: "Producers: 1" }).getByRole("cell").allTextContents()).toEqual(
      expect.arrayContaining(["writer-1", "3", "0"]),
    )
    await console.append("state/one", [4])
    const refresh = state(page).getByRole("button", { name: "Refresh", exact: true })
    await refresh.click()
    await fact(page, "Tail").getByText("0000000000000000_0000000000000004").waitFor()
    // The console itself.
    await expect.poll(async () => (await refresh.click(), fact(page, "Live readers").textContent())).toBe("1 by SSE (including this page), 0 by long-poll")
    // The fourth append filled a segment.
    await console.append("state/one", [5])
    const segments = state(page).getByRole("table", { name: /^Segments: 1/u })
    await expect.poll(async () => (await refresh.click(), segments.count()), { timeout: 10_000 }).toBe(1)
    await fact(page, "Forks").getByRole("link").click()
    await fact(page, "Forked from").getByRole("link", { name: "state/one" }).waitFor()
    expect(await fact(page, "Own messages").textContent()).toBe("0")
    expect(page.problems).toEqual([])
  })

  test("is as of when it is opened", async () => {
    await console.create("state/stale", [1])
    const page = await console.open("state/stale")
    await page.getByText("1 loaded").waitFor()
    await console.append("state/stale", [2, 3])
    await page.getByText("3 loaded").waitFor()
    await openState(page)
    // The next refresh would come later.
    await fact(page, "Messages").getByText("3", { exact: true }).waitFor({ timeout: 5_000 })
  })

  test("shows since when the registry and the segment index are behind", async () => {
    // The index has no tables.
    const server = await startServer({ hasConsole: true, mirrors: true, vars: { SEGMENT_MAX_APPENDS: "1", SEGMENT_MIN_BYTES: "1" } })
    try {
      const init = { headers: { "content-type": "text/plain" }, body: "x" }
      for (const method of ["PUT", "POST"]) await fetch(`${server.url}/v1/stream/state/behind`, { method, ...init })
      const page = await console.open("state/behind", { at: server.url })
      await openState(page)
      const refresh = state(page).getByRole("button", { name: "Refresh", exact: true })
      const index = async () => (await refresh.click(), fact(page, "Segment index").textContent())
      await expect.poll(index, { timeout: 10_000 }).toMatch(/^behind since .+: Error: D1_ERROR: no such table/u)
      expect(await fact(page, "Registry").textContent()).toBe("up to date")
    } finally {
      await server.dispose()
    }
  })

  test("shows what HEAD says to others", async () => {
    const key = (scope) => makeToken(guard, { sub: "shop", scope })
    const server = await startServer({ hasConsole: true, vars: { PROJECT_KEYS: JSON.stringify({ shop: { keys: [guard] } }) } })
    try {
      const headers = { "content-type": "text/plain", "stream-expires-at": "2099-12-31T00:00:00Z", ...bearer(key("manage")) }
      expect((await fetch(`${server.url}/v1/stream/shop/head`, { method: "PUT", headers, body: "text" })).status).toBe(201)
      const page = await console.open("shop/head", { token: key("read"), at: server.url })
      await openState(page)
      await fact(page, "Tail").getByText("0000000000000000_0000000000000004").waitFor()
      expect(await fact(page, "Expiry").textContent()).toContain("2099-12-31 00:00:00 UTC")
      await state(page).getByText("The server shows the rest to tokens with the scope manage").waitFor()
    } finally {
      await server.dispose()
    }
  })

  test("counts what arrives", async () => {
    await console.create("state/chart")
    const page = await console.open("state/chart")
    await page.getByText("Live", { exact: true }).last().waitFor()
    await openState(page)
    await page.locator(".chart canvas").waitFor()
    await console.append("state/chart", Array.from({ length: 25 }, () => "x".repeat(98)))
    await state(page).getByText("25 messages/s, 2.50 kB/s").waitFor()
  })

  test("asks for no subscriptions of a registry, which has none", async () => {
    await console.create("state/registered")
    const page = await console.open("__registry__")
    const asked = []
    page.on("request", (request) => asked.push(new URL(request.url()).pathname))
    await openState(page)
    await page.locator(".chart canvas").waitFor()
    await fact(page, "Tail").waitFor()
    expect(asked.filter((path) => path.includes("__ds"))).toEqual([])
    expect(await state(page).getByRole("heading", { name: "Subscriptions" }).count()).toBe(0)
    expect(await page.getByRole("alert").count()).toBe(0)
  })

  test("shows subscriptions, their failures, and resumes them", async () => {
    await console.create("state/job/1")
    const webhook = { type: "webhook", streams: ["job/1"], webhook: { url: "https://hooks.example.com/job" } }
    await console.ask("PUT", "state/__ds/subscriptions/work", { body: JSON.stringify(webhook) })
    const page = await console.open("state/job/1")
    await openState(page)
    await state(page).getByText("work", { exact: true }).waitFor()
    await state(page).getByText("active", { exact: true }).waitFor()
    await console.append("state/job/1", ["news"])
    const refresh = state(page).getByRole("button", { name: "Refresh subscriptions" })
    const resume = state(page).getByRole("button", { name: "Resume work" })
    await expect.poll(async () => (await refresh.click(), resume.count()), { timeout: 20_000 }).toBe(1)
    await state(page).getByText("Last error").waitFor()
    isBroken = false
    await resume.click()
    await page.getByText("Resumed.").waitFor()
    await expect.poll(async () => (await refresh.click(), state(page).getByText("active", { exact: true }).count()), { timeout: 20_000 }).toBe(1)
  })
})

describe.skipIf(isLeftOut)("a failing subscription", () => {
  let calls = 0
  const console = useConsole({ outboundService: () => ((calls += 1), new Response(null, { status: calls < 2 ? 503 : 204, headers: { "retry-after": "1800" } })) })

  test("is retried at once", async () => {
    await console.create("retry/job/1")
    const webhook = { type: "webhook", streams: ["job/1"], webhook: { url: "https://hooks.example.com/job" } }
    await console.ask("PUT", "retry/__ds/subscriptions/work", { body: JSON.stringify(webhook) })
    await console.append("retry/job/1", ["news"])
    const status = async () => (await (await console.ask("GET", "retry/__ds/subscriptions/work")).json()).status
    await expect.poll(status, { timeout: 10_000 }).toBe("failed")
    const page = await console.open("retry/job/1")
    await openState(page)
    await state(page).getByText("1 stream pending").waitFor()
    await state(page).getByText(/Next attempt: .+ \(in \d+ min\)/u).waitFor()
    await state(page).getByRole("button", { name: "Retry now: work" }).click()
    await page.getByText("Retrying.").waitFor()
    await expect.poll(status, { timeout: 10_000 }).toBe("active")
    expect(calls).toBe(2)
    await state(page).getByRole("button", { name: "Refresh subscriptions" }).click()
    await state(page).getByText("active", { exact: true }).waitFor()
    expect(await state(page).getByRole("button", { name: /Retry/u }).count()).toBe(0)
    expect(page.problems).toEqual([])
  })
})
