// An innocent stream on a server under attack: one producer appends to it, and one reader follows it.

import { SseReader } from "../platform/readers.mjs"
import { JSON_TYPE, LONG_MS, SOON_MS, producer, within } from "../platform/support.mjs"
import { MARKER, withToken } from "./worlds.mjs"

/** The pause between two appends: the producer runs during the whole attack and adds no load. */
const REST_MS = 25

export class Innocent {
  #appended = []
  #received = []
  #token
  #stops = false
  #lastId

  static async begin(server, { innocentPath, innocentToken }) {
    const innocent = new Innocent()
    innocent.stream = server.stream(innocentPath)
    innocent.#token = innocentToken
    const created = await innocent.#ask("PUT", { headers: JSON_TYPE, status: 201 })
    /** The reader key opens the cached copies of the stream's responses, so it is a secret, too. */
    innocent.readerKey = created.header("stream-reader-key")
    innocent.appending = innocent.#append()
    innocent.reading = innocent.#read()
    // `end` reports a failure of either.
    for (const work of [innocent.appending, innocent.reading]) work.catch(() => {})
    return innocent
  }

  /** Bytes that an attacker must not receive. */
  get secrets() {
    return [MARKER, this.readerKey].filter(Boolean)
  }

  #ask(method, { headers = {}, ...rest } = {}) {
    return this.stream.ask(method, { headers: withToken(this.#token, headers), millis: LONG_MS, ...rest })
  }

  async #append() {
    while (!this.#stops) {
      const message = JSON.stringify({ n: this.#appended.length, is: MARKER })
      const headers = { ...JSON_TYPE, ...producer(this.#appended.length) }
      this.#appended.push(message)
      await this.#ask("POST", { headers, body: message, status: 200 })
      await new Promise((resolve) => setTimeout(resolve, REST_MS))
    }
  }

  /** Reads like an `EventSource`: resumes at the last id until the stream is closed. */
  async #read() {
    for (;;) {
      const headers = withToken(this.#token, this.#lastId ? { "last-event-id": this.#lastId } : {})
      const reader = await SseReader.open(this.stream, { headers })
      if (reader.response.status !== 200) throw new Error(`the innocent reader got ${reader.response.status}`)
      await reader.untilEnd(LONG_MS)
      this.#received.push(...reader.messages)
      this.#lastId = reader.lastId ?? this.#lastId
      if (reader.controls.some(({ streamClosed }) => streamClosed)) return
    }
  }

  /** Ends the stream and returns its state, which must be the same as without an attack. */
  async end() {
    this.#stops = true
    await within(LONG_MS, "the innocent producer ends", this.appending)
    const count = this.#appended.length
    const ask = (seq) => this.#ask("POST", { headers: { ...JSON_TYPE, ...producer(seq) }, body: "0" })
    const duplicate = await ask(count - 1)
    const gap = await ask(count + 5)
    await this.#ask("POST", { headers: { "stream-closed": "true" }, status: 204 })
    await within(SOON_MS, "the innocent reader ends", this.reading)
    const { text, next } = await this.#ask("GET", { query: "?offset=-1", status: 200 })
    const tail = (await this.#ask("HEAD", { status: 200 })).next
    const numbersOf = (messages) => messages.map(({ n }) => n)
    return {
      count,
      content: text === `[${this.#appended.join(",")}]`,
      tail: tail === next && Number(tail.split("_")[1]) === count,
      producer: [duplicate.status, gap.status, gap.header("producer-expected-seq")],
      delivered: numbersOf(this.#received),
    }
  }
}
