// Reads that many share: what is under way for one is waited for by others, and what is public is kept in the data
// centre's cache. Every answer is made anew for each client, since a response belongs to the request it was made in; the
// bytes of a shared one are in memory once, and count once.

import { budget } from "./budget.js"
import { addressOf, sent, tenantOf } from "./sending.js"
import { within } from "./stalls.js"

/** How many reads are waited for; those beyond ask for themselves. */
const UNDER_WAY_MAX = 1000
/** How long one is waited for: longer than a long-poll takes. Whoever leads may be gone without a word. */
const UNDER_WAY_MAX_MS = 30_000

/** Says when an answer was put into the cache. */
const KEPT_AT = "x-kept-at"

/**
 * @typedef {object} Client
 * @property {AbortSignal} signal fires when it has gone
 * @property {number} [until] when what its token allows ends
 * @property {Request} request
 * @property {string} path the stream's
 *
 * @typedef {object} Led what is under way
 * @property {Promise<Shared | typeof KEPT | undefined>} answer
 * @property {(answer?: Shared | typeof KEPT) => void} resolve
 * @property {number} since
 * @property {number} followers that wait for it
 * @property {Shared} [shared] the answer, once it is known to be one that is shared
 */

/** What is smaller is copied for each client: it fits into the system's own buffer of a connection. */
const STREAMED_MIN_BYTES = 16 << 10

/** How large an answer is taken to be before it is here: of a plain read below the tail, and of a long-poll. */
const CHUNK_BYTES = 4 << 20
const LIVE_BYTES = 64 << 10

/** The answer is in the cache, where each can read it at its own speed. */
const KEPT = Symbol("kept")

/** An answer whose bytes are in memory as long as anyone may need them. */
class Shared {
  #head
  #bytes
  #hold
  #users = 1

  /** @param {Response} response @param {Uint8Array} [bytes] @param {{ renew: () => void, release: () => void }} [hold] */
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
   * @param {{ waitUntil: (promise: Promise<unknown>) => void }} context
   * @param {string} [state]
   */
  made(context, state) {
    let body = this.#bytes
    if (body?.byteLength >= STREAMED_MIN_BYTES) {
      const { readable, written } = sent(body, this)
      context.waitUntil(written)
      body = readable
    } else {
      this.release()
    }
    const response = new Response(body, this.#head)
    if (state !== undefined) response.headers.set("x-cache", state)
    return response
  }
}

/** Whether this isolate has a cache to keep anything in. */
let hasCache = true

/**
 * Whether plain reads are worth collapsing. Without a cache those would gain that meet within a millisecond, and what it
 * takes to wait for each other costs every reader that is alone a quarter of its read.
 */
export const gathersReads = () => hasCache

/** @type {Map<string, Led>} the oldest first */
const underWay = new Map()

/** Whoever waits asks for itself: those who lead may have lost the memory they ran in. */
export function abandon() {
  for (const led of underWay.values()) {
    led.followers = 0
    led.resolve()
  }
  underWay.clear()
}

/** Forgets whose leaders are gone without a word, so that they do not take the place of others. */
function forgetOld() {
  for (const [name, { since }] of underWay) {
    if (Date.now() - since < UNDER_WAY_MAX_MS) return
    underWay.delete(name)
  }
}

/**
 * @param {string} key a URL
 * @param {string} group of those who may share what is under way
 * @param {{ waitUntil: (promise: Promise<unknown>) => void }} context
 * @param {Client} client
 * @param {(client: AbortSignal) => Promise<Response>} ask the object, until the client has gone
 * @returns {Promise<Response>}
 */
export async function collapse(key, group, context, client, ask) {
  const name = `${group} ${key}`
  forgetOld()
  const found = underWay.get(name)
  if (found !== undefined) return follow(key, found, context, client, ask)
  if (underWay.size >= UNDER_WAY_MAX) return ask(client.signal)

  const { promise, resolve } = Promise.withResolvers()
  const led = { answer: promise, resolve, since: Date.now(), followers: 0 }
  underWay.set(name, led)
  // Those who wait for it go on waiting if this client goes away.
  context.waitUntil(promise)
  const nobody = new AbortController()
  client.signal.addEventListener("abort", () => led.followers === 0 && nobody.abort())
  let answer
  try {
    const kept = await keptAt(key)
    if (kept !== undefined) {
      answer = KEPT
      return kept
    }
    const response = await ask(nobody.signal)
    const shared = await share(key, response, client, led)
    if (shared === undefined) return response
    answer = led.shared = shared
    shared.expect(led.followers)
    if (hasCache && response.status !== 204) {
      shared.expect(1)
      context.waitUntil(keep(key, shared.made(context)))
    }
    return shared.made(context)
  } finally {
    if (underWay.get(name) === led) underWay.delete(name)
    resolve(answer)
  }
}

/**
 * Takes an answer into memory, if others may have it and there is room for it.
 * @param {string} key
 * @param {Response} response
 * @param {Client} client
 * @param {Led} led
 * @returns {Promise<Shared | undefined>}
 */
async function share(key, response, { request, path }, led) {
  if (response.status === 204) {
    // One past the tail is read as the tail, and by the next reader perhaps no more.
    const isThere = key.includes(response.headers.get("stream-next-offset"))
    return isThere ? new Shared(response) : undefined
  }
  // The next reader at the tail needs a newer answer.
  if (!isPublic(response) || (led.followers === 0 && !hasCache)) return undefined
  const expected = response.headers.has("stream-cursor") ? LIVE_BYTES : CHUNK_BYTES
  const hold = budget.hold(expected, tenantOf(path), addressOf(request))
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
 * @param {Led} led
 * @param {{ waitUntil: (promise: Promise<unknown>) => void }} context
 * @param {Client} client
 */
async function follow(key, led, context, { signal, until = Infinity }, ask) {
  led.followers += 1
  const left = Promise.withResolvers()
  signal.addEventListener("abort", () => left.resolve(LEFT), { once: true })
  const longest = Math.max(0, Math.min(UNDER_WAY_MAX_MS, until - Date.now()))
  const answer = await within(longest, Promise.race([led.answer, left.promise])).catch(() => LEFT)
  if (answer === LEFT) {
    led.followers -= 1
    // There may be an answer by now, which was expected to be given to this client, too.
    led.shared?.release()
  }
  if (signal.aborted) {
    if (answer instanceof Shared) answer.release()
    // No client sees it, but Rust awaits it.
    return new Response(null, { status: 204 })
  }
  if (answer instanceof Shared) return answer.made(context, "HIT")
  return (answer === KEPT && (await keptAt(key))) || ask(signal)
}

const LEFT = Symbol("left")

/** @param {Response} response */
const isPublic = ({ status, headers }) => status === 200 && /^public\b/.test(headers.get("cache-control") ?? "")

/** @param {string} key @returns {Promise<Response | undefined>} whose body comes from the cache at the client's speed */
async function keptAt(key) {
  if (!hasCache) return undefined
  try {
    const kept = await caches.default.match(key)
    if (kept === undefined) return undefined
    const headers = new Headers(kept.headers)
    const age = Math.ceil((Date.now() - Number(headers.get(KEPT_AT))) / 1000)
    headers.delete(KEPT_AT)
    const maxAge = /max-age=(\d+)/.exec(headers.get("cache-control"))?.[1]
    if (!(age >= 0 && age < Number(maxAge))) {
      await kept.body?.cancel()
      return undefined
    }
    // Not every cache behind this one subtracts an Age.
    headers.set("cache-control", headers.get("cache-control").replace(/max-age=\d+/, `max-age=${maxAge - age}`))
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
