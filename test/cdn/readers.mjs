// Long-poll readers that follow the protocol: each sends the last offset and cursor, and stores the messages.

import { Connection } from "../bench/client/connection.mjs"

export class LongPollReader {
  messages = []
  /** The error that stopped the reader. @type {Error | undefined} */
  failure = undefined

  /** @param {URL} server @param {string} target the stream's path and query, such as `/v1/stream/a?rk=b` */
  constructor(server, target, headers = {}) {
    this.server = server
    this.target = target
    this.headers = headers
  }

  /** Reads until it has this many messages, from an offset or, after a catch-up read, from the tail. */
  async follow(count, offset) {
    this.connection = await Connection.open({ host: this.server.hostname, port: Number(this.server.port) })
    let cursor
    if (offset === undefined) ({ offset, cursor } = this.take(await this.get("offset=-1")))
    while (this.messages.length < count) {
      const live = cursor === undefined ? "live=long-poll" : `cursor=${cursor}&live=long-poll`
      const answer = this.take(await this.get(cursor === undefined ? `${live}&offset=${offset}` : `${live}&offset=${offset}`))
      offset = answer.offset
      cursor = answer.cursor
    }
    this.connection.close()
  }

  get(query) {
    const [path, known] = this.target.split("?")
    let head = `GET ${path}?${query}${known ? `&${known}` : ""} HTTP/1.1\r\nHost: ${this.server.host}\r\n`
    for (const [name, value] of Object.entries(this.headers)) head += `${name}: ${value}\r\n`
    return this.connection.ask(Buffer.from(`${head}\r\n`, "latin1"))
  }

  take(answer) {
    if (answer.status === 200) this.messages.push(...JSON.parse(answer.body.toString()))
    else if (answer.status !== 204) throw new Error(`${answer.head}\n${answer.body}`)
    return { offset: answer.header("stream-next-offset"), cursor: answer.header("stream-cursor") }
  }
}
