// The messages of one stream: reads them from a chosen place, follows the stream, and retains a bounded number.

import { signal } from "@preact/signals"
import { Refused, send, streamUrl, wordsOf } from "./api"
import { kindOf, piecesOf, piecesOfEvent, textOf, type Kind, type Message, type Piece } from "./content"
import { filterOf, type Filter } from "./filter"
import { RateMeter } from "./rates"
import { eventsOf, type Control } from "./sse"

/** The most messages of a view in memory. A view that follows drops its oldest ones. */
export const KEPT_MESSAGES_MAX = 10_000
/** The most content of a view in memory, in bytes. */
export const KEPT_BYTES_MAX = 32 << 20
/** How many messages that have arrived may wait for the next frame. A hidden page has no frames. */
const WAITING_MAX = 1_000
/** How many messages a view begins with. */
export const FIRST_MESSAGES = 200

const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 30_000

/** Where a view begins. */
export type Start =
  | { from: "last"; count: number }
  | { from: "start" }
  | { from: "offset"; offset: string }
  | { from: "time"; at: string }

/** The next message to read: `skip` messages or bytes after an offset. */
interface Place {
  offset: string
  skip: number
}

/** What a view returns to if the stream cannot be read from another place. */
interface Before {
  start: Start
  next: Place
  upToDate: boolean
}

export type Phase = "idle" | "reading" | "following" | "paused" | "waiting" | "ended" | "failed"

export function queryOf(start: Start) {
  switch (start.from) {
    case "last":
      return `last=${start.count}`
    case "start":
      return "offset=-1"
    case "offset":
      return `offset=${encodeURIComponent(start.offset)}`
    case "time":
      return `at=${encodeURIComponent(start.at)}`
  }
}

export class Reader {
  /** The retained messages, oldest first. */
  readonly kept: Message[] = []
  /** Those that match the filter, oldest first. */
  shown: Message[] = []
  /** How many messages have ever been appended to `shown`, for a list that keeps its place. */
  shownCount = 0
  /** Grows with each change of the lists. */
  readonly version = signal(0)
  readonly phase = signal<Phase>("idle")
  readonly trouble = signal<string | undefined>(undefined)
  readonly closed = signal(false)
  readonly upToDate = signal(false)
  readonly rates = new RateMeter()
  filterText = ""
  /** Where the view began, for commands that repeat it. */
  start: Start = { from: "last", count: FIRST_MESSAGES }

  #kind: Kind
  #next: Place | undefined
  /** Whether the messages in memory come from the view before this one, which no response has replaced yet. */
  #isOpening = false
  #before: Before | undefined
  #waiting: Piece[] = []
  #frame = 0
  #bytes = 0
  #ids = 0
  #filter: Filter | undefined
  #abort = new AbortController()

  constructor(
    readonly path: string,
    contentType: string,
  ) {
    this.#kind = kindOf(contentType)
  }

  get kind() {
    return this.#kind
  }

  /**
   * Shows the stream from another place. A view from the end follows. The messages in memory stay until the first response, and
   * if that is a refusal, the view stays where it was.
   */
  async open(start: Start) {
    this.#stop()
    this.#flush()
    if (!this.#isOpening && this.#next) this.#before = { start: this.start, next: this.#next, upToDate: this.upToDate.value }
    this.#isOpening = true
    this.start = start
    this.#next = undefined
    this.upToDate.value = false
    if (start.from === "last") await this.follow()
    else await this.readOn()
  }

  /** The first response of a view replaces the messages of the view before. */
  #opened() {
    if (!this.#isOpening) return
    this.#isOpening = false
    this.#before = undefined
    this.kept.length = 0
    this.#bytes = 0
    this.#show()
  }

  /** The offset from which a command or code reads what the view shows. */
  get from() {
    if (this.start.from === "start") return "-1"
    if (this.start.from === "offset") return this.start.offset
    return this.kept[0]?.base ?? this.#next?.offset ?? "-1"
  }

  get isLive() {
    return ["following", "waiting", "reading"].includes(this.phase.value)
  }

  /** Reads one response from the next place on. */
  async readOn() {
    const abort = this.#restart("reading")
    try {
      await this.#read(abort.signal)
      this.phase.value = this.closed.value && this.upToDate.value ? "ended" : "paused"
    } catch (error) {
      this.#failed(error, abort)
    }
  }

  async #read(aborted: AbortSignal) {
    const place = this.#next
    const query = place ? `offset=${place.offset}` : queryOf(this.start)
    const response = await send("GET", `${streamUrl(this.path)}?${query}`, { signal: aborted, path: this.path })
    const base = place?.offset ?? baseOf(response, this.start)
    const next = response.headers.get("stream-next-offset") ?? base
    const pieces = await piecesOf(response, this.#kind, base, place?.skip ?? 0)
    aborted.throwIfAborted()
    this.#opened()
    // A response of many small messages is read in parts.
    const read = pieces.slice(0, KEPT_MESSAGES_MAX / 2)
    const last = read.at(-1)
    const isWhole = read.length === pieces.length
    this.#next = isWhole || !last ? { offset: next, skip: 0 } : { offset: base, skip: last.skip + last.length }
    this.upToDate.value = isWhole && response.headers.has("stream-up-to-date")
    this.closed.value = response.headers.has("stream-closed")
    this.#keep(read)
  }

  /** Follows the stream from the next place on, if that is the tail. Otherwise it begins again near the end. */
  async follow() {
    if (this.#next && !this.upToDate.value) return this.open({ from: "last", count: FIRST_MESSAGES })
    const abort = this.#restart("reading")
    for (let delay = RETRY_MIN_MS; ; delay = Math.min(delay * 2, RETRY_MAX_MS)) {
      try {
        const isConnected = await this.#events(abort.signal)
        if (this.closed.value) {
          this.phase.value = "ended"
          return
        }
        if (isConnected) delay = RETRY_MIN_MS / 2
      } catch (error) {
        const isFinal = error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429
        if (abort.signal.aborted || isFinal) return this.#failed(error, abort)
        this.trouble.value = wordsOf(error)
      }
      if (abort.signal.aborted) return
      this.phase.value = "waiting"
      await pause(delay, abort.signal)
      if (abort.signal.aborted) return
    }
  }

  /** Reads one response of events to its end. Returns whether it had an event. */
  async #events(aborted: AbortSignal) {
    const query = this.#next ? `offset=${this.#next.offset}` : queryOf(this.start)
    const response = await send("GET", `${streamUrl(this.path)}?${query}&live=sse`, { signal: aborted, path: this.path })
    this.#opened()
    const isBase64 = response.headers.get("stream-sse-data-encoding") === "base64"
    let base = this.#next?.offset ?? baseOf(response, this.start)
    let isConnected = false
    // The `control` event after it says where to go on: without that, a new connection would repeat the messages.
    let pieces: Piece[] = []
    for await (const { name, data } of eventsOf(response.body!)) {
      if (aborted.aborted) return isConnected
      isConnected = true
      if (name === "data") {
        pieces = piecesOfEvent(data, this.#kind, isBase64, base)
      } else if (name === "control") {
        const control: Control = JSON.parse(data)
        base = control.streamNextOffset
        this.#next = { offset: base, skip: 0 }
        if (pieces.length > 0) this.#arrived(pieces)
        pieces = []
        this.#caughtUp(control)
      }
    }
    return isConnected
  }

  #caughtUp({ upToDate = false, streamClosed = false }: Control) {
    this.closed.value = streamClosed
    this.upToDate.value = upToDate || streamClosed
    this.trouble.value = undefined
    this.phase.value = "following"
  }

  /** Ends the connection. `follow` continues from here. */
  pause() {
    this.#stop()
    this.#flush()
    if (this.phase.value !== "ended") this.phase.value = "paused"
  }

  /** Ends the view. */
  close() {
    this.#stop()
    cancelAnimationFrame(this.#frame)
  }

  /** Shows the messages that match. Throws `FilterError` for a text that is no filter. */
  setFilter(text: string) {
    this.filterText = text
    this.#filter = filterOf(text)
    this.#show()
  }

  #stop() {
    this.#abort.abort()
  }

  #restart(phase: Phase) {
    this.#stop()
    this.#abort = new AbortController()
    this.trouble.value = undefined
    this.phase.value = phase
    return this.#abort
  }

