// Requests to the server. The token goes into `Authorization` only.

import { deny, mode, needsToken, token, type Mode } from "./token"

/** An answer that is no success, in the words of the server. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** The offset that the server names in place of the requested one. */
    readonly nextOffset?: string,
  ) {
    super(message)
  }
}

export interface Sent {
  headers?: Record<string, string>
  body?: BodyInit
  signal?: AbortSignal
  /** The stream, so that a refused scope is remembered for it. */
  path?: string
  /** A token to try, in place of the tab's. */
  trying?: string
}

const escaped = (path: string) => path.split("/").map(encodeURIComponent).join("/")

export const streamUrl = (path: string) => `/v1/stream/${escaped(path)}`
export const describeUrl = (path: string) => `/v1/details/${escaped(path)}`

/** Sends a request. Throws `Refused` unless the answer is a success. */
export async function send(method: string, url: string, { headers = {}, body, signal, path = "", trying }: Sent = {}) {
  const sent = new Headers(headers)
  const bearer = trying ?? token.value
  if (bearer !== "") sent.set("Authorization", `Bearer ${bearer}`)
  const init: RequestInit = { method, headers: sent, body, signal, cache: "no-store" }
  const response = await fetch(url, init).catch((error: Error) => {
    if (signal?.aborted) throw error
    throw new Refused(0, "unreachable", `The server did not answer (${error.message}).`)
  })
  if (response.ok) return response
  if (trying === undefined) learn(response, path)
  throw await refusedBy(response)
}

/** Remembers what a refusal says of the tab's token. */
function learn({ status, headers }: Response, path: string) {
  if (status === 401) needsToken.value = true
  const scope = /scope="(\w+)"/u.exec(headers.get("www-authenticate") ?? "")?.[1]
  if (status === 403 && scope) deny(scope, path)
}

async function refusedBy(response: Response) {
  const next = response.headers.get("stream-next-offset") ?? undefined
  const text = await response.text().catch(() => "")
  const fallback = text.slice(0, 500) || `The server answered ${response.status}.`
  try {
    const { code, message } = JSON.parse(text).error
    return new Refused(response.status, `${code}`, `${message}`, next)
  } catch {
    return new Refused(response.status, "", fallback, next)
  }
}

/** The message of an error, with its status and code. */
export function wordsOf(error: unknown) {
  if (!(error instanceof Refused)) return error instanceof Error ? error.message : `${error}`
  const { status, code, message } = error
  const source = [status || undefined, code || undefined].filter(Boolean).join(" ")
  return source === "" ? message : `${message} (${source})`
}

export async function json<T>(url: string, sent: Sent = {}): Promise<T> {
  return (await send("GET", url, sent)).json()
}

/** Throws what the server says of a token that it does not accept, and nothing if the token only lacks a scope. */
export async function tryToken(trying: string) {
  try {
    await send("GET", "/v1/streams?limit=1", { trying })
  } catch (error) {
    if (!(error instanceof Refused) || [0, 400, 401, 429, 503].includes(error.status)) throw error
  }
}

/** Reads the access mode, which needs no token. */
export async function readMode() {
  const health = await json<{ mode: Mode }>("/health")
  mode.value = health.mode
}
