// `@durable-streams/tanstack-ai-transport` with TanStack AI: a chat session is one stream that every page follows.

import { materializeSnapshotFromDurableStream, toDurableChatSessionResponse } from "@durable-streams/tanstack-ai-transport"
import { durableStreamConnection, toDurableStreamResponse } from "@durable-streams/tanstack-ai-transport"
import { chat } from "@tanstack/ai"
import { ChatClient } from "@tanstack/ai-client"
import { afterAll, beforeAll, expect, test } from "vitest"
import { readersAsked } from "../platform/readers.mjs"
import { LONG_MS, PATIENT, SOON_MS, Watch, start, unique, within } from "../platform/support.mjs"
import { Script, startApp } from "./chat.mjs"

const soon = (what, promise) => within(SOON_MS, what, promise)

/** A model whose output a test controls. */
function modelOf(script, run) {
  const [threadId, runId, messageId] = ["thread", `run-${run}`, `answer-${run}`]
  const chatStream = async function* () {
    yield { type: "RUN_STARTED", threadId, runId }
    yield { type: "TEXT_MESSAGE_START", messageId, role: "assistant" }
    for await (const delta of script.readable) yield { type: "TEXT_MESSAGE_CONTENT", messageId, delta }
    yield { type: "TEXT_MESSAGE_END", messageId }
    yield { type: "RUN_FINISHED", threadId, runId, finishReason: "stop" }
  }
  return { kind: "text", name: "scripted", model: "scripted", chatStream }
}

/** An application server: each chat is one stream, and every answer is written to it. */
async function startSessions(server) {
  const sessions = new Map()
  let runs = 0
  const app = await startApp(async (request) => {
    const session = sessions.get(new URL(request.url).searchParams.get("id"))
    const { messages } = await request.json()
    if (session.refusal) return Response.json({ error: session.refusal }, { status: 400 })
    const newMessages = [messages.findLast(({ role }) => role === "user")]
    session.script = new Script()
    session.questions.changed()
    const responseStream = chat({ adapter: modelOf(session.script, (runs += 1)), messages })
    const waitUntil = (written) => (session.written = written)
    return toDurableChatSessionResponse({ stream: { writeUrl: session.url }, newMessages, responseStream, waitUntil })
  })
  const open = async () => {
    const path = unique("sessions/session")
    const session = { path, url: `${server.url}/v1/stream/${path}`, questions: new Watch(), pages: [] }
    session.page = (options) => new Page(session, `${app.url}/api/chat?id=${path}`, options)
    session.answering = () => session.questions.until("a question", () => session.script)
    sessions.set(path, session)
    await server.stream(path).create({ "content-type": "application/json" })
    return session
  }
  return { open, dispose: () => app.dispose() }
}

/** A page with a chat, without a UI framework. */
class Page {
  messages = []
  errors = []
  #watch = new Watch()

  constructor(session, sendUrl, { messages = [], offset } = {}) {
    this.messages = messages
    this.client = new ChatClient({
      id: session.path,
      initialMessages: messages,
      connection: durableStreamConnection({ sendUrl, readUrl: session.url, initialOffset: offset }),
      onMessagesChange: (messages) => {
        this.messages = messages
        this.#watch.changed()
      },
      onError: (error) => this.errors.push(error.message),
    })
    this.client.subscribe()
  }

  /** The lines that the page shows. */
  get lines() {
    return this.messages.map(({ role, parts }) => `${role}: ${parts.map(({ content }) => content ?? "").join("")}`)
  }

  until(...lines) {
    const isSo = () => JSON.stringify(this.lines) === JSON.stringify(lines)
    return this.#watch.until(() => `${JSON.stringify(lines)} on the page, not ${JSON.stringify(this.lines)}`, isSo)
  }

  close() {
    this.client.unsubscribe()
    this.client.stop()
  }
}

let server, recycling, sessions, recycled
beforeAll(async () => {
  server = await start({ vars: PATIENT })
  // If a response ends in less than this, the client assumes that the server does not support SSE.
  recycling = await start({ vars: { SSE_LIFETIME_SECONDS: "2" } })
  sessions = await startSessions(server)
  recycled = await startSessions(recycling)
})
afterAll(() => Promise.all([sessions, recycled, server, recycling].map((one) => one?.dispose())))

