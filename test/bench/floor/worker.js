// The floor: the least a Worker with one Durable Object per stream can do. No protocol, no checks, no lifetimes:
// an append is one INSERT, a read one SELECT, and live readers hang on raw sockets.

import { DurableObject } from "cloudflare:workers"

export default {
  /** @param {Request} request */
  async fetch(request, env) {
    const url = request.url
    const query = url.indexOf("?")
    const object = env.STREAMS.getByName(query < 0 ? url : url.slice(0, query))
    if (query < 0 || !url.endsWith("live=sse")) return object.fetch(request)

    const { webSocket } = await object.fetch(url, { headers: { Upgrade: "websocket" } })
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    webSocket.binaryType = "arraybuffer"
    webSocket.addEventListener("message", ({ data }) => writer.write(data))
    webSocket.accept()
    request.signal.addEventListener("abort", () => webSocket.close())
    return new Response(readable, { headers: { "Content-Type": "text/event-stream" } })
  },
}

/** A body of at most this many bytes comes in one response; the reader follows Stream-Next-Offset. */
const READ_MAX_BYTES = 1 << 20

const before = new TextEncoder().encode("data: ")
const after = new TextEncoder().encode("\n\n")

export class FloorObject extends DurableObject {
  constructor(context, env) {
    super(context, env)
    this.context = context
    this.sql = context.storage.sql
    /** How many messages there are, once it is known. */
    this.tail = undefined
    /** Long-polls, each held as the response it will be. */
    this.waiters = []
  }

  /** @param {Request} request */
  fetch(request) {
    switch (request.method) {
      case "PUT":
        this.sql.exec("CREATE TABLE messages (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        return new Response(null, { status: 201, headers: { "Stream-Next-Offset": "0" } })
      case "POST":
        return this.append(request)
      case "GET":
        return this.read(request)
      default:
        return new Response(null, { status: 405 })
    }
  }

  load() {
    this.tail ??= this.sql.exec("SELECT max(id) AS tail FROM messages").one().tail ?? 0
  }

  async append(request) {
    const body = await request.arrayBuffer()
    this.load()
    this.tail += 1
    const offset = String(this.tail)
    this.sql.exec("INSERT INTO messages VALUES (?, ?)", this.tail, body)
    this.fanOut(body)
    return new Response(null, { status: 204, headers: { "Stream-Next-Offset": offset } })
  }

  fanOut(body) {
    const sockets = this.context.getWebSockets()
    if (sockets.length > 0) {
      const event = new Uint8Array(before.length + body.byteLength + after.length)
      event.set(before)
      event.set(new Uint8Array(body), before.length)
      event.set(after, before.length + body.byteLength)
      for (const socket of sockets) socket.send(event)
    }
    const waiters = this.waiters
    this.waiters = []
    for (const answer of waiters) answer(bytes(body, this.tail, this.tail))
  }

  read(request) {
    if (request.headers.get("Upgrade") === "websocket") {
      const [client, server] = Object.values(new WebSocketPair())
      this.context.acceptWebSocket(server)
      return new Response(null, { status: 101, webSocket: client })
    }
    this.load()
    const from = Number(/offset=(\d+)/.exec(request.url)?.[1] ?? 0)
    if (from === this.tail && request.url.endsWith("live=long-poll")) {
      return new Promise((resolve) => this.waiters.push(resolve))
    }
    const rows = []
    let size = 0
    let next = from
    for (const [body] of this.sql.exec("SELECT body FROM messages WHERE id > ?", from).raw()) {
      rows.push(body)
      next += 1
      size += body.byteLength
      if (size >= READ_MAX_BYTES) break
    }
    if (rows.length === 1) return bytes(rows[0], next, this.tail)
    const joined = new Uint8Array(size)
    let at = 0
    for (const row of rows) {
      joined.set(new Uint8Array(row), at)
      at += row.byteLength
    }
    return bytes(joined, next, this.tail)
  }
}

/** A response whose body is just what is stored. */
function bytes(body, next, tail) {
  const headers = { "Stream-Next-Offset": String(next) }
  if (next === tail) headers["Stream-Up-To-Date"] = "true"
  return new Response(body, { headers })
}
