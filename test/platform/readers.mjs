// Live readers for tests: SSE events one by one, long-polls, and readers that do not read.

import { once } from "node:events"
import { get } from "node:http"
import { LONG_MS, SOON_MS, Watch, within } from "./support.mjs"

/** Parses server-sent events from text that arrives in pieces, as the HTML standard requires. */
export class EventParser {
  comments = 0
  #rest = ""
  #fields = { type: "message", data: [] }
  #id = ""

  /** The events that this piece completes, as `{ type, data, id }`. */
  push(piece) {
    const lines = (this.#rest + piece).split("\n")
    this.#rest = lines.pop()
    return lines.map((line) => this.#line(line)).filter(Boolean)
  }

  #line(line) {
    if (line === "") {
      const { type, data } = this.#fields
      this.#fields = { type: "message", data: [] }
      return data.length > 0 ? { type, data: data.join("\n"), id: this.#id } : undefined
    }
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/su.exec(line)
    if (name === "") this.comments += 1
    if (name === "event") this.#fields.type = value
    if (name === "data") this.#fields.data.push(value)
    if (name === "id") this.#id = value
    return undefined
  }
}

/** One SSE response. It does not reconnect by itself. */
export class SseReader {
  events = []
  #parser = new EventParser()
  #watch = new Watch()
  #abort = new AbortController()
  #hasEnded = false
  #messages = []
  #parsed = 0

  /** Connects, and resolves when the response's head has arrived. */
  static async open(stream, { offset = "-1", from = `offset=${offset}`, query = "", headers = {} } = {}) {
    const reader = new SseReader()
    const url = `${stream.url}?${from}&live=sse${query}`
    const init = { headers: { accept: "text/event-stream", ...headers }, signal: reader.#abort.signal }
    reader.response = await within(SOON_MS, `SSE at ${stream.path}`, fetch(url, init))
    /** How the response ended: `undefined`, or the error that ended it. */
    reader.ended = reader.#run().catch((error) => error)
    return reader
  }

  async #run() {
    const decoder = new TextDecoder("utf-8", { fatal: true })
    try {
      for await (const chunk of this.response.body) {
        this.events.push(...this.#parser.push(decoder.decode(chunk, { stream: true })))
        this.#watch.changed()
      }
    } finally {
      this.#hasEnded = true
      this.#watch.changed()
    }
  }

  get comments() {
    return this.#parser.comments
  }

  /** The data of the data events. */
  get data() {
    return this.events.filter(({ type }) => type === "data").map(({ data }) => data)
  }

  /** The messages of a JSON stream. Each event is parsed once. */
  get messages() {
    for (; this.#parsed < this.events.length; this.#parsed += 1) {
      const { type, data } = this.events[this.#parsed]
      if (type === "data") this.#messages.push(...JSON.parse(data))
    }
    return this.#messages
  }

  /** The contents of the control events. */
  get controls() {
    return this.events.filter(({ type }) => type === "control").map(({ data }) => JSON.parse(data))
  }

  /** The id at which a client would resume. */
  get lastId() {
    return this.events.at(-1)?.id
  }

  /** Waits until the received events satisfy `isSo`. Fails if the response ends before that. */
  until(what, isSo, millis = SOON_MS) {
    const look = () => {
      if (isSo(this)) return true
      if (this.#hasEnded) throw new Error(`the response ended before: ${what}`)
      return false
    }
    return this.#watch.until(what, look, millis)
  }

  untilMessages(count, millis) {
    return this.until(`${count} messages`, () => this.messages.length >= count, millis)
  }

  /** Waits for the first control event at the tail: from then on the reader is registered there. */
  untilAtTail(millis) {
    return this.until("at the tail", () => this.controls.some(({ upToDate }) => upToDate), millis)
  }

  untilComment(millis) {
    return this.until("a comment", () => this.comments > 0, millis)
  }

  /** Waits until the response ends, which must be without an error. */
  async untilEnd(millis = SOON_MS) {
    const error = await within(millis, "the response ends", this.ended)
    if (error) throw error
  }

  close() {
    this.#abort.abort()
    return this.ended
  }
}

/** Reads like an `EventSource`: reconnects with the last id until the stream is closed. */
export async function readToTheEnd(stream, { lastEventId, millis = SOON_MS } = {}) {
  const responses = []
  for (;;) {
    const headers = lastEventId ? { "last-event-id": lastEventId } : {}
    const reader = await SseReader.open(stream, { headers })
    responses.push(reader)
    await reader.untilEnd(millis)
    if (reader.controls.some(({ streamClosed }) => streamClosed)) return responses
    lastEventId = reader.lastId
  }
}

/** Waits until the object has received this many reads. Live reads wait there after that. */
export const readersAsked = (server, stream, count) =>
  server.log.until({ event: "served", stream: stream.path, method: "GET" }, count)

/** A long-poll in flight. */
export function longPoll(stream, offset, query = "", millis = LONG_MS) {
  const answer = stream.ask("GET", { query: `?offset=${offset}&live=long-poll${query}`, millis })
  // A test that fails before it awaits this has reported its own error.
  answer.catch(() => {})
  return answer
}

/** An SSE response that is not read until `readRest` is called. */
export class SlowReader {
  static async open(stream) {
    const slow = new SlowReader()
    const request = get(`${stream.url}?offset=-1&live=sse`, { agent: false })
    const [response] = await within(SOON_MS, "a response", once(request, "response"))
    slow.response = response.setEncoding("utf8")
    return slow
  }

  /** The events that the server had sent before it ended the response. */
  async readRest() {
    const parser = new EventParser()
    const events = []
    const reading = (async () => {
      try {
        for await (const text of this.response) events.push(...parser.push(text))
      } catch (error) {
        if (error.code !== "ECONNRESET") throw error
      }
    })()
    await within(SOON_MS, "the rest of the response", reading)
    return events
  }

  close() {
    this.response.destroy()
  }
}
