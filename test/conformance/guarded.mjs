// Adds what clients of a server with tokens send: a token on each request. For a project it is also a gateway, which
// serves the project at a host of its own.

import { bearer, makeToken } from "../tokens.mjs"

const PREFIX = "/v1/stream/"
const CONTROL = "__ds/"

/**
 * A fetch that adds a token, unless the request has that of a wake.
 * @param {typeof fetch} fetch
 * @param {{ token?: string, gateway?: Gateway }} guard
 * @returns {typeof fetch}
 */
export function guardedFetch(fetch, { token, gateway }) {
  if (gateway) return throughGateway(fetch, gateway)
  return (input, init = {}) => fetch(input, { ...init, headers: withToken(headersOf(input, init), () => token) })
}

/**
 * @typedef {object} Gateway
 * @property {string} origin by which clients reach the project
 * @property {string} server the origin of the server
 * @property {string} project
 * @property {{ kid: string, k: string }} key of the project
 *
 * Sends requests to the gateway's origin to the server, with the path in the project and a token for the request.
 * @param {typeof fetch} fetch
 * @param {Gateway} gateway
 * @returns {typeof fetch}
 */
function throughGateway(fetch, { origin, server, project, key }) {
  const outside = `${origin}${PREFIX}`
  const inside = `${server}${PREFIX}${project}/`
  return async (input, init = {}) => {
    const request = input instanceof Request ? input : undefined
    const asked = new URL(request?.url ?? input).href
    if (!asked.startsWith(outside)) return fetch(input, init)
    const url = new URL(inside + asked.slice(outside.length))
    const path = url.pathname.slice(PREFIX.length)
    const headers = headersOf(input, init)
    const source = headers.get("stream-forked-from")
    if (source) headers.set("stream-forked-from", source.replace(PREFIX, `${PREFIX}${project}/`))
    const scope = { GET: "read", HEAD: "read", POST: "write" }[init.method ?? request?.method ?? "GET"] ?? "manage"
    withToken(headers, () => makeToken(key, { sub: project, ...claimsOf(path, scope, project, source !== null) }))
    const response = await fetch(request ? new Request(url, request) : url, { ...init, headers })
    const location = response.headers.get("location")
    if (!location) return response
    const seen = new Headers(response.headers)
    seen.set("location", location.replace(inside, outside))
    return new Response(response.body, { status: response.status, headers: seen })
  }
}

/** The least that a request needs. A token names one stream or a prefix. */
function claimsOf(path, scope, project, isFork) {
  const stream = `${project}/*`
  // A subscription covers streams of the whole project, and adding streams to one is a POST with the scope `manage`.
  if (path.startsWith(`${project}/${CONTROL}`)) return { scope: scope === "write" ? "write manage" : scope, stream }
  // A fork also needs the scope `read` on its source.
  if (isFork) return { scope: `${scope} read`, stream }
  return { scope, stream: decodeURI(path) }
}

function headersOf(input, init) {
  return new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined))
}

/** @param {Headers} headers @param {() => string} tokenOf */
function withToken(headers, tokenOf) {
  if (!headers.has("authorization")) headers.set("authorization", bearer(tokenOf()).authorization)
  return headers
}
