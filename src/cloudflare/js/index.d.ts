// Declares what wasm-bindgen generates from src/cloudflare, as far as JavaScript calls it. `pnpm build` compares it with the
// generated module.

/** The Rust side of the Worker, which receives every request first. */
export class Edge {
  constructor(env: unknown, mount?: string)
  free(): void
  answer(request: Request, context: ExecutionContext, id: string): Promise<Response>
  choosesOrigins(): boolean
  collapseKey(url: string): string | undefined
  decisiveHeader(): string | undefined
  guardedUrl(method: string, url: string): string | undefined
  hasEdgeCache(): boolean
  inFirstForm(url: string): string | undefined
  isAuthority(host: string): boolean
  measure(method: string, url: string, status: number, millis: number, bytesIn: number, bytesOut: number): void
  measuredShare(): number
  originLines(method: string, url: string, origin: string): string
  passedOnTo(method: string, url: string, decisive?: string): string | undefined
  refusedBody(why: number, id: string): Response
  requestId(ray?: string): string
  unreached(method: string, path: string, id: string, error: unknown): Response | undefined
}

/** The Rust side of one stream's object. */
export class StreamObject {
  constructor(state: unknown, env: unknown)
  free(): void
  answer(request: unknown, method: string, url: string, body: Uint8Array): Response | Promise<Response>
  answerParts(request: Request, method: string, url: string, parts: Uint8Array[]): Response | Promise<Response>
  append(url: string, headerLines: string, body: Uint8Array): Answer
  appendParts(url: string, headerLines: string, parts: Uint8Array[]): Answer
  appendedTogether(count: number): void
  asked(call: string): string | Promise<string>
  lostMemory(): void
  readerLeft(): void
  refuseBody(request: Request, why: number): Response
  ring(): Promise<void>
}

/** The answer to one append. Status 0 means that the append failed; the second field is then the error's text. */
export type Answer = [status: number, headerLines: string, body?: Uint8Array<ArrayBuffer>]

/** A read that waits for another stream's object. */
export interface Inheriting {
  answer(response: Response): Response | Promise<Response>
  failed(error: unknown): Response | Promise<Response>
}

export function __wbg_reset_state(): void
export function appendHeaders(): string[]
export function bodyMaxBytes(): number
export function bodySmallMaxBytes(): number
export function isAtRoot(method: string, url: string): boolean
export function notAllowed(response: Response): Uint8Array | undefined
export function undecided(url: string, id: string, cause: string): Response
