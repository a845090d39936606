// What the tests of the console need: a server, a browser, and the console on a page of it.

import { afterAll, beforeAll } from "vitest"
import { launchChromium } from "../chromium.mjs"
import { startServer } from "../server.mjs"

/** @typedef {import("playwright-core").Page} Page */

/** The size of a desktop's window. */
export const DESKTOP = { width: 1280, height: 800 }
/** The size of a phone's screen. */
export const PHONE = { width: 375, height: 700 }

/**
 * Starts a server and a browser for the tests of a file.
 * @param {Parameters<typeof startServer>[0]} [options]
 */
export function useConsole(options = {}) {
  /** @type {import("playwright-core").Browser} */
  let browser
  /** @type {Awaited<ReturnType<typeof startServer>>} */
  let server
  beforeAll(async () => {
    ;[server, browser] = await Promise.all([startServer({ hasConsole: true, ...options }), launchChromium()])
  })
  afterAll(async () => {
    await browser?.close()
    await server?.dispose()
  })
  return {
    get url() {
      return server.url
    },
    /** Sends a request to a stream. */
    async ask(method, path, { headers = {}, body } = {}) {
      const type = body === undefined || headers["content-type"] ? {} : { "content-type": "application/json" }
      const response = await fetch(`${server.url}/v1/stream/${path}`, { method, headers: { ...type, ...headers }, body })
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
      return response
    },
    /** Creates a stream with these JSON messages. */
    async create(path, messages = [], headers = {}) {
      await this.ask("PUT", path, { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(messages) })
    },
    async append(path, messages) {
      await this.ask("POST", path, { body: JSON.stringify(messages) })
    },
    /**
     * Opens the console on a page of its own.
     * @param {string} [path] the stream to open
     * @param {object} [page]
     * @param {{ width: number, height: number }} [page.viewport]
     * @param {"light" | "dark"} [page.colorScheme]
     * @param {string} [page.token]
     * @param {string} [page.at] the origin of another server
     */
    async open(path, { viewport = DESKTOP, colorScheme = "light", token, at = server.url } = {}) {
      const context = await browser.newContext({ viewport, colorScheme, acceptDownloads: true })
      await context.grantPermissions(["clipboard-read", "clipboard-write"])
      const page = await context.newPage()
      page.setDefaultTimeout(10_000)
      const problems = watch(page)
      if (token !== undefined) await page.addInitScript((value) => sessionStorage.setItem("durable-streams-token", value), token)
      await page.goto(`${at}/console${path === undefined ? "" : `#/stream/${path}`}`)
      return Object.assign(page, { problems, clipboard: () => page.evaluate(() => navigator.clipboard.readText()) })
    },
  }
}

/** Collects errors of the page, violations of its policy, and requests to other hosts. @param {Page} page */
function watch(page) {
  /** @type {string[]} */
  const problems = []
  page.on("pageerror", (error) => problems.push(`${error}`))
  page.on("console", (message) => {
    // A refusal that the page shows is no error of the page.
    const isRefusal = message.text().startsWith("Failed to load resource")
    if ((message.type() === "error" || /autofocus/iu.test(message.text())) && !isRefusal) problems.push(message.text())
  })
  page.on("request", (request) => {
    const url = new URL(request.url())
    if (!["blob:", "data:"].includes(url.protocol) && url.hostname !== "127.0.0.1") problems.push(`a request to ${url}`)
  })
  return problems
}

/** The texts of the messages that the list shows, newest first. @param {Page} page */
export const previews = (page) => page.locator(".row .preview").allTextContents()

/** The rows of the list of messages. @param {Page} page @param {{ selected?: boolean }} [options] */
export const rows = (page, options) => page.getByRole("listbox").getByRole("option", options)
