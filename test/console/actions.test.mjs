// Appending, creating, forking, closing and deleting, and what a token does not allow.

import { describe, expect, test } from "vitest"
import { isLeftOut } from "../chromium.mjs"
import { AUTH_TOKEN, bearer, makeToken, secretKey } from "../tokens.mjs"
import { PHONE, rows, useConsole } from "./support.mjs"

const row = (page, text) => rows(page).filter({ hasText: text })
const appendForm = (page) => page.getByRole("form", { name: "Append" })

describe.skipIf(isLeftOut)("a user", () => {
  const console = useConsole()
  const read = async (path) => (await console.ask("GET", `${path}?offset=-1`)).json()

  test("appends one message with Ctrl+Enter, and many as lines", async () => {
    await console.create("act/append")
    const page = await console.open("act/append")
    const text = appendForm(page).getByRole("textbox", { name: "Message to append" })
    await text.waitFor()
    await page.keyboard.press("a")
    await page.keyboard.type('{"n": 1}')
    await page.keyboard.press("Control+Enter")
    await row(page, '{"n":1}').waitFor()
    expect(await text.inputValue()).toBe("")
    await appendForm(page).getByRole("combobox").selectOption({ label: "one JSON value per line" })
    await text.fill('{"n": 2}\n\n[3, 4]\n')
    await appendForm(page).getByRole("button", { name: /^Append/u }).click()
    await row(page, "[3,4]").waitFor()
    expect(await read("act/append")).toEqual([{ n: 1 }, { n: 2 }, [3, 4]])
    expect(page.problems).toEqual([])
  })

  test("sees the server's words when an append is refused, and keeps the text", async () => {
    await console.create("act/refused")
    const page = await console.open("act/refused")
    const text = appendForm(page).getByRole("textbox", { name: "Message to append" })
    await text.fill("{")
    await text.press("Control+Enter")
    await appendForm(page).getByRole("alert").filter({ hasText: "invalid_json" }).waitFor()
    expect(await text.inputValue()).toBe("{")
    await text.fill("1")
    await page.getByText("Options").click()
    await page.getByLabel("Expected offset").fill("0000000000000000_0000000000000007")
    await text.press("Control+Enter")
    await appendForm(page).getByRole("alert").filter({ hasText: "Expected offset conflict" }).waitFor()
    expect(await read("act/refused")).toEqual([])
    await text.fill("")
    await appendForm(page).getByRole("alert").waitFor({ state: "detached" })
  })

  test("sees which line is no JSON", async () => {
    await console.create("act/lines")
    const page = await console.open("act/lines")
    const text = appendForm(page).getByRole("textbox", { name: "Message to append" })
    await appendForm(page).getByRole("combobox").selectOption({ label: "one JSON value per line" })
    await text.fill('{"n": 1}')
    await text.press("Control+Enter")
    await page.getByText("Appended.").waitFor()
    await text.fill('{"n": 2}\n\n{"n": oops}\n')
    await text.press("Control+Enter")
    await appendForm(page).getByRole("alert").filter({ hasText: 'Line 3 is not a JSON value: {"n": oops}' }).waitFor()
    expect(await page.getByText("Appended.").count()).toBe(0)
    // Two values with a comma between are no value.
    await text.fill("1, 2")
    await text.press("Control+Enter")
    await appendForm(page).getByRole("alert").filter({ hasText: "Line 1 is" }).waitFor()
    await text.fill("")
    await appendForm(page).getByRole("alert").waitFor({ state: "detached" })
    expect(await read("act/lines")).toEqual([{ n: 1 }])
  })

  test("appends as a producer", async () => {
    await console.create("act/producer")
    const page = await console.open("act/producer")
    const text = appendForm(page).getByRole("textbox", { name: "Message to append" })
    await page.getByText("Options").click()
    await page.getByLabel("Producer id").fill("writer")
    await page.getByLabel("Producer epoch").fill("0")
    await page.getByLabel("Producer seq").fill("0")
    for (const message of ["1", "2"]) {
      await text.fill(message)
      await text.press("Control+Enter")
      await page.waitForFunction(() => document.querySelector("#append-text")?.value === "")
    }
    // The second one is a duplicate.
    expect(await read("act/producer")).toEqual([1])
  })

  test("appends text and bytes", async () => {
    await console.ask("PUT", "act/text", { headers: { "content-type": "text/plain" } })
    await console.ask("PUT", "act/bytes", { headers: { "content-type": "application/octet-stream" } })
    const page = await console.open("act/text")
    await appendForm(page).getByRole("combobox").selectOption({ label: "one message per line" })
    await appendForm(page).getByRole("textbox", { name: "Message to append" }).fill("one\ntwo")
    await appendForm(page).getByRole("button", { name: /^Append/u }).click()
    await row(page, "two").waitFor()
    const other = await console.open("act/bytes")
    await appendForm(other).getByRole("textbox", { name: "Message to append" }).fill("00 ff 68")
    await appendForm(other).getByRole("button", { name: /^Append/u }).click()
    await row(other, "00 ff 68").waitFor()
    const bytes = await (await console.ask("GET", "act/bytes?offset=-1")).arrayBuffer()
    expect([...new Uint8Array(bytes)]).toEqual([0, 255, 104])
  })

  test("creates a stream with all options", async () => {
    const page = await console.open()
    await page.getByRole("button", { name: "New stream" }).click()
    const dialog = page.getByRole("dialog", { name: "Create a stream" })
    await dialog.getByLabel("Path").fill("act/new")
    await dialog.getByLabel("Content type").fill("text/plain")
    await dialog.getByLabel("TTL, in seconds").fill("3600")
    await dialog.getByLabel("Retention").fill("bytes=1000000")
    await dialog.getByLabel("Initial content").fill("hello")
    await dialog.getByLabel(/Closed/u).check()
    await dialog.getByRole("button", { name: "Create" }).click()
    await page.getByRole("heading", { name: "act/new" }).waitFor()
    await row(page, "hello").waitFor()
    const { headers } = await console.ask("HEAD", "act/new")
    const names = ["content-type", "stream-ttl", "stream-retention", "stream-closed"]
    expect(names.map((name) => headers.get(name))).toEqual(["text/plain", "3600", "bytes=1000000", "true"])
    await page.getByRole("link", { name: "act/new" }).waitFor()
  })

  test("sees why a stream is not created, and corrects it", async () => {
    const page = await console.open()
    await page.getByRole("button", { name: "New stream" }).click()
    const dialog = page.getByRole("dialog", { name: "Create a stream" })
    await dialog.getByLabel("Path").fill("act/corrected")
    const expiry = dialog.getByLabel("Expires at")
    await expiry.fill("tomorrow")
    await page.keyboard.press("Enter")
    await dialog.getByRole("alert").filter({ hasText: "Write the time like" }).waitFor()
    await expiry.fill("")
    await dialog.getByLabel("TTL, in seconds").fill("soon")
    await page.keyboard.press("Enter")
    await dialog.getByRole("alert").filter({ hasText: "invalid_header" }).waitFor()
    await dialog.getByLabel("TTL, in seconds").fill("")
    await expiry.fill("2099-12-31 12:00")
    await page.keyboard.press("Enter")
    await page.getByRole("heading", { name: "act/corrected" }).waitFor()
    expect((await console.ask("HEAD", "act/corrected")).headers.get("stream-expires-at")).toMatch(/^2099-12-31T12:00:00/u)
  })

  test("forks a stream at a message", async () => {
    await console.create("act/source", ["a", "b", "c"])
    const page = await console.open("act/source")
    await row(page, '"b"').click()
    await page.getByRole("button", { name: "Fork here" }).click()
    await page.getByRole("dialog").getByRole("button", { name: "Fork", exact: true }).click()
    await page.getByRole("heading", { name: "act/source-fork" }).waitFor()
    await row(page, '"b"').waitFor()
    expect(await read("act/source-fork")).toEqual(["a", "b"])
  })

  test("closes a stream", async () => {
    await console.create("act/close", ["a"])
    const page = await console.open("act/close")
    await page.getByRole("button", { name: "Close", exact: true }).click()
    await page.getByRole("button", { name: "Close the stream" }).click()
    await page.getByText("Ended: the stream is closed").waitFor()
    await page.getByText("closed", { exact: true }).waitFor()
    expect(await page.getByRole("button", { name: "Close", exact: true }).count()).toBe(0)
    expect((await console.ask("HEAD", "act/close")).headers.get("stream-closed")).toBe("true")
  })

  test("deletes a stream after typing its name", async () => {
    await console.create("act/delete", ["a"])
    const page = await console.open("act/delete")
    await page.getByRole("button", { name: "Delete" }).click()
    const dialog = page.getByRole("dialog", { name: "Delete the stream" })
    const button = dialog.getByRole("button", { name: "Delete" })
    await dialog.getByRole("textbox").fill("act/delet")
    expect(await button.isDisabled()).toBe(true)
    await dialog.getByRole("textbox").fill("act/delete")
    await button.click()
    await page.getByText("Choose a stream").waitFor()
    expect((await fetch(`${console.url}/v1/stream/act/delete`)).status).toBe(404)
  })

  test("may not write the registry", async () => {
    await console.create("act/any")
    const page = await console.open("__registry__")
    await row(page, "act/any").waitFor()
    expect(await appendForm(page).count()).toBe(0)
    for (const name of ["Fork", "Close", "Delete"]) expect(await page.getByRole("button", { name, exact: true }).count()).toBe(0)
  })
})

