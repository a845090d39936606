// The built worker, and in front of it a way to call its objects: `POST /calls/<path>` with the JSON of a call is answered with
// that of its answer. Objects call each other like this, and no client can.

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
