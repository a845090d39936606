// The state of a stream, its subscriptions and the chart.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { useConsole } from "./support.mjs"

const state = (page) => page.getByRole("region", { name: "State" })
const fact = (page, name) => state(page).locator("dl.facts > div").filter({ has: page.getByRole("term").filter({ hasText: name }) }).getByRole("definition")
const openState = (page) => page.getByRole("button", { name: "State", exact: true }).click()

describe.skipIf(isLeftOut)("the state", () => {
  let isBroken = true
  const console = useConsole({
    vars: { WEBHOOK_GIVE_UP_SECONDS: "1" },
    outboundService: () => new Response(null, { status: isBroken ? 500 : 204 }),
  })

  test("shows what HEAD says", async () => {
    await console.create("state/one", [1, 2], { "stream-ttl": "7200", "stream-retention": "86400" })
    const page = await console.open("state/one")
    await openState(page)
    await fact(page, "Tail").getByText("0000000000000000_0000000000000002").waitFor()
    expect(await fact(page, "Type").textContent()).toBe("application/json")
    expect(await fact(page, "TTL").textContent()).toBe("2 h")
    expect(await fact(page, "Retention").textContent()).toContain("86400")
    expect(await fact(page, "Closed").textContent()).toBe("no")
    await console.append("state/one", [3])
    await state(page).getByRole("button", { name: "Refresh", exact: true }).click()
    await fact(page, "Tail").getByText("0000000000000000_0000000000000003").waitFor()
    expect(page.problems).toEqual([])
  })

  test("shows a whole description", async () => {
    await console.create("state/whole", [1])
    const page = await console.open()
    const at = Date.parse("2026-11-01T12:00:00Z")
    const description = {
      path: "state/whole",
      contentType: "application/json",
      createdAt: at,
      writtenAt: at,
      expiresAt: null,
      ttlSeconds: null,
      closed: false,
      public: true,
      retention: { seconds: 86400 },
      start: "0000000000000000_0000000000000000",
      tail: "0000000000000000_0000000000001234",
      messages: 1234,
      hotMessages: 34,
      hotBytes: 5600,
      segments: { count: 2, bytes: 4_000_000, newest: [{ number: 1, messages: 200, bytes: 1_500_000, writtenAt: at }] },
      forkedFrom: { path: "state/source", offset: "0000000000000000_0000000000000007" },
      forks: { count: 1, paths: ["state/fork"] },
      producers: { count: 1, newest: [{ id: "writer-1", epoch: 3, seq: 42, at }] },
      readers: { sse: 2, longPoll: 1 },
      subscriptions: { count: 0, ids: [] },
    }
    await page.route("**/v1/streams/state/whole", (route) => route.fulfill({ json: description }))
    await page.evaluate(() => (location.hash = "#/stream/state/whole"))
    await openState(page)
    await fact(page, "Messages").getByText("1,234").waitFor()
    expect(await fact(page, "Created").textContent()).toMatch(/^2026-11-01 12:00:00 UTC \(\d+ days ago\)$/u)
    expect(await fact(page, "Hot log").textContent()).toBe("34 messages, 5.60 kB")
    expect(await fact(page, "Live readers").textContent()).toBe("2 by SSE, 1 by long-poll")
    expect(await fact(page, "Forked from").getByRole("link").getAttribute("href")).toBe("#/stream/state/source")
    expect(await fact(page, "Forks").getByRole("link").textContent()).toBe("state/fork")
    expect(await state(page).getByRole("table", { name: "Segments: 2, 4.00 MB" }).getByRole("cell").allTextContents()).toContain("1.50 MB")
    expect(await state(page).getByRole("table", { name: "Producers: 1" }).getByRole("cell").allTextContents()).toContain("42")
    await page.getByText("public", { exact: true }).waitFor()
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
