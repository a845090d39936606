// Shared by the tests of the chat clients: an application server, and a model whose output a test controls.

import { once } from "node:events"
import { createServer } from "node:http"
import { Readable } from "node:stream"

/**
 * An application server with handlers like those of web frameworks.
 * @param {(request: Request) => Promise<Response>} handle
 */
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

/** Passes values from a test to a consumer in order. Either side waits for the other. */
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