describe.skipIf(isLeftOut)("a signed token", () => {
  const key = secretKey()
  const console = useConsole({ vars: { PROJECT_KEYS: JSON.stringify({ shop: { keys: [key] } }) } })
  const token = (scope, more = {}) => makeToken(key, { sub: "shop", scope, ...more })
  const all = () => bearer(token("read write manage"))
  const offered = async (page) => {
    const names = ["New stream", "Fork", "Close", "Delete"]
    const counts = await Promise.all(names.map((name) => page.getByRole("button", { name, exact: true }).count()))
    return [...names.filter((_, at) => counts[at] > 0), ...((await appendForm(page).count()) > 0 ? ["Append"] : [])]
  }

  test.for([
    ["read", []],
    ["read write", ["Close", "Append"]],
    ["read manage", ["New stream", "Fork", "Delete"]],
    ["read write manage", ["New stream", "Fork", "Close", "Delete", "Append"]],
  ])("with the scopes %s is offered what it allows", async ([scope, expected]) => {
    await console.create("shop/one", ["a"], all())
    const page = await console.open("shop/one", { token: token(scope) })
    await row(page, '"a"').waitFor()
    expect(await offered(page)).toEqual(expected)
    expect(page.problems).toEqual([])
  })

  test("with the claim * is offered what it allows in its whole project", async () => {
    await console.create("shop/one", ["a"], all())
    const page = await console.open("shop/one", { token: token("read write manage", { stream: "*" }) })
    await row(page, '"a"').waitFor()
    expect(await offered(page)).toEqual(["New stream", "Fork", "Close", "Delete", "Append"])
  })

  test("for one stream is offered nothing at others", async () => {
    await console.create("shop/one", ["a"], all())
    await console.create("shop/two", ["b"], all())
    const page = await console.open("shop/one", { token: token("read write manage", { stream: "shop/one" }) })
    await row(page, '"a"').waitFor()
    expect(await offered(page)).toEqual(["Fork", "Close", "Delete", "Append"])
    await page.evaluate(() => (location.hash = "#/stream/shop/two"))
    await page.locator(".stream").getByRole("alert").filter({ hasText: "The token does not allow this" }).waitFor()
    expect(await offered(page)).toEqual([])
  })
})

