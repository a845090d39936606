// Collapses identical reads: clients wait for the same read in progress, and the data centre's cache stores public answers.
// A response belongs to the request that made it, so each client gets a new one; the bytes of a shared answer are in memory
// once, and count once. `collapse_decisions.js` decides which reads are shared.

import { budget } from "./budget.js"
import { Reads, freshSeconds } from "./collapse_decisions.js"
import { addressOf, sent, tenantOf } from "./sending.js"
import { within } from "./stalls.js"

/** The header of a cached answer with the time at which it was stored, in milliseconds since 1970. */
const KEPT_AT = "x-kept-at"
const REQUEST_ID = "x-request-id"

/**
 * @typedef {object} Client
 * @property {AbortSignal} signal fires when the client disconnects
 * @property {number} [until] when its token expires, in milliseconds since 1970
 * @property {Request} request
 * @property {string} path the stream's path
 * @property {string} id the id of the request
 *
 * @typedef {object} Led the promise that followers wait for
 * @property {Promise<void>} ended
 * @property {() => void} end
 * @property {Shared} [shared] the answer, if clients may share it
 *
 * @typedef {import("./collapse_decisions.js").Read<Led>} Read
 */

/** A smaller answer is copied for each client, because it fits into the system's buffer of a connection. */
const STREAMED_MIN_BYTES = 16 << 10

/** The status codes of the answers that clients may share, from the module. */
const kinds = { whole: 0, nothingNew: 0 }

/** @param {number} whole @param {number} nothingNew */
export function setKinds(whole, nothingNew) {
  kinds.whole = whole
  kinds.nothingNew = nothingNew
}

/** An answer whose bytes stay in memory until each expected client has read or released them. */
class Shared {
  #head
  #bytes
  #hold
  #users = 1

  /** @param {Response} response @param {Uint8Array<ArrayBuffer>} [bytes] @param {{ renew: () => void, release: () => void }} [hold] */
  constructor({ status, headers }, bytes, hold) {
    // Each client's response has an id of its own.
    this.#head = { status, headers: [...headers].filter(([name]) => name !== REQUEST_ID) }
    this.#bytes = bytes
    this.#hold = hold
  }

  /** @param {number} more clients that will use or release it */
  expect(more) {
    this.#users += more
  }

  renew() {
    this.#hold?.renew()
  }

