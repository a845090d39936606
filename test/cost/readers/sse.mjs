// An SSE reader: when its response ends, it reconnects at once at its last offset.

import { Connection } from "../../bench/client/connection.mjs"
import { expectStatus, request } from "../../bench/client/streams.mjs"
import { Seen } from "./messages.mjs"

export class SseReader {
  seen = new Seen()
  /** Responses that ended. */
  ends = 0
  #offset = "-1"
  #text = ""

  /** @param {{ host: string, port: number, prefix: string }} server @param {string} path */
  async start(server, path) {
    this.connection = await Connection.open(server)
    while (!this.stopped) {
      // Discard an incomplete event: the server sends it again.
      this.#text = ""
      await new Promise((resolve, reject) => {
        this.reject = reject
        const ask = request(server, "GET", `${path}?offset=${this.#offset}&live=sse`, { Accept: "text/event-stream" })
        this.connection
          .stream(ask, (bytes) => this.#take(bytes), resolve)
          .then((answer) => expectStatus(answer, 200))
          .catch(reject)
      }).catch((error) => {
        if (!this.stopped) throw error
      })
      this.ends += 1
    }
  }

  #take(bytes) {
    try {
      this.#text += bytes.toString()
      for (let end = this.#text.indexOf("\n\n"); end >= 0; end = this.#text.indexOf("\n\n")) {
        this.#event(this.#text.slice(0, end).split("\n"))
        this.#text = this.#text.slice(end + 2)
      }
    } catch (error) {
      this.reject(error)
    }
  }

  /** @param {string[]} lines */
  #event(lines) {
    const field = (name) =>
      lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n")
    if (field("event") === "data") this.seen.take(field("data"))
    if (field("id")) this.#offset = field("id")
  }

  stop() {
    this.stopped = true
    this.connection?.close()
    this.reject?.(new Error("stopped"))
  }
}