describe.skipIf(isLeftOut)("the token of a server", () => {
  const console = useConsole({ vars: { AUTH_TOKEN } })

  test("is sent in the header only", async () => {
    await console.create("guarded", ["a"], bearer(AUTH_TOKEN))
    const page = await console.open("guarded", { token: AUTH_TOKEN })
    const urls = []
    page.on("request", (request) => urls.push(request.url()))
    await row(page, '"a"').waitFor()
    await page.getByRole("button", { name: "Copy curl", exact: true }).click()
    await page.getByText("Command copied.").waitFor()
    expect(await page.clipboard()).toContain('-H "Authorization: Bearer $TOKEN"')
    expect(urls.filter((url) => url.includes(AUTH_TOKEN))).toEqual([])
  })

  test("is set on a phone, too", async () => {
    const page = await console.open(undefined, { viewport: PHONE })
    await page.getByRole("dialog", { name: "Token" }).waitFor()
    await page.keyboard.press("Escape")
    for (const name of ["New stream", "Set token", "Help"]) {
      const right = await page.getByRole("button", { name }).evaluate((button) => button.getBoundingClientRect().right)
      expect(right, name).toBeLessThanOrEqual(PHONE.width)
    }
  })

  test("is asked for at the first refusal, and tried before it is set", async () => {
    const page = await console.open("guarded", { token: "not-the-token-of-it" })
    const dialog = page.getByRole("dialog", { name: "Token" })
    await dialog.getByText("The server refuses this tab's token.").waitFor()
    await dialog.getByRole("textbox", { name: "Token" }).fill("another-wrong-token-of-it")
    await page.keyboard.press("Enter")
    await dialog.getByRole("alert").filter({ hasText: "unauthorized" }).waitFor()
    expect(await page.getByText("Token set.").count()).toBe(0)
    expect(await page.evaluate(() => sessionStorage.getItem("durable-streams-token"))).toBe("not-the-token-of-it")
    await dialog.getByRole("textbox", { name: "Token" }).fill(AUTH_TOKEN)
    await page.keyboard.press("Enter")
    await page.getByText("Token set.").waitFor()
    await row(page, '"a"').waitFor()
  })
})
