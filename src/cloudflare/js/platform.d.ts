// Declares what the platform and the build provide to this JavaScript beyond @cloudflare/workers-types.

import type { Answer } from "./index.js"

declare global {
  /** Whether this build counts billed events (tools/build.mjs). */
  const COUNTERS: boolean

  /** Set by the worker crate when Rust panics. */
  var __worker_init_state: { criticalError: boolean }

  /** Reports errors in tasks that outlive the call that started them. */
  function addEventListener(type: "error", listener: (event: ErrorEvent) => void): void

  interface ReadableStreamBYOBReader {
    /** Reads at least `min` bytes, unless the stream ends before. */
    read<View extends ArrayBufferView>(view: View, options: { min: number }): Promise<ReadableStreamReadResult<View>>
  }

  interface Env {
    STREAMS: Streams
    // Access, which Rust reads.
    AUTH_TOKEN?: unknown
    PROJECT_KEYS?: unknown
    PROJECTS?: unknown
    REGISTRY?: unknown
  }

  /** The namespace of objects, one for each stream. */
  interface Streams {
    getByName(path: string): StreamStub
  }

  /** The RPC methods of an object (`StreamObject` in worker.js). */
  interface StreamStub {
    fetch(request: Request | string, init?: RequestInit): Promise<Response>
    appendAll(url: string, headers: string[], lengths: number[], bodies: Uint8Array): Promise<Answer[]>
    asked(call: string): Promise<string>
    // For builds from before 2026-11-30 (calls.js).
    orphans(keys: string[], deletes: boolean): Promise<string[]>
    record(words: string[]): Promise<void>
    listed(prefix: string, after: string, limit: string): Promise<string[]>
    described(): Promise<string | undefined>
  }

  /** Lets a promise continue after its client has disconnected. */
  interface Context {
    waitUntil(promise: Promise<unknown>): void
  }
}