test("a page that is reloaded during an answer shows all of it", async () => {
  const session = await sessions.open()
  const page = session.page()
  const sent = page.client.sendMessage("What is a stream?")
  const script = await session.answering()
  await script.say("A stream ", "is ")
  await page.until("user: What is a stream?", "assistant: A stream is ")
  page.close()
  await soon("the application accepted the question", sent)
  // No page reads this part live.
  await script.say("an ", "append-")
  // Without server rendering, the page replays the session.
  const replayed = session.page()
  await replayed.until("user: What is a stream?", "assistant: A stream is an append-")
  // With server rendering, it continues from a snapshot.
  const snapshot = await materializeSnapshotFromDurableStream({ readUrl: session.url })
  expect(snapshot.messages.map(({ role }) => role)).toEqual(["user", "assistant"])
  const resumed = session.page(snapshot)
  await script.say("only ", "log: ", "é 漢 𝄞\n\n")
  await script.end()
  const all = ["user: What is a stream?", "assistant: A stream is an append-only log: é 漢 𝄞\n\n"]
  await replayed.until(...all)
  await resumed.until(...all)
  await soon("the answer is written", session.written)
  const kept = await materializeSnapshotFromDurableStream({ readUrl: session.url })
  expect(kept.messages.map(({ parts }) => parts[0].content)).toEqual(["What is a stream?", "A stream is an append-only log: é 漢 𝄞\n\n"])
  for (const one of [replayed, resumed]) one.close()
  expect([page, replayed, resumed].flatMap(({ errors }) => errors)).toEqual([])
})

test("two pages of one session show every token of each answer once", async () => {
  const session = await sessions.open()
  const pages = [session.page(), session.page()]
  const lines = []
  for (const [n, page] of [...pages, pages[0]].entries()) {
    session.script = undefined
    const sent = page.client.sendMessage(`Count to ${n}00.`)
    const script = await session.answering()
    let answer = ""
    for (let token = 0; token <= n * 100; token += 1) {
      answer += `${token} `
      await script.say(`${token} `)
    }
    await script.end()
    lines.push(`user: Count to ${n}00.`, `assistant: ${answer}`)
    for (const one of pages) await one.until(...lines)
    await soon("the answer ends", sent)
  }
  for (const one of pages) one.close()
})

test("a page shows every token once when the server ends the response repeatedly", async () => {
  const session = await recycled.open()
  const page = session.page()
  const sent = page.client.sendMessage("Slowly.")
  const script = await session.answering()
  let all = ""
  for (const round of [1, 2, 3]) {
    all += `${round} `
    await script.say(`${round} `)
    await page.until("user: Slowly.", `assistant: ${all}`)
    await readersAsked(recycling, session, 1 + round)
  }
  await script.end()
  await soon("the answer ends", sent)
  expect([page.lines, page.errors]).toEqual([["user: Slowly.", "assistant: 1 2 3 "], []])
  page.close()
}, LONG_MS)

test("an answer can have a stream of its own, which is closed at its end", async () => {
  const path = unique("answers/answer")
  const writeUrl = `${server.url}/v1/stream/${path}`
  const script = new Script()
  const adapter = modelOf(script, "own")
  const response = await toDurableStreamResponse(chat({ adapter, messages: [{ role: "user", content: "Now." }] }), { stream: { writeUrl } })
  expect([response.status, response.headers.get("location")]).toEqual([201, writeUrl])
  await script.say("all ", "of it")
  await script.end()
  const types = []
  let text = ""
  const connection = durableStreamConnection({ sendUrl: writeUrl, emitSnapshotOnSubscribe: false })
  await soon("the stream is closed", (async () => {
    for await (const { type, delta } of connection.subscribe()) {
      types.push(type)
      text += delta ?? ""
    }
  })())
  expect(text).toBe("all of it")
  expect([types.at(0), types.at(-1)]).toEqual(["RUN_STARTED", "RUN_FINISHED"])
  expect((await server.stream(path).ask("HEAD")).header("stream-closed")).toBe("true")
})

test("a page shows an error for a refused question and for a session that does not exist", async () => {
  const session = await sessions.open()
  const page = session.page()
  session.refusal = "too many questions"
  await soon("refused", page.client.sendMessage("One more?"))
  expect(page.errors).toEqual(["too many questions"])
  page.close()
  const missing = materializeSnapshotFromDurableStream({ readUrl: `${server.url}/v1/stream/${unique("missing")}` })
  await expect(missing).rejects.toMatchObject({ status: 404 })
})
