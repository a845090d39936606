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
}

const escaped = (path: string) => path.split("/").map(encodeURIComponent).join("/")

export const streamUrl = (path: string) => `/v1/stream/${escaped(path)}`
export const describeUrl = (path: string) => `/v1/streams/${escaped(path)}`

/** Sends a request. Throws `Refused` unless the answer is a success. */
export async function send(method: string, url: string, { headers = {}, body, signal, path = "" }: Sent = {}) {
  const sent = new Headers(headers)
  if (token.value !== "") sent.set("Authorization", `Bearer ${token.value}`)
  const init: RequestInit = { method, headers: sent, body, signal, cache: "no-store" }
  const response = await fetch(url, init).catch((error: Error) => {
    if (signal?.aborted) throw error
    throw new Refused(0, "unreachable", `The server did not answer (${error.message}).`)
  })
  if (response.ok) return response
  throw await refusedBy(response, path)
}

async function refusedBy(response: Response, path: string) {
  if (response.status === 401) needsToken.value = true
  const scope = /scope="(\w+)"/u.exec(response.headers.get("www-authenticate") ?? "")?.[1]
  if (response.status === 403 && scope) deny(scope, path)
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

/** Reads the access mode, which needs no token. */
export async function readMode() {
  const health = await json<{ mode: Mode }>("/health")
  mode.value = health.mode
}
