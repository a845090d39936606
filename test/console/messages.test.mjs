// The messages of a stream: order, following, places, filters, forms, copies and downloads.

import { readFile } from "node:fs/promises"
import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { DESKTOP, previews, rows, useConsole } from "./support.mjs"

const option = (page, text) => rows(page).filter({ hasText: text })
const jump = (page) => page.getByRole("form", { name: "Jump" })

async function jumpTo(page, place, value) {
  await jump(page).getByRole("combobox").selectOption({ label: place })
  if (value === undefined) return
  await jump(page).getByRole("textbox").fill(value)
  await jump(page).getByRole("button", { name: "Go" }).click()
}

describe.skipIf(isLeftOut)("messages", () => {
  const console = useConsole()

  test("are shown newest first, and follow the stream until they are paused", async () => {
    await console.create("m/follow", ["one", "two"])
    const page = await console.open("m/follow")
    await page.getByText("Live", { exact: true }).last().waitFor()
    await option(page, "two").waitFor()
    expect(await previews(page)).toEqual(['"two"', '"one"'])
    await console.append("m/follow", ["three"])
    await option(page, "three").waitFor()
    expect(await previews(page)).toEqual(['"three"', '"two"', '"one"'])
    await page.keyboard.press("f")
    await page.getByText("Paused").waitFor()
    await console.append("m/follow", ["four"])
    // A later answer shows that the server has sent nothing more.
    await page.evaluate(() => fetch("/v1/stream/m/follow?offset=-1").then((response) => response.text()))
    expect(await option(page, "four").count()).toBe(0)
    await page.getByRole("button", { name: "Follow" }).click()
    await option(page, "four").waitFor()
    expect(await previews(page)).toEqual(['"four"', '"three"', '"two"', '"one"'])
    expect(page.problems).toEqual([])
  })

  test("stay where they are while newer ones arrive", async () => {
    await console.create("m/place", Array.from({ length: 150 }, (_, at) => `message ${at}`))
    const page = await console.open("m/place")
    await option(page, "message 149").waitFor()
    const list = page.getByRole("listbox")
    await list.evaluate((box) => box.scrollTo(0, 1400))
    await option(page, "message 99").waitFor()
    const top = (text) => page.locator(".row", { hasText: text }).evaluate((row) => row.getBoundingClientRect().top)
    const before = await top('"message 97"')
    await console.append("m/place", ["new 1", "new 2", "new 3"])
    await page.getByText("153 loaded").waitFor()
    expect(await top('"message 97"')).toBe(before)
  })

  test("end with a closed stream", async () => {
    await console.create("m/closed", ["only"], { "stream-closed": "true" })
    const page = await console.open("m/closed")
    await option(page, "only").waitFor()
    await page.getByText("Ended: the stream is closed").waitFor()
    expect(await page.getByRole("form", { name: "Append" }).count()).toBe(0)
  })

  test("begin at the start, and are read on in parts", async () => {
    const word = "x".repeat(100)
    for (let part = 0; part < 6; part += 1) {
      const messages = Array.from({ length: 2000 }, (_, at) => `n${part * 2000 + at} ${word}`)
      if (part === 0) await console.create("m/long", messages)
      else await console.append("m/long", messages)
    }
    const page = await console.open("m/long")
    await jumpTo(page, "Start")
    await page.getByText("5,000 loaded").waitFor()
    await page.getByRole("button", { name: "Read on" }).click()
    await page.getByText("10,000 loaded").waitFor()
    await option(page, "n9999 ").waitFor()
    // The bound drops the oldest messages.
    await page.getByRole("button", { name: "Read on" }).click()
    await option(page, "n11999 ").waitFor()
    await page.getByText("10,000 loaded").waitFor()
    await page.getByRole("listbox").press("End")
    await option(page, "n2000 ").waitFor()
    expect(await page.getByRole("button", { name: "Read on" }).count()).toBe(0)
    await page.getByRole("button", { name: "Follow" }).click()
    await console.append("m/long", ["live"])
    await page.getByRole("listbox").press("Home")
    await option(page, "live").waitFor()
    expect(page.problems).toEqual([])
  })

  test("begin at an offset, or say why they do not", async () => {
    await console.create("m/offset", ["one", "two", "three"])
    const page = await console.open("m/offset")
    await option(page, "one").waitFor()
    await jumpTo(page, "Offset", "0000000000000000_0000000000000002")
    await page.getByText("1 loaded").waitFor()
    expect(await previews(page)).toEqual(['"three"'])
    expect(await page.locator(".row .place").textContent()).toBe("2")
    // A refusal leaves the view as it is, which can go on.
    await jumpTo(page, "Offset", "0000000000000000_0000000000000009")
    await page.getByText("offset_beyond_tail").waitFor()
    expect(await previews(page)).toEqual(['"three"'])
    await jumpTo(page, "Offset", "7")
    await page.getByText("Write an offset like").waitFor()
    await page.getByRole("button", { name: "Follow" }).click()
    await console.append("m/offset", ["four"])
    await option(page, "four").waitFor()
    expect(await previews(page)).toEqual(['"four"', '"three"'])
  })

  test("begin a number of messages before the end, or at a time", async () => {
    await console.create("m/seek", ["one", "two"])
    const between = Date.now() + 1
    while (Date.now() <= between);
    await console.append("m/seek", ["three"])
    const page = await console.open("m/seek")
    await option(page, "three").waitFor()
    await jumpTo(page, "n before the end", "2")
    await page.getByText("2 loaded").waitFor()
    expect(await previews(page)).toEqual(['"three"', '"two"'])
    expect(await page.locator(".row .place").allTextContents()).toEqual(["2", "1"])
    // It follows from there.
    await console.append("m/seek", ["four"])
    await option(page, "four").waitFor()
    await jumpTo(page, "Time", new Date(between).toISOString())
    await page.getByText("2 loaded").waitFor()
    expect(await previews(page)).toEqual(['"four"', '"three"'])
    await jumpTo(page, "Time", "yesterday")
    await page.getByText(/Write the time like \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\./u).waitFor()
    expect(await previews(page)).toEqual(['"four"', '"three"'])
  })

  test("begin at a time that the field proposes", async () => {
    await console.create("m/hour", ["one", "two"])
    const page = await console.open("m/hour")
    await option(page, "two").waitFor()
    await jumpTo(page, "End")
    await jumpTo(page, "Time")
    expect(await jump(page).getByRole("textbox", { name: "Time in UTC" }).inputValue()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/u)
    const requested = page.waitForRequest(/[?&]at=/u)
    await jump(page).getByRole("button", { name: "Go" }).click()
    const at = Date.parse(new URL((await requested).url()).searchParams.get("at"))
    expect(Math.abs(Date.now() - 3_600_000 - at)).toBeLessThan(20_000)
    await page.getByText("2 loaded").waitFor()
  })

  test("have their sizes in bytes", async () => {
    await console.create("m/bytes", [{ a: "ééé" }])
    await console.ask("PUT", "m/text", { headers: { "content-type": "text/plain" }, body: "é" })
    const page = await console.open("m/bytes")
    expect(await rows(page).locator(".size").textContent()).toBe("14 B")
    await rows(page).click()
    await page.getByRole("heading", { name: /14 B/u }).waitFor()
    // A fork of text is at a number of bytes.
    const other = await console.open("m/text")
    await other.getByText("Live", { exact: true }).last().waitFor()
    await console.ask("POST", "m/text", { headers: { "content-type": "text/plain" }, body: "öö" })
    await option(other, "öö").click()
    await other.getByRole("button", { name: "Fork here" }).click()
    await other.getByRole("dialog").getByRole("button", { name: "Fork", exact: true }).click()
    await other.getByRole("heading", { name: "m/text-fork" }).waitFor()
    expect(await (await console.ask("GET", "m/text-fork?offset=-1")).text()).toBe("éöö")
  })

  test("are filtered while they arrive", async () => {
    await console.create("m/filter", [{ user: { name: "Ada" }, n: [1] }, { user: { name: "Bob" }, n: [2] }, "Ada"])
    const page = await console.open("m/filter")
    await page.getByText("3 loaded").waitFor()
    const field = page.getByRole("searchbox", { name: "Filter messages" })
    await field.fill("ada")
    await page.getByText("2 of 3 loaded").waitFor()
    await field.fill('$.user.name = "Ada"')
    await page.getByText("1 of 3 loaded").waitFor()
    await console.append("m/filter", [{ user: { name: "Ada" } }, { user: { name: "Eve" } }])
    await page.getByText("2 of 5 loaded").waitFor()
    await field.fill("$.n[0] >= 2")
    await page.getByText("1 of 5 loaded").waitFor()
    expect(await previews(page)).toEqual(['{"user":{"name":"Bob"},"n":[2]}'])
    await field.fill("nothing like it")
    await page.getByText("No loaded message matches the filter.").waitFor()
    await field.fill("$.n[")
    await page.getByText("Write a path like").waitFor()
    expect(await field.getAttribute("aria-invalid")).toBe("true")
    await field.fill("")
    await page.getByText("5 loaded", { exact: true }).waitFor()
  })

  test("are operated by keys", async () => {
    await console.create("m/keys", ["one", { two: { deep: [1, 2] } }])
    const page = await console.open("m/keys")
    await option(page, "one").waitFor()
    await page.keyboard.press("j")
    await rows(page, { selected: true }).filter({ hasText: "two" }).waitFor()
    await page.keyboard.press("j")
    await rows(page, { selected: true }).filter({ hasText: "one" }).waitFor()
    await page.keyboard.press("k")
    await page.getByRole("region", { name: "Content" }).getByText("deep").waitFor()
    const list = page.getByRole("listbox")
    await list.press("ArrowDown")
    await rows(page, { selected: true }).filter({ hasText: "one" }).waitFor()
    expect(await list.getAttribute("aria-activedescendant")).toBe(await option(page, "one").getAttribute("id"))
    await list.press("Enter")
    const focused = () => page.evaluate(() => document.activeElement?.textContent)
    expect(await focused()).toBe("Formatted")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.getByRole("region", { name: "Content" }).getByText("000000  22 6f 6e 65 22").waitFor()
    await page.keyboard.press("Escape")
    await page.getByRole("region", { name: "Message" }).waitFor({ state: "detached" })
    expect(await page.evaluate(() => document.activeElement?.getAttribute("role"))).toBe("listbox")
    // Also from where nothing has the focus.
    await list.blur()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    expect(await focused()).toBe("Formatted")
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await page.getByRole("dialog", { name: "Keys" }).waitFor()
    await page.keyboard.press("Escape")
    await page.getByRole("dialog").waitFor({ state: "detached" })
  })
})

