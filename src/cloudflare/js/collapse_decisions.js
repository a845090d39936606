// Which reads share an answer: the decisions of collapsing. Nothing here waits, sends, or looks at a clock: `collapse.js`
// says what has happened, and does what comes back.

/** How many reads are waited for; those beyond ask for themselves. */
export const UNDER_WAY_MAX = 1000
/** How long one is waited for: longer than a long-poll takes. A leader may be gone without notice. */
export const UNDER_WAY_MAX_MS = 30_000

/** How large an answer is taken to be before it is here: of a plain read below the tail, and of a long-poll. */
export const CHUNK_BYTES = 4 << 20
export const LIVE_BYTES = 64 << 10

/**
 * @template Load
 * @typedef {object} Read one that is under way; the client that leads asks the object, and the others follow
 * @property {string} name who may share it, and what is read
 * @property {Load} load what carries it out
 * @property {number} since
 * @property {number} followers that wait for it
 * @property {number} copies of its answer, of which each is for one of them
 * @property {boolean} isKept whether its answer is in the cache
 */

/**
 * @template Load
 * @typedef {{ do: "lead" | "follow", read: Read<Load> } | { do: "alone" }} Role of a client
 */

/**
 * @typedef {object} Head of an answer, as far as it says who may have it
 * @property {"whole" | "nothing new" | "other"} kind
 * @property {string | null} cacheControl
 * @property {string | null} nextOffset
 * @property {boolean} isLive
 */

/**
 * What becomes of an answer: its own client alone has it; or others, too, if there is room for so many bytes; and the cache.
 * @typedef {{ do: "keep to itself" } | { do: "share", expectedBytes: number, isKept: boolean }} Sharing
 */

/**
 * What a follower does that waits no more: take its copy, look into the cache, ask the object, or nothing, because its
 * client has left; and whether a copy was made for it that nobody takes.
 * @typedef {{ do: "take" | "look" | "ask" | "leave", drops: boolean }} Waking
 */

/** @template Load */
export class Reads {
  #now
  /** @type {Map<string, Read<Load>>} the oldest first */
  #underWay = new Map()

  /** @param {() => number} now in milliseconds */
  constructor(now) {
    this.#now = now
  }

  /**
   * A client asks.
   * @param {string} key what is read
   * @param {string} group of those who may share it
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
    const read = { name, load: load(), since: this.#now(), followers: 0, copies: 0, isKept: false }
    this.#underWay.set(name, read)
    return { do: "lead", read }
  }

  /**
   * How long a follower waits, whose token may end before.
   * @param {number} until
   */
  longestWait(until) {
    return Math.max(0, Math.min(UNDER_WAY_MAX_MS, until - this.#now()))
  }

  /** Whether the object's work is for nobody when the client that leads has left. @param {Read<Load>} read */
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
      // One past the tail is read as the tail, and by the next reader perhaps no more.
      const isThere = nextOffset !== null && read.name.includes(nextOffset)
      return isThere ? { do: "share", expectedBytes: 0, isKept: false } : ITS_OWN
    }
    // The next reader at the tail needs a newer answer.
    const isPublic = kind === "whole" && /^public\b/.test(cacheControl ?? "")
    if (!isPublic || (read.followers === 0 && !hasCache)) return ITS_OWN
    return { do: "share", expectedBytes: isLive ? LIVE_BYTES : CHUNK_BYTES, isKept: hasCache }
  }

  /**
   * Its answer is in memory.
   * @param {Read<Load>} read
   * @returns {number} for how many followers
   */
  shared(read) {
    read.copies = read.followers
    return read.copies
  }

  /** Its answer was in the cache, where each can read it at its own speed. @param {Read<Load>} read */
  found(read) {
    read.isKept = true
  }

  /** It has ended: its followers wake, and who comes now does not follow it. @param {Read<Load>} read */
  ended(read) {
    if (this.#underWay.get(read.name) === read) this.#underWay.delete(read.name)
  }

  /**
   * A follower waits no more.
   * @param {Read<Load>} read
   * @param {boolean} isLate whether because its time is up, or its client has left
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
    return { do: read.isKept ? "look" : "ask", drops: false }
  }

  /** Those that lead have lost the memory that they ran in. @returns {Read<Load>[]} whose followers ask for themselves */
  abandoned() {
    const all = [...this.#underWay.values()]
    for (const read of all) read.followers = 0
    this.#underWay.clear()
    return all
  }

  /** Forgets those whose leaders are gone without notice, so that they do not take the place of others. */
  #forgetOld() {
    for (const [name, { since }] of this.#underWay) {
      if (this.#now() - since < UNDER_WAY_MAX_MS) return
      this.#underWay.delete(name)
    }
  }
}

/** @type {Sharing} */
const ITS_OWN = { do: "keep to itself" }

/**
 * How long an answer from the cache may still be kept, in seconds.
 * @param {string | null} cacheControl
 * @param {number} ageMillis since it was put there
 * @returns {number | undefined} nothing if it is too old
 */
export function keptFor(cacheControl, ageMillis) {
  const age = Math.ceil(ageMillis / 1000)
  const maxAge = Number(/max-age=(\d+)/.exec(cacheControl ?? "")?.[1])
  return age >= 0 && age < maxAge ? maxAge - age : undefined
}
