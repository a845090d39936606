// The decisions of group commit: which appends wait, and which form a batch. Nothing here waits or sends. Events come in as
// calls, decisions go out as a `Turn`, and `group_commit.js` carries them out.

/** How many requests to one stream an isolate has in flight before further appends wait for one of them to end. */
export const UNDER_WAY_MAX = 4
/** How long an append waits in line. A request in flight may have a long way to go, or a slow body. */
export const WAIT_MAX_MS = 50
/** When an in-flight slot expires: a client that disconnects cancels its request without notifying the Worker. */
export const STALE_MS = 1000
/** The most appends in a batch. */
export const BATCH_APPENDS_MAX = 64
/** The largest append that may wait; a larger one is sent alone. */
export const APPEND_MAX_BYTES = 16 << 10
/** The most characters in the header lines of an append that may wait. */
export const HEADERS_MAX_CHARS = 4 << 10
/** The most appends in this isolate that wait, in line or for an answer; further ones are sent alone. */
export const WAITING_MAX = 2000
/** When a waiting append loses its place: well above the longest wait, because the platform ends requests without notice. */
export const PLACE_MAX_MS = 3 * 60_000
/** The most streams with a line; appends to other streams are sent alone. */
export const LINES_MAX = 10_000
/** How many lines are checked to find an idle one, when a new line needs its place. */
const LOOKED_AT_MAX = 16
/** How long an append in another request's batch waits for its answer. */
export const ANSWER_MAX_MS = 30_000

/** An answer with this status means that the append failed; its text is the error. */
const FAILED = 0

/** @typedef {import("./index.js").Answer} Answer */

/**
 * @template Load
 * @typedef {object} Line the appends to one stream
 * @property {Slot<Load>[]} slots the requests in flight
 * @property {Append<Load>[]} waiting the appends in line, the oldest first
 */

/**
 * @template Load
 * @typedef {object} Slot a request in flight
 * @property {Line<Load>} [line] none if the stream has no line
 * @property {number} since
 */

/**
 * An append passes through these phases: "comes", until its body has arrived; "waits", in line; then "leads", if its request
 * sends a batch, or "taken", if another request sends it, and "overdue", if that request does not answer in time; and "over".
 * @template Load
 * @typedef {object} Append one that arrived while others were in flight
 * @property {string} path the stream's path
 * @property {Load} load the caller's data
 * @property {number} since
 * @property {"comes" | "waits" | "leads" | "taken" | "overdue" | "over"} phase
 */

/** @typedef {{ do: "wait", millis: number }} Wait for another turn; after so many milliseconds call `waited` */

/**
 * @template Load
 * @typedef {{ do: "lead", batch: Append<Load>[], slot: Slot<Load> }} Lead send this batch, which begins with the append itself
 */

/** @typedef {{ do: "respond", answer: Answer } | { do: "alone" } | { do: "fail", error: unknown }} Outcome */

/**
 * What to do with an append.
 * @template Load
 * @typedef {Wait | Lead<Load> | Outcome} Turn
 */

/**
 * @template Load
 * @typedef {{ append: Append<Load>, turn: Turn<Load> }} Given
 */

/** @template Load */
export class GroupCommit {
  #now
  /** @type {Map<string, Line<Load>>} by the path of a stream; `#forgetIdle` moves the ones it has checked to the end */
  #lines = new Map()
  /** @type {Set<Append<Load>>} the appends that wait, the oldest first */
  #places = new Set()

  /** @param {() => number} now in milliseconds */
  constructor(now) {
    this.#now = now
  }

  /**
   * Takes a slot for an append that is sent immediately, if one is free.
   * @param {string} path
   * @returns {Slot<Load> | undefined}
   */
  begin(path) {
    const line = this.#lineOf(path)
    if (line === undefined) return { since: 0 }
    return this.#isFree(line, UNDER_WAY_MAX) ? this.#start(line) : undefined
  }