describe.skipIf(isLeftOut)("one message", () => {
  const console = useConsole()

  test("of JSON folds, keeps large numbers, and is shown raw and as bytes", async () => {
    await console.ask("PUT", "one/json", { body: '[{"id":12345678901234567890,"a":{"b":{"c":"deep"}}}]' })
    const page = await console.open("one/json")
    await option(page, "deep").click()
    const content = page.getByRole("region", { name: "Content" })
    await content.getByText("12345678901234567890").waitFor()
    expect(await content.getByText("deep").count()).toBe(0)
    await content.getByRole("button", { name: "b {1}" }).click()
    await content.getByText("deep").waitFor()
    await content.getByRole("button", { name: "a {1}" }).click()
    expect(await content.getByText("deep").count()).toBe(0)
    await page.getByRole("button", { name: "Raw" }).click()
    expect(await content.textContent()).toBe('{"id":12345678901234567890,"a":{"b":{"c":"deep"}}}')
    await page.getByRole("button", { name: "Hex" }).click()
    expect(await content.textContent()).toContain('000000  7b 22 69 64 22 3a 31 32  {"id":12')
    expect(await content.evaluate((box) => box.scrollWidth - box.clientWidth)).toBe(0)
    await page.setViewportSize({ width: 2600, height: 800 })
    await content.getByText('000000  7b 22 69 64 22 3a 31 32 33 34 35 36 37 38 39 30  {"id":1234567890').waitFor()
    expect(await content.evaluate((box) => box.scrollWidth - box.clientWidth)).toBe(0)
    await page.setViewportSize(DESKTOP)
    await page.getByRole("button", { name: "Copy", exact: true }).click()
    await page.getByText("Message copied.").waitFor()
    expect(await page.clipboard()).toBe('{"id":12345678901234567890,"a":{"b":{"c":"deep"}}}')
  })

  test("of bytes is shown in hexadecimal and as text", async () => {
    await console.ask("PUT", "one/bytes", { headers: { "content-type": "application/octet-stream" }, body: Buffer.from([0, 104, 105, 255]) })
    const page = await console.open("one/bytes")
    await rows(page).click()
    const content = page.getByRole("region", { name: "Content" })
    expect(await content.textContent()).toContain("000000  00 68 69 ff")
    await page.getByRole("button", { name: "Text" }).click()
    expect(await content.textContent()).toBe("\u0000hi\uFFFD")
  })

  test("of text is shown as it is", async () => {
    await console.ask("PUT", "one/text", { headers: { "content-type": "text/plain" }, body: "line one\nline <b>two</b>\n" })
    const page = await console.open("one/text")
    await rows(page).click()
    expect(await page.getByRole("region", { name: "Content" }).textContent()).toBe("line one\nline <b>two</b>\n")
  })
})

