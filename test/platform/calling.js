// The built worker with a route that calls its objects: `POST /calls/<path>` takes the JSON of a `Call` and returns the JSON of its
// `Answered`. Without this front, no client can send a call.

import built from "./index.js"

export { StreamObject } from "./index.js"

const PREFIX = "/calls/"

export default {
  async fetch(request, env, context) {
    const { pathname } = new URL(request.url)
    if (!pathname.startsWith(PREFIX)) return built.fetch(request, env, context)
    const object = env.STREAMS.getByName(decodeURIComponent(pathname.slice(PREFIX.length)))
    return new Response(await object.asked(await request.text()))
  },
}
