// The types of the npm package (docs/library.md).

import { DurableObject } from "cloudflare:workers"

/** What the server needs of the Worker's environment. docs/configuration.md lists all bindings and variables. */
export interface StreamsEnv {
  STREAMS: DurableObjectNamespace<any>
}

/** What the server needs of the Worker's execution context, which the context of a framework also has. */
export interface StreamsContext {
  waitUntil(promise: Promise<unknown>): void
  passThroughOnException(): void
}

/** The server. It answers every request that it is given. */
export interface Streams<Env extends StreamsEnv = any> {
  fetch(request: Request, env: Env, context: StreamsContext): Promise<Response>
}

/** The Durable Object of one stream or subscription. Export it from the Worker under this name. */
export class StreamObject extends DurableObject {}

/**
 * - `true` allows the request, unless it concerns the streams of all projects: below `__ds` or `__registry__` as the first
 *   segment. Only `env.AUTH_TOKEN` allows these.
 * - A string is a token, which the server checks as if the client had sent it.
 * - A response is sent to the client.
 * - Anything else: the request has no token. It may only read public streams.
 */
export type Decision = boolean | string | Response | null | undefined

export interface StreamsOptions<Env extends StreamsEnv = any> {
  /** The path of the streams: with "/streams", `/streams/chat/42` is the stream `chat/42`. Default: `/v1/stream`. */
  basePath?: string
  /**
   * Decides about each request that would need a token. It must not read the body. For a PUT that creates a fork it is called
   * once more, with a GET of the source.
   */
  authorize?(request: Request, env: Env, context: StreamsContext): Decision | Promise<Decision>
}

/** The server with options. Call it once, outside of `fetch`. */
export function createStreams<Env extends StreamsEnv = any>(options?: StreamsOptions<Env>): Streams<Env>

declare const streams: Streams
export default streams
