// The page itself: its size, its policy, its absence, and whether everyone can use it.

import { readFileSync, readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { root } from "../deployed.mjs"
import { startServer } from "../server.mjs"
import { DESKTOP, PHONE, rows, useConsole } from "./support.mjs"

/** The most bytes of all files, compressed. */
const SIZE_MAX_BYTES = 100_000

const folder = join(root, "build/console")
const files = () => readdirSync(folder).map((name) => ({ name, bytes: readFileSync(join(folder, name)) }))

describe("the files", () => {
  test("are small", () => {
    const size = files().reduce((sum, { bytes }) => sum + gzipSync(bytes, { level: 9 }).length, 0)
    expect(size).toBeLessThan(SIZE_MAX_BYTES)
    expect(size).toBeGreaterThan(10_000)
  })

  test("have no inline scripts and styles, and name no other host", () => {
    const page = `${readFileSync(join(folder, "index.html"))}`
    expect(page).not.toMatch(/<style|style=|<script(?![^>]* src=)|\son\w+=/u)
    for (const { name, bytes } of files()) {
      const hosts = [...`${bytes}`.matchAll(/https?:\/\/([\w.-]+)/gu)].map(([, host]) => host)
      // Names of XML namespaces are no addresses.
      expect(hosts.filter((host) => host !== "www.w3.org"), name).toEqual([])
    }
  })

  test("are all that the page names, and nothing else", () => {
    const page = `${readFileSync(join(folder, "index.html"))}`
    const named = [...page.matchAll(/"\/console\/([^"]+)"/gu)].map(([, name]) => name)
    expect([...named, "index.html"].sort()).toEqual(files().map(({ name }) => name).sort())
  })
})

describe("the console's URL", () => {
  test("is 404 with CONSOLE = off, and all its files are", async () => {
    const server = await startServer({ hasConsole: true, vars: { CONSOLE: "off" } })
    try {
      for (const path of ["", "/", ...files().map(({ name }) => `/${name}`)]) {
        const response = await fetch(`${server.url}/console${path}`)
        expect([response.status, (await response.json()).error.code], path).toEqual([404, "unknown_route"])
      }
    } finally {
      await server.dispose()
    }
  })

  test("serves the files with their types, and nothing else of the server changes", async () => {
    const server = await startServer({ hasConsole: true })
    try {
      const types = await Promise.all(
        files().map(async ({ name, bytes }) => {
          const response = await fetch(`${server.url}/console/${name}`)
          expect(Buffer.from(await response.arrayBuffer()).equals(bytes), name).toBe(true)
          expect(response.headers.get("content-security-policy"), name).toContain("default-src 'self'")
          return response.headers.get("content-type")
        }),
      )
      expect(new Set(types).size).toBe(4)
      const head = await fetch(`${server.url}/console`, { method: "HEAD" })
      expect([head.status, await head.text()]).toEqual([200, ""])
      for (const path of ["/index.html", "/console/missing.js", "/", "/console.html"]) {
        expect((await fetch(`${server.url}${path}`)).status, path).toBe(404)
      }
      expect((await fetch(`${server.url}/console`, { method: "POST" })).status).toBe(405)
      const created = await fetch(`${server.url}/v1/stream/console`, { method: "PUT" })
      expect(created.status).toBe(201)
    } finally {
      await server.dispose()
    }
  })
})

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/** What axe-core finds wrong. */
async function violations(page) {
  // The page's policy forbids scripts of others, so this one comes through the debugger.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }))
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`)
}

const isWiderThanItsWindow = (page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth)

const LOOKS = ["light", "dark"].flatMap((colorScheme) => [PHONE, DESKTOP, { width: 3840, height: 2160 }].map((viewport) => ({ colorScheme, viewport })))

describe.skipIf(isLeftOut)("everyone can use", () => {
  const console = useConsole()

  test.for(LOOKS)("the page with $viewport.width pixels, $colorScheme", async (look) => {
    await console.create("page/look", [{ a: { b: ["c", 1, true, null] } }, "second"])
    const webhook = { type: "webhook", streams: ["look"], webhook: { url: "https://hooks.example.com/look" } }
    await console.ask("PUT", "page/__ds/subscriptions/look", { body: JSON.stringify(webhook) })
    const page = await console.open(undefined, look)
    await page.getByRole("link", { name: "page/look" }).click()
    await rows(page).filter({ hasText: "second" }).waitFor()
    const found = { messages: await violations(page) }
    await rows(page).filter({ hasText: '"a"' }).click()
    await page.getByRole("region", { name: "Content" }).waitFor()
    found.message = await violations(page)
    found.isWider = (await isWiderThanItsWindow(page)) ? ["the message"] : []
    await page.keyboard.press("Escape")
    const state = page.getByRole("button", { name: "State", exact: true })
    if (await state.count()) await state.click()
    await page.locator(".chart canvas").waitFor()
    found.state = await violations(page)
    // No action is out of sight.
    expect(await page.getByRole("button", { name: "Delete" }).evaluate((button) => button.getBoundingClientRect().right <= innerWidth)).toBe(true)
    if (await isWiderThanItsWindow(page)) found.isWider.push("the state")
    await page.getByRole("button", { name: "New stream" }).click()
    found.dialog = await violations(page)
    await page.keyboard.press("Escape")
    await page.goto(`${console.url}/console#/`)
    await page.getByRole("link", { name: "page/look" }).waitFor()
    found.list = await violations(page)
    await page.getByRole("link", { name: "Subscriptions" }).click()
    await page.locator("article").getByRole("link", { name: "page/look" }).waitFor()
    found.subscriptions = await violations(page)
    if (await isWiderThanItsWindow(page)) found.isWider.push("the subscriptions")
    await page.locator("article h3 a").click()
    await page.getByRole("table", { name: "Streams: 1" }).waitFor()
    found.subscription = await violations(page)
    if (await isWiderThanItsWindow(page)) found.isWider.push("the subscription")
    expect(Object.entries(found).filter(([, wrong]) => wrong.length > 0)).toEqual([])
    expect(page.problems).toEqual([])
  })

  test("a dialog, which keeps the focus and gives it back", async () => {
    const page = await console.open()
    const button = page.getByRole("button", { name: "New stream" })
    await button.focus()
    await page.keyboard.press("Enter")
    const dialog = page.getByRole("dialog", { name: "Create a stream" })
    await dialog.waitFor()
    expect(await page.evaluate(() => document.activeElement?.getAttribute("name"))).toBe("path")
    await page.keyboard.press("Escape")
    await dialog.waitFor({ state: "detached" })
    expect(await button.evaluate((element) => element === document.activeElement)).toBe(true)
  })

  test("a policy that stops what an injected script could do", async () => {
    const page = await console.open()
    await page.getByRole("heading", { name: "Durable Streams" }).waitFor()
    const ran = await page.evaluate(() => {
      const script = document.createElement("script")
      const trying = [
        () => (document.body.innerHTML = "<b>x</b>"),
        () => (script.textContent = "globalThis.ran = true"),
        () => document.body.append(script),
      ]
      const refused = trying.filter((attempt) => {
        try {
          attempt()
          return false
        } catch {
          return true
        }
      })
      return { refused: refused.length, ran: "ran" in globalThis }
    })
    expect(ran).toEqual({ refused: 2, ran: false })
  })
})
