// The list of streams: the pages of `GET /v1/streams`, kept up to date by the events of the registry.

import { signal } from "@preact/signals"
import { Refused, json, send, streamUrl, wordsOf } from "./api"
import { eventsOf, type Control } from "./sse"
import { claims, mode } from "./token"

export interface Stream {
  path: string
  contentType: string | null
  createdAt: number | null
  closed: boolean | null
  tail: string | null
}

interface Page {
  streams: Stream[]
  next: string | null
}

/** An event of the registry. */
interface Event {
  type: string
  value: Stream
  headers: { operation: string }
}

/** The most streams of the list in memory. A prefix finds the others. */
export const STREAMS_MAX = 5_000
const PAGE_STREAMS = 100
const RETRY_MS = 3_000

/** The streams with the prefix, in the order of their paths, up to `next`. */
export const streams = signal<Stream[]>([])
export const next = signal<string | null>(null)
export const isLoading = signal(false)
/** The prefix that is searched for. */
export const prefix = signal("")
/** Why there is no list, or why it is not live. */
export const trouble = signal<string | undefined>(undefined)
export const isLive = signal(false)
/** The path of the last stream that ended, and how many have: views of that stream react to it. */
export const ended = signal({ path: "", count: 0 })

/** Ends the events. */
let following = new AbortController()
/** Ends the loading of pages. */
let loading = new AbortController()
/** The streams that ended while a page was loading, which may still have them. */
let endedMeanwhile = new Set<string>()
/** The streams that appeared beyond the loaded pages while a page was loading, which may not have them. */
let addedMeanwhile: Stream[] = []
/** Whether the list is made of the registry's events alone, because the token may read but not list. */
let isOfEvents = false

/** The registry's path, if the console knows the project. */
export function registryPath() {
  const project = mode.value === "projects" ? claims.value?.project : undefined
  return project === undefined ? "__registry__" : `${project}/__registry__`
}

/** Follows the registry, for another token. The list comes after it: a stream that appears meanwhile must not be missed. */
export async function connect() {
  following.abort()
  following = new AbortController()
  streams.value = []
  isLive.value = false
  const { signal: aborted } = following
  await new Promise<void>((resolve) => {
    follow(aborted, resolve)
  })
  if (!aborted.aborted) await search(prefix.value)
}

/** Lists the streams with a prefix. */
export async function search(wanted: string) {
  loading.abort()
  loading = new AbortController()
  prefix.value = wanted
  next.value = null
  isOfEvents = false
  trouble.value = undefined
  // Those in memory are shown until the page is there.
  streams.value = streams.value.filter(({ path }) => path.startsWith(prefix.value))
  await loadMore()
}

/** A page of the streams with the prefix. */
export const pageOf = (after: string, aborted: AbortSignal) =>
  json<Page>(`/v1/streams?prefix=${encodeURIComponent(prefix.value)}&limit=${PAGE_STREAMS}${after}`, { signal: aborted })

/** Loads the next page. */
export async function loadMore() {
  const { signal: aborted } = loading
  isLoading.value = true
  endedMeanwhile = new Set()
  addedMeanwhile = []
  try {
    const after = next.value === null ? "" : `&after=${encodeURIComponent(next.value)}`
    const page = await pageOf(after, aborted)
    if (aborted.aborted) return
    next.value = page.next
    if (after === "") streams.value = streams.value.filter(({ path }) => page.next === null || path <= page.next)
    const added = addedMeanwhile.filter(({ path }) => page.next === null || path <= page.next)
    merge([...added, ...page.streams].filter(({ path }) => !endedMeanwhile.has(path)))
  } catch (error) {
    if (aborted.aborted) return
    if (error instanceof Refused && error.status === 403 && isLive.value) await listEvents(aborted)
    else trouble.value = wordsOf(error)
  } finally {
    if (!aborted.aborted) isLoading.value = false
  }
}

/** Makes the list of all events, for a token without the scope `manage`. */
async function listEvents(aborted: AbortSignal) {
  isOfEvents = true
  let offset = "-1"
  for (;;) {
    const response = await send("GET", `${streamUrl(registryPath())}?offset=${offset}`, { signal: aborted })
    applyAll(await response.json())
    offset = response.headers.get("stream-next-offset") ?? offset
    if (response.headers.has("stream-up-to-date") || aborted.aborted) return
  }
}

/** Follows the registry until the list is opened again. */
async function follow(aborted: AbortSignal, isFollowed: () => void) {
  let offset = "now"
  while (!aborted.aborted) {
    try {
      const url = `${streamUrl(registryPath())}?offset=${offset}&live=sse`
      const response = await send("GET", url, { signal: aborted })
      for await (const { name, data } of eventsOf(response.body!)) {
        if (aborted.aborted) return
        if (name === "data") applyAll(JSON.parse(data))
        else if (name === "control") offset = (JSON.parse(data) as Control).streamNextOffset
        isLive.value = true
        isFollowed()
      }
    } catch (error) {
      if (aborted.aborted) return
      isLive.value = false
      isFollowed()
      // Before its first event a registry does not exist, and without permission it never will.
      if (error instanceof Refused && ![0, 404, 429, 503].includes(error.status)) return
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

function applyAll(events: Event[]) {
  const added: Stream[] = []
  const removed = new Set<string>()
  for (const { type, value, headers } of events) {
    if (type !== "stream") continue
    if (headers.operation === "delete") {
      removed.add(value.path)
      endedMeanwhile.add(value.path)
      const at = added.findIndex(({ path }) => path === value.path)
      if (at >= 0) added.splice(at, 1)
      ended.value = { path: value.path, count: ended.value.count + 1 }
    } else if (value.path.startsWith(prefix.value)) {
      removed.delete(value.path)
      endedMeanwhile.delete(value.path)
      added.push({ ...value, closed: false, tail: null })
    }
  }
  if (removed.size > 0) streams.value = streams.value.filter(({ path }) => !removed.has(path))
  // A stream beyond the loaded pages comes with its page.
  const limit = next.value
  if (isLoading.value) addedMeanwhile.push(...added)
  const last = limit === null || isOfEvents ? undefined : limit
  merge(added.filter(({ path }) => last === undefined || path <= last))
}

/** Adds streams in the order of their paths. A newer description replaces an older one. */
function merge(found: Stream[]) {
  if (found.length === 0) return
  const all = new Map(streams.value.map((stream) => [stream.path, stream]))
  for (const stream of found) all.set(stream.path, stream)
  const sorted = [...all.values()].sort((one, other) => (one.path < other.path ? -1 : 1))
  streams.value = sorted.slice(0, STREAMS_MAX)
}
