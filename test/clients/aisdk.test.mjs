// `@durable-streams/aisdk-transport` with the Vercel AI SDK: the chat's answer survives a reload of the page.

import { createDurableChatTransport, toDurableStreamResponse } from "@durable-streams/aisdk-transport"
import { AbstractChat, convertToModelMessages, streamText } from "ai"
import { MockLanguageModelV3 } from "ai/test"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readersAsked } from "../platform/readers.mjs"
import { LONG_MS, PATIENT, SOON_MS, Watch, start, unique, within } from "../platform/support.mjs"
import { Script, startApp } from "./chat.mjs"

const USAGE = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
}
const FINISHED = [
  { type: "text-end", id: "t" },
  { type: "finish", finishReason: { unified: "stop", raw: "stop" }, usage: USAGE },
]
const token = (delta) => ({ type: "text-delta", id: "t", delta })
const soon = (what, promise) => within(SOON_MS, what, promise)

/** A page with a chat, without a UI framework. */
class Page extends AbstractChat {
  static async reload(page) {
    await page.stop()
    return new Page(page.id, page.api, page.messages.filter(({ role }) => role === "user"))
  }

  constructor(id, api, messages = []) {
    const watch = new Watch()
    const set = (target, name, value) => {
      target[name] = value
      watch.changed()
      return true
    }
    const state = new Proxy({ status: "ready", error: undefined, messages, snapshot: structuredClone }, { set })
    state.pushMessage = (message) => (state.messages = [...state.messages, message])
    state.popMessage = () => (state.messages = state.messages.slice(0, -1))
    state.replaceMessage = (index, message) => (state.messages = state.messages.with(index, message))
    super({ id, state, transport: createDurableChatTransport({ api }) })
    this.api = api
    this.watch = watch
  }

  /** The answer as the page shows it. */
  get text() {
    const answers = this.messages.filter(({ role }) => role === "assistant")
    return answers.flatMap(({ parts }) => parts.map(({ text }) => text ?? "")).join("")
  }

  until(text) {
    return this.watch.until(() => `${JSON.stringify(text)} on the page, not ${JSON.stringify(this.text)}`, () => this.text === text)
  }
}

/** An application server: its chats, and for each chat the stream of its current answer. */
async function startChats(server) {
  const chats = new Map()
  const api = await startApp(async (request) => {
    const { pathname } = new URL(request.url)
    const [, id] = /^\/api\/chat\/(.+)\/stream$/u.exec(pathname) ?? []
    if (id !== undefined) {
      const active = chats.get(id)?.active
      if (active === undefined) return new Response(null, { status: 204 })
      return Response.json({ streamUrl: active }, { headers: { location: active } })
    }
    const { id: chatId, messages } = await request.json()
    const chat = chats.get(chatId)
    const path = unique("answers/answer")
    chat.active = `${server.url}/v1/stream/${path}`
    const { readable } = chat.script
    const model = new MockLanguageModelV3({ doStream: async () => ({ stream: readable }) })
    const result = streamText({
      model,
      messages: await convertToModelMessages(messages),
      maxRetries: 0,
      // The chat's stream reports the error.
      onError: () => {},
    })
    const source = result.toUIMessageStream({
      originalMessages: messages,
      generateMessageId: () => `answer-to-${messages.at(-1).id}`,
      onError: (error) => `the model failed: ${error.message}`,
      onFinish: ({ messages }) => {
        chat.active = undefined
        chat.finished.resolve(messages)
      },
    })
    const waitUntil = (written) => (chat.written = written)
    chat.path = path
    return toDurableStreamResponse({ source, stream: { writeUrl: chat.active }, waitUntil })
  })
  const open = () => {
    const id = unique("chat")
    const chat = { id, script: new Script(), finished: Promise.withResolvers() }
    chats.set(id, chat)
    return { chat, page: new Page(id, `${api.url}/api/chat`) }
  }
  return { open, dispose: () => api.dispose() }
}

