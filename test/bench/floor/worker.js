// The floor: the least that a Worker with one Durable Object per stream can do. It has no protocol, no checks and no
// lifetimes: an append is one INSERT, a read is one SELECT, and live readers wait on raw hibernatable sockets.
//
// Measurements decided each choice. `fetch` between Worker and object is not slower than RPC. A fixed-length stream
// of rows is faster than one joined body. Sending at once delivers sooner than sending in a later turn.
// A long-poll that waits inside the object would wake in about 0.6 of the time, but Cloudflare bills the object for
// the whole wait. The floor must be able to hibernate, as this service does.

import { DurableObject } from "cloudflare:workers"

export default {
  /** @param {Request} request */
  fetch(request, env) {
    const url = request.url
    const query = url.indexOf("?")
    const object = env.STREAMS.getByName(query < 0 ? url : url.slice(0, query))
    if (query < 0) return object.fetch(request)
    if (url.endsWith("live=sse")) return events(object, url)
    if (url.endsWith("live=long-poll")) return longPoll(object, url)
    return object.fetch(request)
  },
}

/** Events go to the client unchanged, through the platform's own pipe. */
async function events(object, url) {
  const { webSocket } = await object.fetch(url, { headers: { Upgrade: "websocket" } })
  const { readable, writable } = new IdentityTransformStream()
  const writer = writable.getWriter()
  webSocket.binaryType = "arraybuffer"
  webSocket.addEventListener("message", ({ data }) => writer.write(data))
  webSocket.accept()
  return new Response(readable, { headers: { "Content-Type": "text/event-stream" } })
}

/** The first message from the object is the response. */
async function longPoll(object, url) {
  const { webSocket } = await object.fetch(url, { headers: { Upgrade: "websocket" } })
  const next = offsetOf(url) + 1
  webSocket.binaryType = "arraybuffer"
  return new Promise((resolve) => {
    webSocket.addEventListener("message", ({ data }) => {
      resolve(bytes(data, next))
      webSocket.close()
    })
    webSocket.accept()
  })
}

const before = new TextEncoder().encode("data: ")
const after = new TextEncoder().encode("\n\n")

export class FloorObject extends DurableObject {
  constructor(context, env) {
    super(context, env)
    this.context = context
    this.sql = context.storage.sql
    /** The number of messages, once it is known. */
    this.tail = undefined
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
        return request.headers.get("Upgrade") ? this.join(request.url) : this.read(request.url)
      default:
        return new Response(null, { status: 405 })
    }
  }

  async append(request) {
    const body = await request.arrayBuffer()
    this.load()
    this.tail += 1
    this.sql.exec("INSERT INTO messages VALUES (?, ?)", this.tail, body)
    this.fanOut(body)
    return new Response(null, { status: 204, headers: { "Stream-Next-Offset": String(this.tail) } })
  }

  fanOut(body) {
    const clients = this.context.getWebSockets("sse")
    if (clients.length > 0) {
      const event = new Uint8Array(before.length + body.byteLength + after.length)
      event.set(before)
      event.set(new Uint8Array(body), before.length)
      event.set(after, before.length + body.byteLength)
      for (const client of clients) client.send(event)
    }
    for (const waiter of this.context.getWebSockets("long-poll")) waiter.send(body)
  }

  join(url) {
    const [client, server] = Object.values(new WebSocketPair())
    this.context.acceptWebSocket(server, [url.endsWith("live=sse") ? "sse" : "long-poll"])
    return new Response(null, { status: 101, webSocket: client })
  }

  webSocketClose(socket) {
    socket.close()
  }

  read(url) {
    this.load()
    const rows = []
    let size = 0
    for (const [body] of this.sql.exec("SELECT body FROM messages WHERE id > ?", offsetOf(url)).raw()) {
      rows.push(body)
      size += body.byteLength
    }
    if (rows.length === 1) return bytes(rows[0], this.tail)
    const { readable, writable } = new FixedLengthStream(size)
    const writer = writable.getWriter()
    for (const row of rows) writer.write(row)
    writer.close()
    return bytes(readable, this.tail)
  }

  load() {
    this.tail ??= this.sql.exec("SELECT max(id) AS tail FROM messages").one().tail ?? 0
  }
}

/** @param {string} url */
function offsetOf(url) {
  return Number(/offset=(\d+)/.exec(url)?.[1] ?? 0)
}

/** A response whose body is exactly the stored bytes. */
function bytes(body, tail) {
  return new Response(body, { headers: { "Stream-Next-Offset": String(tail), "Stream-Up-To-Date": "true" } })
}
