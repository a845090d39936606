// One SSE reader: checks that each message arrives once and in order, and reports when.

import { Connection } from "./connection.mjs"
import { MARK, expectStatus, request } from "./streams.mjs"

const MARK_BYTE = MARK.charCodeAt(0)
const DIGITS = 6

/** A message's text that the reader finds: the mark, then the message's number. @param {number} number */
export const numbered = (number) => String(number).padStart(DIGITS, "0")

export class SseReader {
  /** @param {(reader: SseReader, number: number) => void} onMessage @param {(error: Error) => void} onError */
  constructor(onMessage, onError) {
    this.onMessage = onMessage
    this.onError = onError
    this.expected = 0
    /** The start of a mark and number that is not complete yet. */
    this.buffered = ""
  }

  /** @param {import("../targets/index.mjs").Process} server */
  async connect(server, path, offset, expected) {
    this.expected = expected
    this.connection = await Connection.open(server)
    const ask = request(server, "GET", `${path}?offset=${offset}&live=sse`, { Accept: "text/event-stream" })
    const ended = () => this.onError(new Error("the server ended an SSE response"))
    expectStatus(await this.connection.stream(ask, (bytes) => this.take(bytes), ended), 200)
  }

  /** @param {Buffer} bytes */
  take(bytes) {
    let from = this.buffered ? this.takeBuffered(bytes) : 0
    for (let at = bytes.indexOf(MARK_BYTE, from); at >= 0; at = bytes.indexOf(MARK_BYTE, from)) {
      from = at + 1 + DIGITS
      const digits = bytes.latin1Slice(at + 1, from)
      if (digits.length < DIGITS) {
        this.buffered = MARK + digits
        return
      }
      this.see(digits)
    }
  }

  takeBuffered(bytes) {
    const missing = 1 + DIGITS - this.buffered.length
    const text = this.buffered + bytes.latin1Slice(0, missing)
    const whole = text.length === 1 + DIGITS
    this.buffered = whole ? "" : text
    if (whole) this.see(text.slice(1))
    return missing
  }

  see(digits) {
    const number = Number(digits)
    if (number !== this.expected) this.onError(new Error(`message ${digits} arrived instead of ${this.expected}`))
    this.expected += 1
    this.onMessage(this, number)
  }

  close() {
    this.connection?.close()
  }
}
