// The token of this tab, and what it allows. The console does not offer what a token does not allow.

import { computed, signal } from "@preact/signals"

const KEY = "durable-streams-token"

export type Scope = "read" | "write" | "manage"

/** The access mode that the server reports. */
export type Mode = "open" | "token" | "projects"

/** What a signed token allows. */
export interface Claims {
  project: string
  scopes: string[]
  /** One stream, or the streams below a path that ends with `/*`. */
  stream?: string
  /** The end of its validity, in seconds since 1970. */
  expiresAt: number
}

/** The tab's token. It is never stored elsewhere, and never part of a URL. */
export const token = signal(sessionStorage.getItem(KEY) ?? "")
export const mode = signal<Mode | undefined>(undefined)
/** Whether the server refused a request because it has no valid token. */
export const needsToken = signal(false)
/** Whether the user has removed the token. */
export const isForgotten = signal(false)
/** The scopes that a 403 has denied, each with the path of a stream. */
const denied = signal<ReadonlySet<string>>(new Set())

export const claims = computed(() => claimsOf(token.value))

export function useToken(given: string) {
  const text = given.trim()
  if (text === "") sessionStorage.removeItem(KEY)
  else sessionStorage.setItem(KEY, text)
  denied.value = new Set()
  needsToken.value = false
  isForgotten.value = text === ""
  token.value = text
}

/** The claims in a signed token's payload. Other tokens are opaque. */
export function claimsOf(text: string): Claims | undefined {
  const payload = text.split(".").length === 3 ? text.split(".")[1] : undefined
  if (!payload) return undefined
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder().decode(bytes))
    if (typeof claims.sub !== "string" || typeof claims.exp !== "number") return undefined
    const scope = claims.scope ?? claims.scp ?? ""
    const scopes = Array.isArray(scope) ? scope.map(String) : `${scope}`.split(" ").filter(Boolean)
    // The claim `*` means all streams of the project, as does none.
    const stream = typeof claims.stream === "string" && claims.stream !== "*" ? claims.stream : undefined
    return { project: claims.sub, scopes, stream, expiresAt: claims.exp }
  } catch {
    return undefined
  }
}

/** Remembers the scope that a 403 names. */
export function deny(scope: string, path: string) {
  denied.value = new Set([...denied.value, `${scope} ${path}`])
}

function covers({ project, stream }: Claims, path: string) {
  if (path !== project && !path.startsWith(`${project}/`)) return false
  if (stream === undefined) return true
  return stream.endsWith("/*") ? path.startsWith(stream.slice(0, -1)) : path === stream
}

/** Whether the token may allow this, as far as the console knows. */
export function mayDo(scope: Scope, path: string) {
  if (mode.value === "open") return true
  if (denied.value.has(`${scope} ${path}`)) return false
  const known = claims.value
  if (mode.value !== "projects" || known === undefined) return true
  return known.scopes.includes(scope) && covers(known, path)
}

/** Whether the token may allow to create a stream somewhere. */
export function mayCreate() {
  const known = claims.value
  if (mode.value !== "projects" || known === undefined) return true
  const hasPlace = known.stream === undefined || known.stream.endsWith("/*")
  return hasPlace && known.scopes.includes("manage")
}

/** Whether the server alone writes a stream. */
export const isReserved = (path: string) => path.split("/").includes("__registry__")