let server, recycling, chats, recycled
beforeAll(async () => {
  server = await start({ vars: PATIENT })
  // If a response ends in less than this, the client assumes that the server does not support SSE.
  recycling = await start({ vars: { SSE_LIFETIME_SECONDS: "2" } })
  chats = await startChats(server)
  recycled = await startChats(recycling)
})
afterAll(() => Promise.all([chats, recycled, server, recycling].map((one) => one?.dispose())))

const begin = [{ type: "stream-start", warnings: [] }, { type: "text-start", id: "t" }]

test("a page that is reloaded during an answer shows all of it", async () => {
  const { chat, page } = chats.open()
  const sending = page.sendMessage({ text: "What is a stream?" })
  await chat.script.say(...begin, token("A stream "), token("is "))
  await page.until("A stream is ")
  expect(page.status).toBe("streaming")
  const reloaded = await Page.reload(page)
  await sending
  // No page reads this part live.
  await chat.script.say(token("an "), token("append-"))
  const resumed = reloaded.resumeStream()
  await reloaded.until("A stream is an append-")
  for (const word of ["only ", "log: ", "é 漢 𝄞\n\n"]) {
    await chat.script.say(token(word))
    await reloaded.watch.until(`${word} on the page`, () => reloaded.text.endsWith(word))
  }
  await chat.script.say(...FINISHED)
  await chat.script.end()
  await soon("the answer ends", resumed)
  expect([reloaded.status, reloaded.text]).toEqual(["ready", "A stream is an append-only log: é 漢 𝄞\n\n"])
  const complete = await soon("the application has the complete answer", chat.finished.promise)
  expect(complete.at(-1).parts).toEqual(reloaded.messages.at(-1).parts)
  expect(complete.map(({ id, role }) => [id, role])).toEqual(reloaded.messages.map(({ id, role }) => [id, role]))
  await soon("the answer is written", chat.written)
  // No answer is in progress, so another page has nothing to resume.
  const late = await Page.reload(reloaded)
  await soon("nothing to resume", late.resumeStream())
  expect([late.status, late.text]).toEqual(["ready", ""])
})

test("two pages that follow one answer each show every token once", async () => {
  const { chat, page } = chats.open()
  const sending = page.sendMessage({ text: "Count." })
  await chat.script.say(...begin, token("0 "))
  await page.until("0 ")
  const other = new Page(page.id, page.api, page.messages.slice(0, 1))
  const resumed = other.resumeStream()
  await other.until("0 ")
  let all = "0 "
  for (let n = 1; n < 300; n += 1) {
    all += `${n} `
    await chat.script.say(token(`${n} `))
  }
  await chat.script.say(...FINISHED)
  await chat.script.end()
  await soon("both end", Promise.all([sending, resumed]))
  expect(page.text).toBe(all)
  expect(other.text).toBe(all)
})

test("a page shows every token once when the server ends the response repeatedly", async () => {
  const { chat, page } = recycled.open()
  const sending = page.sendMessage({ text: "Slowly." })
  await chat.script.say(...begin)
  let all = ""
  for (const round of [1, 2, 3]) {
    all += `${round} `
    await chat.script.say(token(`${round} `))
    await page.until(all)
    // The client's first request is a plain read.
    await readersAsked(recycling, { path: chat.path }, 1 + round)
  }
  await chat.script.say(...FINISHED)
  await chat.script.end()
  await soon("the answer ends", sending)
  expect([page.status, page.text]).toEqual(["ready", "1 2 3 "])
}, LONG_MS)

test("a page shows an error for a model that fails and for a stream that is gone", async () => {
  const { chat, page } = chats.open()
  const sending = page.sendMessage({ text: "Fail." })
  await chat.script.say(...begin, token("so far"))
  await page.until("so far")
  await chat.script.say({ type: "error", error: new Error("out of tokens") })
  await chat.script.end()
  await soon("the answer ends", sending)
  expect([page.status, page.text, page.error.message]).toEqual(["error", "so far", "the model failed: out of tokens"])

  const { chat: other, page: stale } = chats.open()
  other.active = `${server.url}/v1/stream/${unique("missing")}`
  await soon("resumed", stale.resumeStream())
  expect([stale.status, stale.error.status]).toEqual(["error", 404])
})
