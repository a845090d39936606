// What the platform and the build give to the JavaScript here, besides what @cloudflare/workers-types has.

import type { Answer } from "./index.js"

declare global {
  /** Whether this build counts what Cloudflare bills (tools/build.mjs). */
  const COUNTERS: boolean

  /** Set by the worker crate when Rust panics. */
  var __worker_init_state: { criticalError: boolean }

  /** What ran later than the call that began it has failed. */
  function addEventListener(type: "error", listener: (event: ErrorEvent) => void): void

  interface ReadableStreamBYOBReader {
    /** With at least so many bytes, unless the stream ends with less. */
    read<View extends ArrayBufferView>(view: View, options: { min: number }): Promise<ReadableStreamReadResult<View>>
  }

  interface Env {
    STREAMS: Streams
  }

  /** The objects, one a stream. */
  interface Streams {
    getByName(path: string): StreamStub
  }

  /** What an object can be asked for (`StreamObject` in worker.js). */
  interface StreamStub {
    fetch(request: Request | string, init?: RequestInit): Promise<Response>
    appendAll(url: string, headers: string[], lengths: number[], bodies: Uint8Array): Promise<Answer[]>
    asked(call: string): Promise<string>
    // Of builds of before 2026-11-30 (calls.js).
    orphans(keys: string[], deletes: boolean): Promise<string[]>
    record(words: string[]): Promise<void>
    listed(prefix: string, after: string, limit: string): Promise<string[]>
    described(): Promise<string | undefined>
  }

  /** What keeps a promise going when its client has left. */
  interface Context {
    waitUntil(promise: Promise<unknown>): void
  }
}
