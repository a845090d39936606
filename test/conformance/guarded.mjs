// Adds what clients of a server with tokens send: a token on each request, and the project in each stream's path.

import { bearer, makeToken } from "../tokens.mjs"

const PREFIX = "/v1/stream/"

/**
 * A fetch that adds a token. With `project`, the token is signed for each request, and the stream's path is moved into
 * the project and back without the caller's knowledge.
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
    // A fork also needs the scope `read` on its source. A token names one stream or a prefix, so this one names the
    // project.
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
