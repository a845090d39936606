// The state of a stream: its description, or what HEAD says where the server or the token has no description.

import { Refused, describeUrl, json, send, streamUrl } from "./api"

export interface Description {
  path: string
  contentType: string
  createdAt: number | null
  writtenAt: number | null
  expiresAt: number | null
  ttlSeconds: number | null
  closed: boolean
  public: boolean
  retention: Record<string, unknown> | string | null
  start: string | null
  tail: string
  messages: number | null
  hotMessages: number | null
  hotBytes: number | null
  segments: { count: number; bytes: number | null; newest: Segment[] } | null
  forkedFrom: { path: string; offset: string } | null
  forks: { count: number; paths: string[] } | null
  producers: { count: number; newest: Producer[] } | null
  readers: { sse: number; longPoll: number } | null
  subscriptions: { count: number; ids: string[] } | null
}

export interface Segment {
  number: number
  messages: number | null
  bytes: number | null
  writtenAt: number | null
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
    const response = await send("GET", describeUrl(path), { signal, path })
    // An earlier server reads the stream at this URL.
    if (!response.headers.has("stream-next-offset")) return await response.json()
    await response.body?.cancel()
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 403) throw error
  }
  const head = await send("HEAD", streamUrl(path), { signal, path }).catch(() => undefined)
  // A refused HEAD has no words.
  return headOf(path, head ?? (await send("GET", `${streamUrl(path)}?offset=now`, { signal, path })))
}

const UNKNOWN = {
  ...{ createdAt: null, writtenAt: null, start: null, messages: null, hotMessages: null, hotBytes: null },
  ...{ segments: null, forkedFrom: null, forks: null, producers: null, readers: null, subscriptions: null },
}

function headOf(path: string, { headers }: Response): Description {
  const ttl = headers.get("stream-ttl")
  const expires = headers.get("stream-expires-at")
  return {
    ...UNKNOWN,
    path,
    contentType: headers.get("content-type") ?? "application/octet-stream",
    expiresAt: expires === null ? null : Date.parse(expires),
    ttlSeconds: ttl === null ? null : Number(ttl),
    closed: headers.has("stream-closed"),
    public: headers.has("stream-public"),
    retention: headers.get("stream-retention"),
    tail: headers.get("stream-next-offset") ?? "",
  }
}

/** A subscription, as `GET .../__ds/subscriptions/<id>` shows it. */
export interface Subscription {
  id: string
  type: string
  pattern: string | null
  status: string
  phase: string
  streams: { path: string; acked_offset: string }[]
  pending: string[]
  holder: string | null
  webhook?: { url: string } | null
  wake_stream?: string | null
  last_error: { at: string; message: string } | null
  next_attempt_at: string | null
}

/** How many subscriptions of a stream the console shows. */
export const SUBSCRIPTIONS_SHOWN = 20

const controlUrl = (root: string, id: string) =>
  `/v1/stream/${root === "" ? "" : `${encodeURIComponent(root)}/`}__ds/subscriptions${id === "" ? "" : `/${encodeURIComponent(id)}`}`

/** The roots that a stream's subscriptions may have: its project, and without projects also all streams. */
const rootsOf = (path: string, hasProjects: boolean) => [path.split("/")[0]!, ...(hasProjects ? [] : [""])]

export interface Linked {
  root: string
  subscription: Subscription
}

/** The subscriptions that are linked to a stream. */
export async function subscriptionsOf(path: string, hasProjects: boolean, signal?: AbortSignal): Promise<Linked[]> {
  const found = await Promise.all(rootsOf(path, hasProjects).map((root) => ofRoot(root, path, signal)))
  return found.flat().slice(0, SUBSCRIPTIONS_SHOWN)
}

async function ofRoot(root: string, path: string, signal?: AbortSignal): Promise<Linked[]> {
  const relative = root === "" ? path : path.slice(root.length + 1)
  const found: Linked[] = []
  let after = ""
  do {
    const page: Page = await json(`${controlUrl(root, "")}?limit=40${after}`, { signal, path })
    const linked = page.subscriptions.filter(({ streams }) => streams?.some((link) => link.path === relative))
    found.push(...linked.map((subscription) => ({ root, subscription })))
    after = page.next === null ? "" : `&after=${encodeURIComponent(page.next)}`
  } while (after !== "" && found.length < SUBSCRIPTIONS_SHOWN)
  return found
}

interface Page {
  subscriptions: Subscription[]
  next: string | null
}

/** Ends the parking of a subscription. */
export const resume = ({ root, subscription }: Linked) => send("POST", `${controlUrl(root, subscription.id)}/resume`)
