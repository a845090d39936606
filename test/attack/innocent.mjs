// An innocent stream in a server that is attacked: one producer appends to it, and one reader follows it.

import { SseReader } from "../platform/readers.mjs"
import { JSON_TYPE, LONG_MS, SOON_MS, producer, within } from "../platform/support.mjs"
import { MARKER, withToken } from "./worlds.mjs"

/** How long the producer rests, so that it is there for the whole attack and is no load itself. */
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
    /** What opens the cached copies of its responses, so no attacker learns it either. */
    innocent.readerKey = created.header("stream-reader-key")
    innocent.appending = innocent.#append()
    innocent.reading = innocent.#read()
    // `end` reports what failed.
    for (const work of [innocent.appending, innocent.reading]) work.catch(() => {})
    return innocent
  }

  /** What an attacker must not see. */
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

  /** As an `EventSource` reads: from the last id, until the stream is closed. */
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

  /** Ends the stream, and says what became of it: each must be as it would be without an attack. */
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
