// How fast the listed streams grow: two pages of the list, some seconds apart, and the difference between their tails.

import { signal } from "@preact/signals"
import { wordsOf } from "./api"
import { describe } from "./state"
import { pageOf, trouble, type Stream } from "./streams"

/** How long after the first page the second one is read. */
const APART_MS = 3_000
/** Streams that are not JSON have offsets in bytes. In the order of the list, this many count as a message. */
const BYTES_A_MESSAGE = 1_000

export interface Growth {
  stream: Stream
  /** Messages per second in a JSON stream, bytes per second in others. */
  perSecond: number
  isJson: boolean
  /** Whether there were more, in segments that the server no longer has or does not show. */
  isAtLeast: boolean
}

/** The streams of the first page, the fastest first, while the list shows rates. */
export const growths = signal<Growth[] | undefined>(undefined)
export const isMeasuring = signal(false)

let measuring = new AbortController()

/** Shows the list without rates. */
export function forget() {
  measuring.abort()
  growths.value = undefined
  isMeasuring.value = false
}

/** Measures the first page of the streams with the prefix. */
export async function measure() {
  forget()
  measuring = new AbortController()
  const { signal: aborted } = measuring
  isMeasuring.value = true
  trouble.value = undefined
  try {
    const before = new Map((await timedPage(aborted)).map((one) => [one.stream.path, one]))
    await new Promise((resolve) => setTimeout(resolve, APART_MS))
    const after = await timedPage(aborted)
    const found = await Promise.all(after.map((one) => growthOf(before.get(one.stream.path), one, aborted)))
    if (!aborted.aborted) growths.value = found.filter((one) => one !== undefined).sort((one, other) => weightOf(other) - weightOf(one))
  } catch (error) {
    if (!aborted.aborted) trouble.value = wordsOf(error)
  } finally {
    if (!aborted.aborted) isMeasuring.value = false
  }
}

interface Seen {
  stream: Stream
  atMs: number
}

async function timedPage(aborted: AbortSignal): Promise<Seen[]> {
  aborted.throwIfAborted()
  const { streams } = await pageOf("", aborted)
  const atMs = performance.now()
  return streams.map((stream) => ({ stream, atMs }))
}

const weightOf = ({ perSecond, isJson }: Growth) => (isJson ? perSecond : perSecond / BYTES_A_MESSAGE)

async function growthOf(before: Seen | undefined, { stream, atMs }: Seen, aborted: AbortSignal): Promise<Growth | undefined> {
  // A stream that does not answer has no tail, and one that was created again has another count.
  if (!before?.stream.tail || !stream.tail || before.stream.createdAt !== stream.createdAt) return undefined
  const isJson = /^application\/json *(?:;|$)/iu.test(stream.contentType ?? "")
  const seconds = (atMs - before.atMs) / 1000
  const [from, to] = [placeOf(before.stream.tail), placeOf(stream.tail)]
  const passed = from.segment === to.segment ? -from.position : await restOf(stream.path, from, to, isJson, aborted)
  return { stream, isJson, perSecond: Math.max(0, (passed ?? 0) + to.position) / seconds, isAtLeast: passed === undefined }
}

interface Place {
  segment: number
  position: number
}

function placeOf(tail: string): Place {
  const [segment, position] = tail.split("_").map(Number)
  return { segment: segment ?? 0, position: position ?? 0 }
}

/** What the stream appended between a place and the segment of another, or undefined if the server does not show it. */
async function restOf(path: string, from: Place, to: Place, isJson: boolean, aborted: AbortSignal) {
  const described = await describe(path, aborted).catch(() => undefined)
  const passed = (described?.segments?.newest ?? []).filter(({ number }) => number >= from.segment && number < to.segment)
  if (passed.length !== to.segment - from.segment) return undefined
  return passed.reduce((sum, { messages, bytes }) => sum + (isJson ? messages : bytes), -from.position)
}
