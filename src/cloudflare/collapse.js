// Reads that many share: what is under way for one is waited for by others, and what is public is kept in the data
// centre's cache. Every answer is made anew for each client, since a response belongs to the request it was made in.

/** How many reads are waited for; those beyond ask for themselves. */
const UNDER_WAY_MAX = 1000
/** How long one is waited for: longer than a long-poll takes. Whoever leads may be gone without a word. */
const UNDER_WAY_MAX_MS = 30_000

/** Says when an answer was put into the cache. */
const KEPT_AT = "x-kept-at"

/** @typedef {{ status: number, headers: [string, string][], body: ArrayBuffer | null }} Answer what can be shared */

/**
 * @typedef {object} Led what is under way
 * @property {Promise<Answer | undefined>} answer
 * @property {(answer?: Answer) => void} resolve
 * @property {number} since
 * @property {number} followers
 */

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
  for (const { resolve } of underWay.values()) resolve()
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
 * @param {{ signal: AbortSignal, until?: number }} client who asks, and when what its token allows ends
 * @param {(client: AbortSignal) => Promise<Response>} ask the object, until the client has gone
 * @returns {Promise<Response>}
 */
export async function collapse(key, group, context, client, ask) {
  const name = `${group} ${key}`
  forgetOld()
  const found = underWay.get(name)
  if (found !== undefined) return follow(found, client, ask)
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
      answer = kept
      return made(kept, "HIT")
    }
    const response = await ask(nobody.signal)
    // What has the tail in it is new to whoever asks next.
    const isTimeout = response.status === 204
    if (!isTimeout && !isPublic(response)) return response
    if (led.followers === 0) {
      // Nobody waits for it, so it need not be in memory as a whole.
      if (!isTimeout && hasCache) context.waitUntil(keep(key, response.clone()))
      return response
    }
    const body = isTimeout ? null : await response.arrayBuffer()
    answer = { status: response.status, headers: [...response.headers], body }
    if (!isTimeout && hasCache) context.waitUntil(keep(key, made(answer)))
    return made(answer)
  } finally {
    if (underWay.get(name) === led) underWay.delete(name)
    resolve(answer)
  }
}

/**
 * Waits for what somebody else has asked for, no longer than the client may.
 * @param {Led} led
 */
async function follow(led, { signal, until = Infinity }, ask) {
  led.followers += 1
  const left = Promise.withResolvers()
  signal.addEventListener("abort", () => left.resolve(), { once: true })
  const longest = Math.max(0, Math.min(UNDER_WAY_MAX_MS, until - Date.now()))
  const answer = await Promise.race([led.answer, scheduler.wait(longest), left.promise])
  // Nobody sees it; but what waits for it in Rust has to end.
  if (signal.aborted) return new Response(null, { status: 204 })
  return answer === undefined ? ask(signal) : made(answer, "HIT")
}

/** @param {Response} response */
const isPublic = ({ status, headers }) => status === 200 && /^public\b/.test(headers.get("cache-control") ?? "")

/** @param {Answer} answer @param {string} [state] */
function made({ status, headers, body }, state) {
  const response = new Response(body, { status, headers })
  if (state !== undefined) response.headers.set("x-cache", state)
  return response
}

/** @param {string} key @returns {Promise<Answer | undefined>} */
async function keptAt(key) {
  if (!hasCache) return undefined
  try {
    const kept = await caches.default.match(key)
    if (kept === undefined) return undefined
    const headers = new Headers(kept.headers)
    const age = Math.ceil((Date.now() - Number(headers.get(KEPT_AT))) / 1000)
    headers.delete(KEPT_AT)
    const maxAge = /max-age=(\d+)/.exec(headers.get("cache-control"))?.[1]
    if (!(age >= 0 && age < Number(maxAge))) return undefined
    // Not every cache behind this one subtracts an Age.
    headers.set("cache-control", headers.get("cache-control").replace(/max-age=\d+/, `max-age=${maxAge - age}`))
    return { status: kept.status, headers: [...headers], body: await kept.arrayBuffer() }
  } catch {
    // There is none here, or it is in trouble: the object knows everything.
    hasCache = false
    return undefined
  }
}

/** @param {string} key @param {Response} response */
async function keep(key, response) {
  try {
    const kept = new Response(response.body, response)
    kept.headers.set(KEPT_AT, String(Date.now()))
    await caches.default.put(key, kept)
  } catch {}
}