  release() {
    this.#users -= 1
    if (this.#users === 0) this.#hold?.release()
  }

  /**
   * Makes the response for one expected client. If the client disconnects before the first byte, `context` keeps the write
   * alive until it fails, so that the hold is released.
   * @param {Context} context
   * @param {string} [id] of the client's request
   * @param {string} [state]
   */
  made(context, id, state) {
    const response = new Response(this.#body(context), this.#head)
    if (id !== undefined) response.headers.set(REQUEST_ID, id)
    if (state !== undefined) response.headers.set("x-cache", state)
    return response
  }

  /** @param {Context} context */
  #body(context) {
    if (this.#bytes === undefined || this.#bytes.byteLength < STREAMED_MIN_BYTES) {
      this.release()
      return this.#bytes
    }
    const { readable, written } = sent(this.#bytes, this)
    context.waitUntil(written)
    return readable
  }
}

/** Whether this isolate has a cache. */
let hasCache = true

/**
 * Whether to collapse plain reads. Without a cache, collapsing helps only reads that arrive within the same millisecond, and
 * makes every other read a quarter more expensive.
 */
export const gathersReads = () => hasCache

/** @type {Reads<Led>} */
const reads = new Reads(() => Date.now())

/** Makes all followers send their own reads, after the module has lost its memory and the leaders with it. */
export function abandon() {
  for (const { load } of reads.abandoned()) load.end()
}

/** @returns {Led} */
function led() {
  const { promise, resolve } = Promise.withResolvers()
  return { ended: promise, end: () => resolve(undefined) }
}

/**
 * Answers a read: sends it to the object, or shares the answer to the same read in progress.
 * @param {string} key a URL
 * @param {string} group the clients that may share the read
 * @param {Context} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask sends the read to the object; the signal cancels it
 * @returns {Promise<Response>}
 */
export function collapse(key, group, context, client, ask) {
  const role = reads.arrived(key, group, led)
  switch (role.do) {
    case "lead":
      return lead(key, role.read, context, client, ask)
    case "follow":
      return follow(key, role.read, context, client, ask)
    case "alone":
      return ask(client.signal)
  }
}

/**
 * @param {string} key
 * @param {Read} read
 * @param {Context} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask
 */
async function lead(key, read, context, client, ask) {
  // The read continues for its followers if this client disconnects.
  context.waitUntil(read.load.ended)
  const nobody = new AbortController()
  client.signal.addEventListener("abort", () => reads.isForNobody(read) && nobody.abort())
  try {
    const cached = await cachedAt(key, client.id)
    if (cached !== undefined) {
      reads.found(read)
      return cached
    }
    const response = await ask(nobody.signal)
    const sharing = reads.answered(read, headOf(response), hasCache)
    if (sharing.do === "do not share") return response
    const shared = await buffered(response, sharing.expectedBytes, client)
    if (shared === undefined) return response
    read.load.shared = shared
    shared.expect(reads.shared(read))
    if (sharing.isCached) {
      shared.expect(1)
      context.waitUntil(store(key, shared.made(context)))
    }
    return shared.made(context, client.id)
  } finally {
    reads.ended(read)
    read.load.end()
  }
}

/** @param {Response} response @returns {import("./collapse_decisions.js").Head} */
function headOf({ status, headers }) {
  return {
    kind: status === kinds.whole ? "whole" : status === kinds.nothingNew ? "nothing new" : "other",
    cacheControl: headers.get("cache-control"),
    nextOffset: headers.get("stream-next-offset"),
    isLive: headers.has("stream-cursor"),
  }
}

/**
 * Reads an answer into memory, if there is room for it.
 * @param {Response} response
 * @param {number} expectedBytes
 * @param {Client} client
 * @returns {Promise<Shared | undefined>}
 */
async function buffered(response, expectedBytes, { request, path }) {
  if (expectedBytes === 0) return new Shared(response)
  const hold = budget.hold(expectedBytes, tenantOf(path), addressOf(request))
  if (hold === undefined) return undefined
  try {
    const bytes = new Uint8Array(await response.arrayBuffer())
    // If this answer is larger than expected and there is no room, it counts as the expected size.
    hold.resize(bytes.byteLength)
    return new Shared(response, bytes, hold)
  } catch (error) {
    hold.release()
    throw error
  }
}

/**
 * Waits for another client's read, no longer than the client's token is valid.
 * @param {string} key
 * @param {Read} read
 * @param {Context} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask
 */
async function follow(key, read, context, { signal, until = Infinity, id }, ask) {
  const left = Promise.withResolvers()
  signal.addEventListener("abort", () => left.resolve(LATE), { once: true })
  const longest = reads.longestWait(until)
  const answer = await within(longest, Promise.race([read.load.ended, left.promise])).catch(() => LATE)
  const waking = reads.woke(read, answer === LATE, signal.aborted)
  const { shared } = read.load
  if (waking.drops) shared?.release()
  // No client sees this response, but Rust awaits one.
  if (waking.do === "leave") return new Response()
  if (waking.do === "take" && shared !== undefined) return shared.made(context, id, "HIT")
  return (waking.do === "look" && (await cachedAt(key, id))) || ask(signal)
}

const LATE = Symbol("late")

/**
 * The cached answer; the client reads its body at its own speed.
 * @param {string} key @param {string} id @returns {Promise<Response | undefined>}
 */
async function cachedAt(key, id) {
  if (!hasCache) return undefined
  try {
    const cached = await caches.default.match(key)
    if (cached === undefined) return undefined
    const headers = new Headers(cached.headers)
    const cacheControl = headers.get("cache-control") ?? ""
    const seconds = freshSeconds(cacheControl, Date.now() - Number(headers.get(KEPT_AT)))
    headers.delete(KEPT_AT)
    if (seconds === undefined) {
      await cached.body?.cancel()
      return undefined
    }
    // The remaining time instead of an `Age` header, which not every downstream cache subtracts.
    headers.set("cache-control", cacheControl.replace(/max-age=\d+/, `max-age=${seconds}`))
    headers.set("x-cache", "HIT")
    headers.set(REQUEST_ID, id)
    return new Response(cached.body, { status: cached.status, headers })
  } catch {
    // There is no cache here, or it fails. The object can answer every read.
    hasCache = false
    return undefined
  }
}

/** @param {string} key @param {Response} response */
async function store(key, response) {
  try {
    response.headers.set(KEPT_AT, String(Date.now()))
    await caches.default.put(key, response)
  } catch {}
}
