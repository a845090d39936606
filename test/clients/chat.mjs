// What the chat clients' tests share: an application's server, and a model that says what a test tells it to.

import { once } from "node:events"
import { createServer } from "node:http"
import { Readable } from "node:stream"

/** An application's own server, of handlers as frameworks have them. @param {(request: Request) => Promise<Response>} handle */
export async function startApp(handle) {
  const server = createServer(async (incoming, outgoing) => {
    const { method, url, headers } = incoming
    const body = method === "GET" ? undefined : Readable.toWeb(incoming)
    const response = await handle(new Request(`http://${headers.host}${url}`, { method, headers, body, duplex: "half" }))
    outgoing.writeHead(response.status, Object.fromEntries(response.headers))
    outgoing.end(Buffer.from(await response.arrayBuffer()))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async dispose() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}

/** What a test says and a consumer receives, in order, whenever either is ready. */
export class Script {
  #parts = new TransformStream(undefined, { highWaterMark: Infinity }, { highWaterMark: Infinity })
  #writer = this.#parts.writable.getWriter()

  get readable() {
    return this.#parts.readable
  }

  async say(...parts) {
    for (const part of parts) await this.#writer.write(part)
  }

  end() {
    return this.#writer.close()
  }
}
