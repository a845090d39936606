// The decisions of collapsing: which reads share an answer. Nothing here waits or sends. Events come in as calls, and
// `collapse.js` carries out the decisions.

/** The most reads that followers can wait for; further clients send their own reads to the object. */
export const UNDER_WAY_MAX = 1000
/** How long a follower waits: longer than a long-poll takes. The platform may end a leader without notice. */
export const UNDER_WAY_MAX_MS = 30_000

/** The expected size of an answer before it has arrived: of a plain read of sealed data, and of a long-poll. */
export const CHUNK_BYTES = 4 << 20
export const LIVE_BYTES = 64 << 10

/**
 * @template Load
 * @typedef {object} Read a read in progress; the leading client sends it to the object, and the others follow
 * @property {string} name the group of clients that may share it, and the key of the read
 * @property {Load} load the caller's data
 * @property {number} since
 * @property {number} followers the clients that wait for it
 * @property {number} copies the copies of its answer, one for each follower
 * @property {boolean} isCached whether its answer is in the cache
 */

/**
 * @template Load
 * @typedef {{ do: "lead" | "follow", read: Read<Load> } | { do: "alone" }} Role of a client
 */

/**
 * @typedef {object} Head the part of an answer that decides who may have it
 * @property {"whole" | "nothing new" | "other"} kind
 * @property {string | null} cacheControl
 * @property {string | null} nextOffset
 * @property {boolean} isLive
 */

/**
 * Whether only the leader has the answer, or followers share it if there is room for the expected bytes, and
 * whether the cache stores it.
 * @typedef {{ do: "do not share" } | { do: "share", expectedBytes: number, isCached: boolean }} Sharing
 */

/**
 * What a follower does after its wait: it takes its copy, looks into the cache, sends its own read to the object, or does
 * nothing because its client has left. With `drops`, it releases the copy made for it.
 * @typedef {{ do: "take" | "look" | "ask" | "leave", drops: boolean }} Waking
 */

/** @template Load */
export class Reads {
  #now
  /** @type {Map<string, Read<Load>>} reads in progress by name, the oldest first */
  #underWay = new Map()

  /** @param {() => number} now in milliseconds */
  constructor(now) {
    this.#now = now
  }

  /**
   * A client arrives with a read.
   * @param {string} key
   * @param {string} group the clients that may share it
   * @param {() => Load} load
   * @returns {Role<Load>}
   */
  arrived(key, group, load) {
    this.#forgetOld()
    const name = `${group} ${key}`
    const found = this.#underWay.get(name)
    if (found !== undefined) {
      found.followers += 1
      return { do: "follow", read: found }
    }
    if (this.#underWay.size >= UNDER_WAY_MAX) return { do: "alone" }
    const read = { name, load: load(), since: this.#now(), followers: 0, copies: 0, isCached: false }
    this.#underWay.set(name, read)
    return { do: "lead", read }
  }

  /**
   * How long a follower waits, in milliseconds: no longer than its token is valid.
   * @param {number} until
   */
  longestWait(until) {
    return Math.max(0, Math.min(UNDER_WAY_MAX_MS, until - this.#now()))
  }

  /** Whether the request to the object can be cancelled once the client that leads has left. @param {Read<Load>} read */
  isForNobody(read) {
    return read.followers === 0
  }

  /**
   * The object has answered.
   * @param {Read<Load>} read
   * @param {Head} head
   * @param {boolean} hasCache
   * @returns {Sharing}
   */
  answered(read, { kind, cacheControl, nextOffset, isLive }, hasCache) {
    if (kind === "nothing new") {
      // Share this only if the key has the tail's offset. The object reads an offset beyond the tail as the tail, but the next
      // append may make it a valid one.
      const isThere = nextOffset !== null && read.name.includes(nextOffset)
      return isThere ? { do: "share", expectedBytes: 0, isCached: false } : NOT_SHARED
    }
    // A plain read that reaches the tail is not public, because the next reader needs a newer answer.
    const isPublic = kind === "whole" && /^public\b/.test(cacheControl ?? "")
    if (!isPublic || (read.followers === 0 && !hasCache)) return NOT_SHARED
    return { do: "share", expectedBytes: isLive ? LIVE_BYTES : CHUNK_BYTES, isCached: hasCache }
  }

  /**
   * The answer is in memory.
   * @param {Read<Load>} read
   * @returns {number} the number of followers that get a copy
   */
  shared(read) {
    read.copies = read.followers
    return read.copies
  }

  /** The answer was in the cache, where each follower can read it at its own speed. @param {Read<Load>} read */
  found(read) {
    read.isCached = true
  }

  /** The read has ended: its followers wake, and new clients do not follow it. @param {Read<Load>} read */
  ended(read) {
    if (this.#underWay.get(read.name) === read) this.#underWay.delete(read.name)
  }

  /**
   * A follower stops waiting.
   * @param {Read<Load>} read
   * @param {boolean} isLate whether its time is up or its client has left
   * @param {boolean} hasLeft
   * @returns {Waking}
   */
  woke(read, isLate, hasLeft) {
    const hasCopy = read.copies > 0
    if (hasCopy) read.copies -= 1
    else if (read.followers > 0) read.followers -= 1
    if (hasLeft) return { do: "leave", drops: hasCopy }
    if (isLate) return { do: "ask", drops: hasCopy }
    if (hasCopy) return { do: "take", drops: false }
    return { do: read.isCached ? "look" : "ask", drops: false }
  }

  /** The module has lost its memory, and the leaders with it. @returns {Read<Load>[]} the reads whose followers must wake */
  abandoned() {
    const all = [...this.#underWay.values()]
    for (const read of all) read.followers = 0
    this.#underWay.clear()
    return all
  }

  /** Forgets reads whose leaders the platform has ended without notice, so that they do not take the places of others. */
  #forgetOld() {
    for (const [name, { since }] of this.#underWay) {
      if (this.#now() - since < UNDER_WAY_MAX_MS) return
      this.#underWay.delete(name)
    }
  }
}

/** @type {Sharing} */
const NOT_SHARED = { do: "do not share" }

/**
 * How long an answer from the cache stays fresh, in seconds.
 * @param {string | null} cacheControl
 * @param {number} ageMillis the time since it was stored
 * @returns {number | undefined} undefined if it is stale
 */
export function freshSeconds(cacheControl, ageMillis) {
  const age = Math.ceil(ageMillis / 1000)
  const maxAge = Number(/max-age=(\d+)/.exec(cacheControl ?? "")?.[1])
  return age >= 0 && age < maxAge ? maxAge - age : undefined
}
