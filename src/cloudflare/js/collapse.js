// Reads that many share: what is under way for one is waited for by others, and what is public is kept in the data
// centre's cache. Every answer is made anew for each client, since a response belongs to the request it was made in; the
// bytes of a shared one are in memory once, and count once. Who shares what is decided in `collapse_decisions.js`.

import { budget } from "./budget.js"
import { Reads, keptFor } from "./collapse_decisions.js"
import { addressOf, sent, tenantOf } from "./sending.js"
import { within } from "./stalls.js"

/** Says when an answer was put into the cache. */
const KEPT_AT = "x-kept-at"

/**
 * @typedef {object} Client
 * @property {AbortSignal} signal fires when it has gone
 * @property {number} [until] when what its token allows ends
 * @property {Request} request
 * @property {string} path the stream's
 *
 * @typedef {object} Led what is waited for
 * @property {Promise<void>} ended
 * @property {() => void} end
 * @property {Shared} [shared] the answer, if it is one that is shared
 *
 * @typedef {import("./collapse_decisions.js").Read<Led>} Read
 */

/** What is smaller is copied for each client: it fits into the system's own buffer of a connection. */
const STREAMED_MIN_BYTES = 16 << 10

/** The kinds of an object's answers that matter here, by their status codes; the module tells them. */
const kinds = { whole: 0, nothingNew: 0 }

/** @param {number} whole @param {number} nothingNew */
export function setKinds(whole, nothingNew) {
  kinds.whole = whole
  kinds.nothingNew = nothingNew
}

/** An answer whose bytes are in memory as long as anyone may need them. */
class Shared {
  #head
  #bytes
  #hold
  #users = 1

  /** @param {Response} response @param {Uint8Array<ArrayBuffer>} [bytes] @param {{ renew: () => void, release: () => void }} [hold] */
  constructor({ status, headers }, bytes, hold) {
    this.#head = { status, headers: [...headers] }
    this.#bytes = bytes
    this.#hold = hold
  }

  /** @param {number} more who will be given it, or release it */
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
   * Makes the response of one expected client. If that client leaves before it is sent anything, `context` keeps the write
   * until it has failed, so that the room is released.
   * @param {Context} context
   * @param {string} [state]
   */
  made(context, state) {
    const response = new Response(this.#body(context), this.#head)
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

/** Whether this isolate has a cache to keep anything in. */
let hasCache = true

/**
 * Whether plain reads are worth collapsing. Without a cache those would gain that meet within a millisecond, and what it
 * takes to wait for each other costs every reader that is alone a quarter of its read.
 */
export const gathersReads = () => hasCache

/** @type {Reads<Led>} */
const reads = new Reads(() => Date.now())

/** Whoever waits asks for itself: those who lead may have lost the memory they ran in. */
export function abandon() {
  for (const { load } of reads.abandoned()) load.end()
}

/** @returns {Led} */
function led() {
  const { promise, resolve } = Promise.withResolvers()
  return { ended: promise, end: () => resolve(undefined) }
}

/**
 * @param {string} key a URL
 * @param {string} group of those who may share what is under way
 * @param {Context} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask the object, until the client has gone
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
  // Those who wait for it go on waiting if this client goes away.
  context.waitUntil(read.load.ended)
  const nobody = new AbortController()
  client.signal.addEventListener("abort", () => reads.isForNobody(read) && nobody.abort())
  try {
    const kept = await keptAt(key)
    if (kept !== undefined) {
      reads.found(read)
      return kept
    }
    const response = await ask(nobody.signal)
    const sharing = reads.answered(read, headOf(response), hasCache)
    if (sharing.do === "keep to itself") return response
    const shared = await taken(response, sharing.expectedBytes, client)
    if (shared === undefined) return response
    read.load.shared = shared
    shared.expect(reads.shared(read))
    if (sharing.isKept) {
      shared.expect(1)
      context.waitUntil(keep(key, shared.made(context)))
    }
    return shared.made(context)
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
 * Takes an answer into memory, if there is room for it.
 * @param {Response} response
 * @param {number} expectedBytes
 * @param {Client} client
 * @returns {Promise<Shared | undefined>}
 */
async function taken(response, expectedBytes, { request, path }) {
  if (expectedBytes === 0) return new Shared(response)
  const hold = budget.hold(expectedBytes, tenantOf(path), addressOf(request))
  if (hold === undefined) return undefined
  try {
    const bytes = new Uint8Array(await response.arrayBuffer())
    // Where it is larger than expected and there is no room for that, it counts as what was expected.
    hold.resize(bytes.byteLength)
    return new Shared(response, bytes, hold)
  } catch (error) {
    hold.release()
    throw error
  }
}

/**
 * Waits for what somebody else has asked for, no longer than the client may.
 * @param {string} key
 * @param {Read} read
 * @param {Context} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask
 */
async function follow(key, read, context, { signal, until = Infinity }, ask) {
  const left = Promise.withResolvers()
  signal.addEventListener("abort", () => left.resolve(LATE), { once: true })
  const longest = reads.longestWait(until)
  const answer = await within(longest, Promise.race([read.load.ended, left.promise])).catch(() => LATE)
  const waking = reads.woke(read, answer === LATE, signal.aborted)
  const { shared } = read.load
  if (waking.drops) shared?.release()
  // No client sees it, but Rust awaits it.
  if (waking.do === "leave") return new Response()
  if (waking.do === "take" && shared !== undefined) return shared.made(context, "HIT")
  return (waking.do === "look" && (await keptAt(key))) || ask(signal)
}

const LATE = Symbol("late")

/** @param {string} key @returns {Promise<Response | undefined>} whose body comes from the cache at the client's speed */
async function keptAt(key) {
  if (!hasCache) return undefined
  try {
    const kept = await caches.default.match(key)
    if (kept === undefined) return undefined
    const headers = new Headers(kept.headers)
    const cacheControl = headers.get("cache-control") ?? ""
    const seconds = keptFor(cacheControl, Date.now() - Number(headers.get(KEPT_AT)))
    headers.delete(KEPT_AT)
    if (seconds === undefined) {
      await kept.body?.cancel()
      return undefined
    }
    // Not every cache behind this one subtracts an Age.
    headers.set("cache-control", cacheControl.replace(/max-age=\d+/, `max-age=${seconds}`))
    headers.set("x-cache", "HIT")
    return new Response(kept.body, { status: kept.status, headers })
  } catch {
    // There is none here, or it is in trouble: the object knows everything.
    hasCache = false
    return undefined
  }
}

/** @param {string} key @param {Response} response */
async function keep(key, response) {
  try {
    response.headers.set(KEPT_AT, String(Date.now()))
    await caches.default.put(key, response)
  } catch {}
}
