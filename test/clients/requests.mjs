// Records the requests that a client sends.

import { Watch } from "../platform/support.mjs"

/** A `fetch` that records each request, such as `GET sse` or `POST plain`. */
export class Requests {
  seen = []
  #watch = new Watch()

  fetch = (url, init) => {
    this.seen.push(`${init?.method ?? "GET"} ${new URL(url).searchParams.get("live") ?? "plain"}`)
    this.#watch.changed()
    return fetch(url, init)
  }

  count(request) {
    return this.seen.filter((seen) => seen === request).length
  }

  until(request, count) {
    return this.#watch.until(`${count} times ${request}`, () => this.count(request) >= count)
  }
}
