// Which appends wait and which go together: the decisions of group commit. Nothing here waits or sends: what has happened
// comes in as a call, what is to be done goes out as a `Turn`, and `group_commit.js` carries it out.

/** How many requests an isolate has under way to one stream before those that come wait for one of them to end. */
export const UNDER_WAY_MAX = 4
/** How long they wait. What is under way may have far to go, or be a body that is slow to come. */
export const WAIT_MAX_MS = 50
/** When what is under way does not count any more: a client that leaves takes its request along without notice. */
export const STALE_MS = 1000
/** How many appends go together at most. */
export const BATCH_APPENDS_MAX = 64
/** How large an append is that waits; what is larger goes by itself. */
export const APPEND_MAX_BYTES = 16 << 10
/** How large its headers are, of those that its object has to see. */
export const HEADERS_MAX_CHARS = 4 << 10
/** How many wait in this isolate, for others or for their answers; those beyond go by themselves. */
export const WAITING_MAX = 2000
/** When one of them has lost its place: well above the longest wait, for the platform ends a request without notice. */
export const PLACE_MAX_MS = 3 * 60_000
/** How many streams are watched; appends to others go by themselves. */
export const LINES_MAX = 10_000
/** How many of them are looked at when there is to be room for another. */
const LOOKED_AT_MAX = 16
/** How long an append that another request has taken along waits for its answer. */
export const ANSWER_MAX_MS = 30_000

/** An answer with this status is no answer: the append failed, and the text says how. */
const FAILED = 0

/** @typedef {import("./index.js").Answer} Answer */

/**
 * @template Load
 * @typedef {object} Line of one stream
 * @property {Slot<Load>[]} slots the requests under way
 * @property {Append<Load>[]} waiting the oldest first
 */

/**
 * @template Load
 * @typedef {object} Slot a request that is under way
 * @property {Line<Load>} [line] none where the stream is not watched
 * @property {number} since
 */

/**
 * Its phases: its body comes; it waits in the line; then it leads a request, or is taken along by one, and may be overdue
 * there; and it has its outcome.
 * @template Load
 * @typedef {object} Append one that came while others were under way
 * @property {string} path the stream's
 * @property {Load} load what carries it out
 * @property {number} since
 * @property {"comes" | "waits" | "leads" | "taken" | "overdue" | "over"} phase
 */

/** @typedef {{ do: "wait", millis: number }} Wait until another turn comes; after so long say so (`waited`) */

/**
 * @template Load
 * @typedef {{ do: "lead", batch: Append<Load>[], slot: Slot<Load> }} Lead take these along in one request, itself the first
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
  /** @type {Map<string, Line<Load>>} by the path of a stream; those that were looked at last are at the end */
  #lines = new Map()
  /** @type {Set<Append<Load>>} those that wait, the oldest first */
  #places = new Set()

  /** @param {() => number} now in milliseconds */
  constructor(now) {
    this.#now = now
  }

  /**
   * The slot in which an append goes at once, if there is one.
   * @param {string} path
   * @returns {Slot<Load> | undefined}
   */
  begin(path) {
    const line = this.#lineOf(path)
    if (line === undefined) return { since: 0 }
    return this.#isFree(line, UNDER_WAY_MAX) ? this.#start(line) : undefined
  }

  /** Whether an append whose body has so many bytes may wait. @param {number} bodyBytes NaN if it does not say so */
  mayWait(bodyBytes) {
    return bodyBytes <= APPEND_MAX_BYTES && (this.#places.size < WAITING_MAX || this.#forgetLost())
  }

  /**
   * Takes a place for one that may wait.
   * @param {string} path
   * @param {string} headerLines
   * @param {Load} load
   * @returns {Append<Load> | undefined} nothing if its headers are too long
   */
  enter(path, headerLines, load) {
    if (headerLines.length > HEADERS_MAX_CHARS) return undefined
    /** @type {Append<Load>} */
    const append = { path, load, since: this.#now(), phase: "comes" }
    this.#places.add(append)
    return append
  }

  /**
   * Its body is here.
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
   * It has waited as long as it was to.
   * @param {Append<Load>} append
   * @returns {Turn<Load> | undefined} nothing if it has had its turn: a timer cannot be taken back from another request
   */
  waited(append) {
    const line = this.#lines.get(append.path)
    const at = line?.waiting.indexOf(append) ?? -1
    // The object may be far away: all that wait go together, beside what is under way.
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
    return { do: "fail", error: new Error("whoever took this append along is gone") }
  }

  /**
   * What was under way in a slot has ended.
   * @param {Slot<Load>} slot
   * @returns {Given<Load> | undefined} who goes in it now
   */
  ended(slot) {
    const line = slot.line
    const at = line?.slots.indexOf(slot) ?? -1
    // It had been given up.
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
   * @param {Answer[]} answers one for each, in their order
   */
  answered(batch, answers) {
    return settled(batch, (at) => outcomeOf(answers[at]))
  }

  /**
   * It has not. One that is still of an older version takes no appends together, and has stored none of these.
   * @param {Append<Load>[]} batch
   * @param {unknown} error
   */
  failed(batch, error) {
    /** @type {Outcome} */
    const outcome = isUnknown(error) ? { do: "alone" } : { do: "fail", error }
    return settled(batch, () => outcome)
  }

  /** The client has its response, or the append failed. @param {Append<Load>} append */
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

  /** Makes room for another, if there are any where nothing happens. */
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

  /** Makes room for others, if there are any whose requests the platform has ended without notice. */
  #forgetLost() {
    for (const append of this.#places) {
      if (this.#now() - append.since < PLACE_MAX_MS) break
      this.#places.delete(append)
    }
    return this.#places.size < WAITING_MAX
  }

  /** Whether fewer than `most` are under way. @param {Line<Load>} line @param {number} most */
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
 * The outcome of the one that leads, and of each of the others that has none yet.
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
  if (answer === undefined) return { do: "fail", error: new Error("the object has not answered this append") }
  return answer[0] === FAILED ? { do: "fail", error: new Error(answer[1]) } : { do: "respond", answer }
}

/** @param {unknown} error */
const isUnknown = (error) => error instanceof TypeError && /does not implement the method/.test(error.message)
