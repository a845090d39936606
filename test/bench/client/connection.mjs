// One keep-alive connection with a minimal HTTP/1.1 client: a general client would use more CPU time than some servers
// do.

import { connect } from "node:net"

const NOTHING = Buffer.alloc(0)

/** What the parser expects next. */
const HEAD = 0
const BODY = 1
const CHUNK_SIZE = 2
const CHUNK = 3
const CHUNK_END = 4
const LAST_CHUNK_END = 5
const UNTIL_END = 6

/** A complete response, or the head of one that streams. */
export class Answer {
  /** @param {string} head */
  constructor(head) {
    this.head = head
    this.status = Number(head.slice(9, 12))
    /** The body's pieces as they arrived; `body` joins them on demand. @type {Buffer[]} */
    this.parts = []
  }

  get body() {
    return this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts)
  }

  /** @param {string} name in lower case */
  header(name) {
    return this.head.match(new RegExp(`\\r\\n${name}: *([^\\r]*)`, "i"))?.[1]
  }
}

export class Connection {
  /** @param {{ host: string, port: number }} server */
  static open({ host, port }) {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true })
      socket.once("error", reject)
      socket.once("connect", () => {
        socket.off("error", reject)
        resolve(new Connection(socket))
      })
    })
  }

  /** @param {import("node:net").Socket} socket */
  constructor(socket) {
    this.socket = socket
    this.expects = HEAD
    this.buffered = NOTHING
    this.left = 0
    /** @type {Answer | undefined} */
    this.answer = undefined
    /** @type {{ resolve: (answer: Answer) => void, reject: (error: Error) => void } | undefined} */
    this.pending = undefined
    /** Receives the body of a streaming response, piece by piece. @type {((bytes: Buffer) => void) | undefined} */
    this.onBytes = undefined
    /** Called when a streaming response ends. @type {(() => void) | undefined} */
    this.onEnd = undefined
    socket.on("data", (bytes) => this.take(bytes))
    socket.on("error", (error) => this.fail(error))
    socket.on("close", () => this.closed())
  }

  /** Sends one request and returns the complete response. @param {Buffer} request @returns {Promise<Answer>} */
  ask(request) {
    if (this.pending) throw new Error("one request at a time")
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject }
      this.socket.write(request)
    })
  }

  /** Sends one request and returns the response's head. The body goes to `onBytes`. */
  stream(request, onBytes, onEnd) {
    this.onBytes = onBytes
    this.onEnd = onEnd
    return this.ask(request)
  }

  close() {
    this.pending = undefined
    this.onEnd = undefined
    this.socket.destroy()
  }

  /** @param {Error} error */
  fail(error) {
    this.pending?.reject(error)
    this.pending = undefined
  }

  closed() {
    if (this.expects === UNTIL_END) this.finish()
    else this.fail(new Error("the server closed the connection"))
    this.onEnd?.()
  }

  /** @param {Buffer} bytes */
  take(bytes) {
    let rest = bytes
    if (this.buffered.length > 0) {
      rest = Buffer.concat([this.buffered, bytes])
      this.buffered = NOTHING
    }
    while (rest.length > 0) {
      const used = this.step(rest)
      if (used === 0) {
        this.buffered = rest
        return
      }
      rest = rest.subarray(used)
    }
  }

  /**
   * Parses the next part and returns the number of bytes used, or 0 if more bytes must arrive first.
   * @param {Buffer} bytes
   */
  step(bytes) {
    switch (this.expects) {
      case HEAD: {
        const end = bytes.indexOf("\r\n\r\n")
        if (end < 0) return 0
        this.begin(bytes.latin1Slice(0, end))
        return end + 4
      }
      case CHUNK_SIZE: {
        const end = bytes.indexOf("\r\n")
        if (end < 0) return 0
        this.left = Number.parseInt(bytes.latin1Slice(0, end), 16)
        this.expects = this.left > 0 ? CHUNK : LAST_CHUNK_END
        return end + 2
      }
      case CHUNK_END:
      case LAST_CHUNK_END:
        if (bytes.length < 2) return 0
        if (this.expects === LAST_CHUNK_END) this.finish()
        else this.expects = CHUNK_SIZE
        return 2
      default:
        return this.takeBody(bytes)
    }
  }

  /** @param {Buffer} bytes */
  takeBody(bytes) {
    const used = Math.min(bytes.length, this.left)
    const part = used === bytes.length ? bytes : bytes.subarray(0, used)
    if (this.onBytes) this.onBytes(part)
    else this.answer?.parts.push(part)
    this.left -= used
    if (this.left === 0) {
      if (this.expects === CHUNK) this.expects = CHUNK_END
      else this.finish()
    }
    return used
  }

  /** @param {string} head */
  begin(head) {
    const answer = new Answer(head)
    this.answer = answer
    const length = answer.header("content-length")
    const empty = answer.status === 204 || answer.status === 304 || length === "0"
    if (empty) return this.finish()
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
      this.expects = CHUNK_SIZE
    } else if (length === undefined) {
      this.expects = UNTIL_END
      this.left = Number.POSITIVE_INFINITY
    } else {
      this.expects = BODY
      this.left = Number(length)
    }
    if (this.onBytes) this.resolve(answer)
  }

  finish() {
    const answer = this.answer
    if (!answer) return
    this.expects = HEAD
    this.answer = undefined
    this.resolve(answer)
    if (this.onBytes) {
      const onEnd = this.onEnd
      this.onBytes = undefined
      this.onEnd = undefined
      onEnd?.()
    }
  }

  /** @param {Answer} answer */
  resolve(answer) {
    const pending = this.pending
    this.pending = undefined
    pending?.resolve(answer)
  }
}