describe.skipIf(isLeftOut)("a view", () => {
  const console = useConsole()

  test("is copied as a command, and as code that runs", async () => {
    await console.create("view/copy", ["one", "two"])
    const page = await console.open("view/copy")
    await option(page, "two").waitFor()
    await jumpTo(page, "Offset", "0000000000000000_0000000000000001")
    await page.getByText("1 loaded").waitFor()
    await page.getByRole("button", { name: "Copy curl" }).click()
    await page.getByText("Command copied.").waitFor()
    expect(await page.clipboard()).toBe(`curl '${console.url}/v1/stream/view/copy?offset=0000000000000000_0000000000000001'`)
    await page.getByRole("button", { name: "Copy code" }).click()
    await page.getByText("Code copied.").waitFor()
    const code = await page.clipboard()
    expect(code).toContain('import { stream } from "@durable-streams/client"')
    const messages = await first(code, 1)
    expect(messages).toEqual(["two"])
  })

  test("is copied as a command and as code that read the same", async () => {
    await console.create("view/same", ["one", "two"])
    const page = await console.open("view/same")
    await option(page, "two").waitFor()
    await page.getByText("Live", { exact: true }).last().waitFor()
    const offset = "0000000000000000_0000000000000000"
    await page.getByRole("button", { name: "Copy curl" }).click()
    await page.getByText("Command copied.").waitFor()
    expect(await page.clipboard()).toBe(`curl -N '${console.url}/v1/stream/view/same?offset=${offset}&live=sse'`)
    await page.getByRole("button", { name: "Copy code" }).click()
    await page.getByText("Code copied.").waitFor()
    expect(await page.clipboard()).toContain(`offset: "${offset}",\n  live: "sse",`)
    expect(await first(await page.clipboard(), 2)).toEqual(["one", "two"])
  })

  test("copies a message's command so that no shell changes its URL", async () => {
    await console.create("view/a!!'b", ["a"])
    const page = await console.open("view/a!!'b")
    await option(page, "a").click()
    await page.getByRole("region", { name: "Message", exact: true }).getByRole("button", { name: "Copy curl" }).click()
    await page.getByText("Command copied.").waitFor()
    expect(await page.clipboard()).toBe(`curl '${console.url}/v1/stream/view/a!!'\\''b?offset=0000000000000000_0000000000000000'`)
  })

  test("is downloaded as NDJSON or as bytes, whole or in part", async () => {
    await console.create("view/save", [{ n: 1 }, { n: 2 }, { n: 3 }])
    const page = await console.open("view/save")
    await option(page, '"n":3').waitFor()
    expect(await download(page)).toEqual({ name: "save.ndjson", text: '{"n":1}\n{"n":2}\n{"n":3}\n' })
    expect((await download(page, "2")).text).toBe('{"n":1}\n{"n":2}\n')
    await console.ask("PUT", "view/text", { headers: { "content-type": "text/plain" }, body: "some text" })
    const other = await console.open("view/text")
    await option(other, "some text").waitFor()
    expect(await download(other, "4")).toEqual({ name: "text.txt", text: "some" })
  })
})

async function download(page, most) {
  await page.getByRole("button", { name: "Download" }).click()
  const dialog = page.getByRole("dialog", { name: "Download" })
  if (most !== undefined) await dialog.getByLabel(/At most/u).fill(most)
  const [saved] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: "Download" }).click()])
  await dialog.waitFor({ state: "detached" })
  return { name: saved.suggestedFilename(), text: await readFile(await saved.path(), "utf8") }
}

/** Runs copied code until it has printed some messages. */
async function first(code, count) {
  const { stream } = await import("@durable-streams/client")
  const messages = []
  const body = code.replace(/^import.*$/mu, "").replace(/console\.log\((\w+)\)/u, "if (take($1)) break")
  const run = new Function("stream", "take", `return (async () => { ${body} })()`)
  await run(stream, (message) => messages.push(message) >= count)
  return messages
}