  /** Whether an append with a body of this size may wait. @param {number} bodyBytes NaN if the size is not declared */
  mayWait(bodyBytes) {
    return bodyBytes <= APPEND_MAX_BYTES && (this.#places.size < WAITING_MAX || this.#forgetLost())
  }

  /**
   * Takes a place for an append that may wait.
   * @param {string} path
   * @param {string} headerLines
   * @param {Load} load
   * @returns {Append<Load> | undefined} undefined if its headers are too long
   */
  enter(path, headerLines, load) {
    if (headerLines.length > HEADERS_MAX_CHARS) return undefined
    /** @type {Append<Load>} */
    const append = { path, load, since: this.#now(), phase: "comes" }
    this.#places.add(append)
    return append
  }

  /**
   * The body of an append has arrived.
   * @param {Append<Load>} append
   * @returns {Turn<Load>}
   */
  received(append) {
    const slot = this.begin(append.path)
    if (slot !== undefined) return lead([append], slot)
    append.phase = "waits"
    this.#lineOf(append.path)?.waiting.push(append)
    return { do: "wait", millis: WAIT_MAX_MS }
  }

  /**
   * The time of an append's `Wait` is up.
   * @param {Append<Load>} append
   * @returns {Turn<Load> | undefined} undefined if it has had its turn: one request cannot clear another's timer
   */
  waited(append) {
    const line = this.#lines.get(append.path)
    const at = line?.waiting.indexOf(append) ?? -1
    // The object may be far away: send all that wait as a batch, in addition to the requests in flight.
    if (line !== undefined && at >= 0) {
      line.waiting.splice(at, 1)
      return lead([append, ...line.waiting.splice(0, BATCH_APPENDS_MAX - 1)], this.#start(line))
    }
    if (append.phase === "taken") {
      append.phase = "overdue"
      return { do: "wait", millis: ANSWER_MAX_MS }
    }
    if (append.phase !== "overdue") return undefined
    append.phase = "over"
    return { do: "fail", error: new Error("the request that sent this append is gone and left no answer") }
  }

  /**
   * The request in a slot has ended.
   * @param {Slot<Load>} slot
   * @returns {Given<Load> | undefined} the append that leads the next batch in this slot
   */
  ended(slot) {
    const line = slot.line
    const at = line?.slots.indexOf(slot) ?? -1
    // The slot has expired.
    if (line === undefined || at < 0) return undefined
    if (line.waiting.length === 0) {
      line.slots.splice(at, 1)
      return undefined
    }
    const batch = line.waiting.splice(0, BATCH_APPENDS_MAX)
    slot.since = this.#now()
    return { append: batch[0], turn: lead(batch, slot) }
  }

  /**
   * The object has answered.
   * @param {Append<Load>[]} batch
   * @param {Answer[]} answers one for each append, in their order
   */
  answered(batch, answers) {
    return settled(batch, (at) => outcomeOf(answers[at]))
  }

  /**
   * The request failed. An object of an older build does not know `appendAll`, and has then stored none of the appends.
   * @param {Append<Load>[]} batch
   * @param {unknown} error
   */
  failed(batch, error) {
    /** @type {Outcome} */
    const outcome = isUnknown(error) ? { do: "alone" } : { do: "fail", error }
    return settled(batch, () => outcome)
  }

  /** The client has its response, or the append has failed. @param {Append<Load>} append */
  left(append) {
    append.phase = "over"
    this.#places.delete(append)
  }

  /** @param {string} path @returns {Line<Load> | undefined} */
  #lineOf(path) {
    const known = this.#lines.get(path)
    if (known !== undefined) return known
    if (this.#lines.size >= LINES_MAX && !this.#forgetIdle()) return undefined
    /** @type {Line<Load>} */
    const line = { slots: [], waiting: [] }
    this.#lines.set(path, line)
    return line
  }

  /** Makes room for a line by forgetting idle ones. Returns whether there is room. */
  #forgetIdle() {
    let lookedAt = 0
    for (const [path, line] of this.#lines) {
      this.#lines.delete(path)
      if (!this.#isFree(line, 1) || line.waiting.length > 0) this.#lines.set(path, line)
      lookedAt += 1
      if (lookedAt === LOOKED_AT_MAX) break
    }
    return this.#lines.size < LINES_MAX
  }

  /** Frees the places of appends whose requests the platform has ended without notice. Returns whether there is a free one. */
  #forgetLost() {
    for (const append of this.#places) {
      if (this.#now() - append.since < PLACE_MAX_MS) break
      this.#places.delete(append)
    }
    return this.#places.size < WAITING_MAX
  }

  /** Whether fewer than `most` requests are in flight. @param {Line<Load>} line @param {number} most */
  #isFree(line, most) {
    if (line.slots.length < most) return true
    const now = this.#now()
    line.slots = line.slots.filter(({ since }) => now - since < STALE_MS)
    return line.slots.length < most
  }

  /** @param {Line<Load>} line @returns {Slot<Load>} */
  #start(line) {
    const slot = { line, since: this.#now() }
    line.slots.push(slot)
    return slot
  }
}

/**
 * @template Load
 * @param {Append<Load>[]} batch
 * @param {Slot<Load>} slot
 * @returns {Turn<Load>}
 */
function lead(batch, slot) {
  for (const append of batch) append.phase = "taken"
  batch[0].phase = "leads"
  return { do: "lead", batch, slot }
}

/**
 * The outcome of the append that leads, and of each other append that has none yet.
 * @template Load
 * @param {Append<Load>[]} batch
 * @param {(at: number) => Outcome} outcome
 * @returns {{ own: Outcome, others: Given<Load>[] }}
 */
function settled(batch, outcome) {
  const outcomes = batch.map((append, at) => ({ append, turn: outcome(at) }))
  const others = outcomes.slice(1).filter(({ append }) => append.phase !== "over")
  for (const append of batch) append.phase = "over"
  return { own: outcomes[0].turn, others }
}

/** @param {Answer | undefined} answer @returns {Outcome} */
function outcomeOf(answer) {
  if (answer === undefined) return { do: "fail", error: new Error("the object did not answer this append") }
  return answer[0] === FAILED ? { do: "fail", error: new Error(answer[1]) } : { do: "respond", answer }
}

/** @param {unknown} error */
const isUnknown = (error) => error instanceof TypeError && /does not implement the method/.test(error.message)
