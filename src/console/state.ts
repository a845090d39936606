// The state of a stream: its description, or what HEAD says where the server or the token has no description.

import { Refused, describeUrl, json, send, streamUrl } from "./api"

/** Retention drops a segment as soon as one of these allows it. */
export interface Retention {
  seconds: number | null
  bytes: number | null
  segments: number | null
}

/** What a stream's owner sees. A number is null if it would cost too much to find. */
export interface Details {
  createdAt: number
  writtenAt: number | null
  start: string
  messages: number | null
  hotMessages: number
  hotBytes: number
  segments: { count: number; bytes: number | null; newest: Segment[] }
  forkedFrom: { path: string | null; offset: string | null } | null
  forks: { count: number | null; paths: string[] }
  producers: { count: number | null; newest: Producer[] }
  readers: { sse: number; longPoll: number }
  registry: Lag
  segmentIndex: Lag
}

/** How far the registry or the segment index is behind the stream. A deployment may have neither. */
export interface Lag {
  behindSince: number | null
  error: string | null
}

/** What every reader sees. */
export interface Description extends Partial<Details> {
  contentType: string
  expiresAt: number | null
  ttlSeconds: number | null
  closed: boolean
  public: boolean
  retention: Retention | string | null
  tail: string
}

export interface Segment {
  number: number
  messages: number
  bytes: number
  writtenAt: number
}

export interface Producer {
  id: string
  epoch: number
  seq: number
  at: number | null
}

/** Describes a stream. */
export async function describe(path: string, signal?: AbortSignal): Promise<Description> {
  try {
    return await json(describeUrl(path), { signal, path })
  } catch (error) {
    // Without a token the server does not describe a public stream, but everyone may read it.
    if (!(error instanceof Refused) || ![401, 403].includes(error.status)) throw error
  }
  const head = await send("HEAD", streamUrl(path), { signal, path }).catch(() => undefined)
  // A refused HEAD has no words.
  return headOf(head ?? (await send("GET", `${streamUrl(path)}?offset=now`, { signal, path })))
}

function headOf({ headers }: Response): Description {
  const ttl = headers.get("stream-ttl")
  const expires = headers.get("stream-expires-at")
  return {
    contentType: headers.get("content-type") ?? "application/octet-stream",
    expiresAt: expires === null ? null : Date.parse(expires),
    ttlSeconds: ttl === null ? null : Number(ttl),
    closed: headers.has("stream-closed"),
    public: headers.has("stream-public"),
    retention: headers.get("stream-retention"),
    tail: headers.get("stream-next-offset") ?? "",
  }
}
