// The built worker, whose module loses its memory right after an object has answered a request with the header
// `lose-memory`: after the commit, and before it notifies its live readers. A panic in Rust has the same effect.
//
// A GET with the header `watch` acts as a live reader at the edge, whose own memory is lost as well. The response is
// the code with which the object closes its socket.

import * as built from "./index.js"

export class StreamObject extends built.StreamObject {
  async fetch(request) {
    const response = await super.fetch(request)
    if (request.headers.has("lose-memory")) {
      globalThis.__worker_init_state.criticalError = true
      await super.asked('"Describe"')
    }
    return response
  }
}

async function watch(request, env) {
  const path = new URL(request.url).pathname.replace("/v1/stream/", "")
  const { webSocket } = await env.STREAMS.getByName(path).fetch(request.url, { headers: { upgrade: "websocket" } })
  webSocket.accept()
  const closed = new Promise((resolve) => webSocket.addEventListener("close", ({ code }) => resolve(code)))
  return new Response(`${await closed}`)
}

export default {
  fetch: (request, env, context) =>
    request.headers.has("watch") ? watch(request, env) : built.default.fetch(request, env, context),
}
