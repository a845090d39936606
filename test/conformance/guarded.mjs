// What clients of a guarded server do: each request has a token, and each stream belongs to a project.

import { bearer, makeToken } from "../tokens.mjs"

const PREFIX = "/v1/stream/"

/**
 * A fetch that adds a token; with `project`, one that is signed for this request, whose stream is put into the project
 * without the caller's knowing.
 * @param {typeof fetch} fetch
 * @param {{ token?: string, project?: string, key?: { kid: string, k: string } }} guard
 * @returns {typeof fetch}
 */
export function guardedFetch(fetch, { token, project, key }) {
  return async (input, init = {}) => {
    const request = input instanceof Request ? input : undefined
    const headers = new Headers(init.headers ?? request?.headers)
    const url = new URL(request?.url ?? input)
    if (token) {
      // A claimed or delivered wake has a token of its own.
      if (!headers.has("authorization")) headers.set("authorization", bearer(token).authorization)
      return fetch(input, { ...init, headers })
    }
    const stream = url.pathname.startsWith(PREFIX) && `${project}/${url.pathname.slice(PREFIX.length)}`
    if (!stream) return fetch(input, init)
    const scope = { GET: "read", HEAD: "read", POST: "write" }[init.method ?? request?.method ?? "GET"] ?? "manage"
    const source = headers.get("stream-forked-from")
    // Who forks a stream reads it, and no token names two streams.
    const claims = source ? { scope: `${scope} read`, stream: `${project}/*` } : { scope, stream: decodeURI(stream) }
    headers.set("authorization", bearer(makeToken(key, { sub: project, ...claims })).authorization)
    if (source) headers.set("stream-forked-from", source.replace(PREFIX, `${PREFIX}${project}/`))
    url.pathname = PREFIX + stream
    const response = await fetch(request ? new Request(url, request) : url, { ...init, headers })
    const location = response.headers.get("location")
    if (!location) return response
    const seen = new Headers(response.headers)
    seen.set("location", location.replace(`${PREFIX}${project}/`, PREFIX))
    return new Response(response.body, { status: response.status, headers: seen })
  }
}
