// A long-poll reader that behaves like the official client: it sends the next request at once, with the last offset and
// cursor.

import { Connection } from "../../bench/client/connection.mjs"
import { expectStatus, nextOffset, request } from "../../bench/client/streams.mjs"
import { Seen } from "./messages.mjs"

export class LongPollReader {
  seen = new Seen()
  /** Long-polls that ended without messages. */
  timeouts = 0

  /** @param {{ host: string, port: number, prefix: string }} server @param {string} path */
  async start(server, path) {
    this.connection = await Connection.open(server)
    const caughtUp = await this.connection.ask(request(server, "GET", `${path}?offset=-1`))
    expectStatus(caughtUp, 200)
    this.seen.take(caughtUp.body.toString())
    return this.#poll(server, path, nextOffset(caughtUp))
  }

  async #poll(server, path, from) {
    let offset = from
    let cursor = ""
    while (!this.stopped) {
      const query = `?offset=${offset}&live=long-poll${cursor && `&cursor=${cursor}`}`
      const pending = this.connection.ask(request(server, "GET", path + query))
      const answer = await pending.catch((error) => {
        if (!this.stopped) throw error
      })
      if (!answer) return
      if (answer.status === 204) this.timeouts += 1
      else {
        expectStatus(answer, 200)
        this.seen.take(answer.body.toString())
      }
      offset = nextOffset(answer)
      cursor = answer.header("stream-cursor") ?? ""
    }
  }

  stop() {
    this.stopped = true
    this.connection?.close()
  }
}
