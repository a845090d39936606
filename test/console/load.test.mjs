// Busy streams, hostile messages and bounded memory.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { rows, useConsole } from "./support.mjs"

const row = (page, text) => rows(page).filter({ hasText: text })

/** How many messages per second arrive, for how many seconds. */
const RATE = 200
const SECONDS = 6
/** A gap between two frames that a user notices, in milliseconds. */
const GAP_MS = 250
/** How much of the time may be in such gaps. A machine that runs other tests has some by itself. */
const GAPS_SHARE_MAX = 0.25

describe.skipIf(isLeftOut)("a busy stream", () => {
  const console = useConsole()

  test(`of ${RATE} messages a second stays smooth`, { timeout: 60_000 }, async () => {
    await console.create("load/busy")
    const page = await console.open("load/busy")
    await page.getByText("Live", { exact: true }).last().waitFor()
    await page.evaluate(() => {
      globalThis.gaps = []
      let before = performance.now()
      const frame = (now) => {
        globalThis.gaps.push(now - before)
        before = now
        requestAnimationFrame(frame)
      }
      requestAnimationFrame(frame)
    })
    const batches = SECONDS * 20
    const begun = Date.now()
    for (let batch = 0; batch < batches; batch += 1) {
      const messages = Array.from({ length: RATE / 20 }, (_, at) => ({ n: batch * (RATE / 20) + at, user: { name: "Ada" }, text: "some words ".repeat(10) }))
      await console.append("load/busy", messages)
      // Keeps the rate where the server is faster.
      const early = begun + (batch + 1) * 50 - Date.now()
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early))
    }
    await page.getByText(`${(RATE * SECONDS).toLocaleString("en")} loaded`).waitFor()
    const gaps = await page.evaluate(() => globalThis.gaps)
    const total = gaps.reduce((sum, gap) => sum + gap, 0)
    const inGaps = gaps.filter((gap) => gap > GAP_MS).reduce((sum, gap) => sum + gap, 0)
    globalThis.console.log(`${gaps.length} frames in ${Math.round(total)} ms, ${Math.round(inGaps)} ms in gaps over ${GAP_MS} ms, longest ${Math.round(Math.max(...gaps))} ms`)
    expect(inGaps / total).toBeLessThan(GAPS_SHARE_MAX)
    expect(await rows(page).count()).toBeLessThan(100)
    expect(page.problems).toEqual([])
  })

  test("is kept in memory up to a bound", { timeout: 90_000 }, async () => {
    await console.create("load/bound")
    const page = await console.open("load/bound")
    await page.getByText("Live", { exact: true }).last().waitFor()
    for (let batch = 0; batch < 12; batch += 1) await console.append("load/bound", Array.from({ length: 1000 }, (_, at) => batch * 1000 + at))
    await row(page, "11999").first().waitFor()
    await page.getByText("10,000 loaded").waitFor()
    // Large messages are bounded by their size.
    for (let batch = 0; batch < 36; batch += 1) await console.append("load/bound", [`${batch} ${"x".repeat(1_000_000)}`])
    await row(page, '"35 x').waitFor()
    await page.getByText("33 loaded").waitFor()
    expect(page.problems).toEqual([])
  })
})

/** The JSON text of an array in an array, and so on. */
const nested = (depth) => "[".repeat(depth) + "]".repeat(depth)

describe.skipIf(isLeftOut)("a hostile message", () => {
  const console = useConsole()
  const content = (page) => page.getByRole("region", { name: "Content" })

  test("of HTML is text", async () => {
    const hostile = '<script>globalThis.ran = 1</script><img src=x onerror="globalThis.ran = 1"><style>*{display:none}</style>'
    await console.create("hostile/html", [{ [hostile]: hostile }])
    await console.ask("PUT", "hostile/page", { headers: { "content-type": "text/html" }, body: hostile })
    const page = await console.open("hostile/html")
    await row(page, "<script>").click()
    await content(page).getByText(hostile).first().waitFor()
    for (const form of ["Raw", "Hex"]) await page.getByRole("button", { name: form }).click()
    await page.evaluate(() => (location.hash = "#/stream/hostile/page"))
    await row(page, "<script>").click()
    expect(await content(page).textContent()).toBe(hostile)
    expect(await page.evaluate(() => [document.querySelectorAll("img, style, script:not([src])").length, "ran" in globalThis])).toEqual([0, false])
    expect(page.problems).toEqual([])
  })

  test("of one line of a megabyte is shown in parts", async () => {
    await console.create("hostile/long", ["y".repeat(1_000_000)])
    const page = await console.open("hostile/long")
    await rows(page).click()
    await page.getByRole("button", { name: "Raw" }).click()
    expect((await content(page).locator("pre").textContent()).length).toBe(65_536)
    await content(page).getByRole("button", { name: "Show more" }).click()
    await expect.poll(async () => (await content(page).locator("pre").textContent()).length).toBe(131_072)
    await page.getByRole("button", { name: "Copy", exact: true }).click()
    await page.getByText("Message copied.").waitFor()
    expect((await page.clipboard()).length).toBe(1_000_002)
  })

  test("of 10,000 keys is shown in parts", async () => {
    const keys = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`key ${at}`, at]))
    await console.create("hostile/keys", [keys])
    const page = await console.open("hostile/keys")
    await rows(page).click()
    await content(page).getByText("key 99:").waitFor()
    expect(await content(page).locator("li").count()).toBeLessThan(110)
    await content(page).getByRole("button", { name: "Show 100 more of 10000" }).click()
    await content(page).getByText("key 199:").waitFor()
  })

  test("that is deep unfolds level by level", async () => {
    const deep = nested(100)
    await console.ask("PUT", "hostile/deep", { body: `[${deep}]` })
    const page = await console.open("hostile/deep")
    await rows(page).click()
    for (let level = 0; level < 5; level += 1) await content(page).locator('[aria-expanded="false"]').click()
    expect(await content(page).locator(".fold").count()).toBe(8)
    await page.getByRole("searchbox", { name: "Filter messages" }).fill("$[0][0][0]")
    await page.getByText("1 loaded", { exact: true }).waitFor()
  })

  test("that is not UTF-8 is shown as bytes", async () => {
    await console.ask("PUT", "hostile/utf8", { headers: { "content-type": "text/plain" }, body: Buffer.from([0x61, 0xc3, 0x28, 0xff]) })
    const page = await console.open("hostile/utf8")
    await row(page, "a\uFFFD(\uFFFD").waitFor()
    await page.getByRole("combobox", { name: "Begin at" }).selectOption({ label: "Start" })
    await row(page, "a\uFFFD(\uFFFD").click()
    await page.getByRole("button", { name: "Hex" }).click()
    expect(await content(page).textContent()).toContain("61 c3 28 ff")
  })

  test("with a name of Object's has no effect", async () => {
    await console.ask("PUT", "hostile/names", { body: '[{"__proto__":{"polluted":1},"constructor":2,"a":"b"}]' })
    const page = await console.open("hostile/names")
    await rows(page).click()
    await content(page).getByText("__proto__").waitFor()
    await page.getByRole("searchbox", { name: "Filter messages" }).fill("$.toString")
    await page.getByText("0 of 1 loaded").waitFor()
    expect(await page.evaluate(() => "polluted" in {})).toBe(false)
  })
})
