// Connections on which a test writes each byte itself.

import { once } from "node:events"
import { connect } from "node:net"
import { SOON_MS, Watch, within } from "./support.mjs"

/** A connection, and everything received on it. */
export class RawConnection {
  text = ""
  isClosed = false
  #watch = new Watch()

  /** @param {string} origin an origin, or the path of a Unix socket */
  static async open(origin) {
    const raw = new this()
    raw.socket = connect({ ...addressOf(origin), allowHalfOpen: true })
    raw.socket.setEncoding("latin1")
    raw.socket.on("data", (text) => {
      raw.text += text
      raw.#watch.changed()
    })
    raw.closed = new Promise((resolve) => {
      const onClosed = () => {
        raw.isClosed = true
        raw.#watch.changed()
        resolve()
      }
      raw.socket.on("end", onClosed)
      raw.socket.on("close", onClosed)
    })
    // Some tests expect resets.
    raw.socket.on("error", () => {})
    await within(SOON_MS, "connect", once(raw.socket, "connect"))
    return raw
  }

  send(bytes) {
    this.socket.write(bytes, "latin1")
  }

  /** What `probe` finds in the received text. Fails if the server closes the connection before that. */
  find(what, probe, millis = SOON_MS) {
    const described = () => `${what} in the received text, which ends with ${JSON.stringify(this.text.slice(-500))}`
    const look = () => {
      const found = probe(this.text)
      if (!found && this.isClosed) throw new Error(`the server closed the connection before ${described()}`)
      return found
    }
    return this.#watch.until(described, look, millis)
  }

  until(pattern) {
    return this.find(`${pattern}`, (text) => pattern.test(text))
  }

  /** Everything received, once the server has closed the connection. */
  async untilClosed() {
    await within(SOON_MS, "the server closes the connection", this.closed)
    return this.text
  }

  /** Ends the sending side, and continues to receive. */
  finish() {
    this.socket.end()
  }

  /** Resets the connection, as when a process is killed and the kernel notifies the server at once. */
  reset() {
    this.socket.resetAndDestroy()
  }

  /** Closes the connection in a way that the server notices only when it writes. */
  close() {
    this.socket.destroy()
  }
}

function addressOf(origin) {
  if (origin.startsWith("/")) return { path: origin }
  const { hostname, port } = new URL(origin)
  return { host: hostname, port: Number(port) }
}

/** HTTP/1.1, with one request after another on a connection. */
export class HttpConnection extends RawConnection {
  #read = 0

  /** Sends a complete request and returns its reply. A body is bytes, or an array of bytes to send as chunks. */
  ask(method, target, { headers = {}, body, millis } = {}) {
    this.begin(method, target, { ...headers, ...framing(body) })
    if (Array.isArray(body)) {
      for (const chunk of body) this.sendChunk(chunk)
      this.sendChunk("")
    } else if (body !== undefined) {
      this.send(body)
    }
    return this.reply(method, millis)
  }

  /** Sends the head of a request. */
  begin(method, target, headers = {}) {
    const lines = Object.entries({ host: "test", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.send(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`)
  }

  /** Sends a chunk of a chunked body. The empty chunk is the last. */
  sendChunk(chunk) {
    this.send(`${Buffer.byteLength(chunk, "latin1").toString(16)}\r\n`)
    this.send(chunk)
    this.send("\r\n")
  }

  /** The next reply. A 100 is a reply of its own. */
  async reply(method, millis) {
    const reply = await this.find(`a reply to ${method}`, (text) => parseReply(text, this.#read, method), millis)
    this.#read = reply.end
    return reply
  }
}

const framing = (body) => {
  if (body === undefined) return {}
  return Array.isArray(body)
    ? { "transfer-encoding": "chunked" }
    : { "content-length": Buffer.byteLength(body, "latin1") }
}

/** The reply that begins exactly at `start` in the text, once it is complete. */
function parseReply(text, start, method) {
  const bodyAt = text.indexOf("\r\n\r\n", start) + 4
  if (bodyAt < 4) return undefined
  const [line, ...fields] = text.slice(start, bodyAt - 4).split("\r\n")
  const status = Number(/^HTTP\/1\.1 (\d{3}) /u.exec(line)?.[1])
  if (!status) throw new Error(`no status line: ${JSON.stringify(text.slice(start, start + 200))}`)
  const headers = new Headers(fields.map((field) => field.split(/: (.*)/su).slice(0, 2)))
  const hasBody = method !== "HEAD" && status >= 200 && status !== 204 && status !== 304
  const body = hasBody ? parseBody(text, bodyAt, headers) : { bytes: "", end: bodyAt }
  if (!body) return undefined
  const bytes = Buffer.from(body.bytes, "latin1")
  return { status, headers, header: (name) => headers.get(name), bytes, text: bytes.toString(), end: body.end }
}

function parseBody(text, at, headers) {
  if (headers.get("transfer-encoding") !== "chunked") {
    const end = at + Number(headers.get("content-length"))
    return text.length >= end ? { bytes: text.slice(at, end), end } : undefined
  }
  let bytes = ""
  for (;;) {
    const sizeEnd = text.indexOf("\r\n", at)
    if (sizeEnd < 0) return undefined
    const size = Number.parseInt(text.slice(at, sizeEnd), 16)
    const end = sizeEnd + 2 + size + 2
    if (text.length < end) return undefined
    bytes += text.slice(sizeEnd + 2, end - 2)
    if (size === 0) return { bytes, end }
    at = end
  }
}