  #failed(error: unknown, abort: AbortController) {
    if (abort.signal.aborted) return
    this.trouble.value = wordsOf(error)
    this.phase.value = "failed"
    if (this.#isOpening && this.#before) {
      const { start, next, upToDate } = this.#before
      this.start = start
      this.#next = next
      this.upToDate.value = upToDate
      this.#isOpening = false
      this.#before = undefined
      this.phase.value = "paused"
      return
    }
    // The data at this place is gone, or another stream is at the URL: the next attempt begins near the end.
    if (error instanceof Refused && error.status === 410) {
      this.start = { from: "last", count: FIRST_MESSAGES }
      this.#next = undefined
    }
  }

  /** Shows arrived messages in the next frame, so that each frame renders at most once. */
  #arrived(pieces: Piece[]) {
    // What a view begins with is older than the view.
    if (this.upToDate.value) this.rates.count(pieces)
    else for (const piece of pieces) piece.receivedAt = undefined
    for (const piece of pieces) this.#waiting.push(piece)
    if (this.#waiting.length >= WAITING_MAX) this.#flush()
    else if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#flush())
  }

  #flush() {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    const pieces = this.#waiting
    this.#waiting = []
    if (pieces.length > 0) this.#keep(pieces)
  }

  #keep(pieces: Piece[]) {
    const added: Message[] = []
    for (const piece of pieces) {
      this.#ids += 1
      this.#bytes += piece.size
      added.push({ ...piece, id: this.#ids })
    }
    for (const message of added) this.kept.push(message)
    this.#trim()
    const matching = this.#filter ? added.filter((message) => this.#matches(message)) : added
    const oldest = this.kept[0]?.id ?? 0
    const dropped = this.shown.findIndex(({ id }) => id >= oldest)
    this.shown.splice(0, dropped < 0 ? this.shown.length : dropped)
    for (const message of matching) if (message.id >= oldest) this.shown.push(message)
    this.shownCount += matching.length
    this.version.value += 1
  }

  /** Drops the oldest messages beyond the bounds. The newest one always stays. */
  #trim() {
    let count = Math.max(0, this.kept.length - KEPT_MESSAGES_MAX)
    for (let at = 0; at < count; at += 1) this.#bytes -= this.kept[at]!.size
    while (this.#bytes > KEPT_BYTES_MAX && count < this.kept.length - 1) {
      this.#bytes -= this.kept[count]!.size
      count += 1
    }
    this.kept.splice(0, count)
  }

  #matches(message: Message) {
    return this.#filter?.(textOf(message)) ?? true
  }

  #show() {
    this.shown = this.kept.filter((message) => this.#matches(message))
    this.shownCount = this.shown.length
    this.version.value += 1
  }
}

/** The offset at which a read begins. The header has it unless the request says it. */
function baseOf(response: Response, start: Start) {
  return response.headers.get("stream-start-offset") ?? (start.from === "offset" ? start.offset : "")
}

function pause(millis: number, aborted: AbortSignal) {
  return new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, millis)
    aborted.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
