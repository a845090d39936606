// Signs and sends deliveries to webhooks (PROTOCOL.md 6.5 and 7.1), and generates the signing keys.
// `src/subscription/delivery.rs` decides the effects of a delivery.
//
// The body of a delivery contains a token, which the endpoint may echo. `printable` removes it from all logged or shown
// text.

import { call } from "./calls.js"

/** How many registries' keys are cached. */
const KEYS_MAX = 1000
/** How much of a response is read. */
const ANSWER_MAX_BYTES = 64 << 10
/** How much of the text of a failure is logged and shown. */
const MESSAGE_MAX_BYTES = 200

const USER_AGENT = "durable-streams-cloudflare"

const encoder = new TextEncoder()

/**
 * @typedef {{ kid: string, key: CryptoKey }} Signer
 * @typedef {[status: number, isDone: boolean, text: string, waitMs: number | undefined, isUnsent?: boolean]} Answer what
 *   `Delivered::of` needs of a response; the status 0 and the reason if there is none
 */

/** @type {Map<string, Signer & { until: number }>} by the paths of registries, the oldest first */
const signers = new Map()

/**
 * Signs a delivery and sends it.
 * @param {Streams} namespace
 * @param {string} registry the path of the registry whose key signs
 * @param {number} keyValidMs how long a key is cached
 * @param {string} url
 * @param {string} body
 * @param {number} millis the time limit of the response
 * @returns {Promise<Answer>}
 */
export async function deliver(namespace, registry, keyValidMs, url, body, millis) {
  const token = tokenIn(body)
  let signer
  try {
    signer = await signerOf(namespace, registry, keyValidMs)
  } catch (error) {
    const why = `not sent, because the signing key cannot be read: ${/** @type {Error} */ (error).message}`
    return [0, false, printable(why, token), undefined, true]
  }
  const headers = { "content-type": "application/json", "user-agent": USER_AGENT, "webhook-signature": await sign(signer, body) }
  const late = new Error(`timed out after ${millis / 1000} s`)
  const abort = new AbortController()
  // `AbortSignal.timeout` has a timer that cannot be cleared, which would keep the object in memory.
  const timer = setTimeout(() => abort.abort(late), millis)
  try {
    const response = await fetch(url, { method: "POST", redirect: "manual", signal: abort.signal, headers, body })
    const { text, isWhole } = await textOf(response)
    const waitMs = waitIn(response.headers.get("retry-after"))
    return [response.status, isWhole && isDone(text), printable(text, token), waitMs]
  } catch (error) {
    return failed(/** @type {Error} */ (abort.signal.aborted ? late : error).message, token)
  } finally {
    clearTimeout(timer)
  }
}

/** @param {string} message @param {string | undefined} token @returns {Answer} */
const failed = (message, token) => [0, false, printable(message, token), undefined]

/** @param {Streams} namespace @param {string} registry @param {number} validMs @returns {Promise<Signer>} */
async function signerOf(namespace, registry, validMs) {
  const known = signers.get(registry)
  if (known !== undefined && Date.now() < known.until) return known
  // The time starts before the call, because the registry may answer late.
  const until = Date.now() + validMs
  const { SigningKey: found } = JSON.parse(await call(namespace, registry, '"SigningKey"'))
  if (found === undefined) throw new Error("the registry returned no key")
  const { kid, x, d } = found
  const key = await crypto.subtle.importKey("jwk", { kty: "OKP", crv: "Ed25519", x, d }, "Ed25519", false, ["sign"])
  signers.delete(registry)
  for (const oldest of signers.keys()) {
    if (signers.size < KEYS_MAX) break
    signers.delete(oldest)
  }
  const signer = { kid, key, until }
  signers.set(registry, signer)
  return signer
}

/** The signature of a body at this time. @param {Signer} signer @param {string} body */
async function sign({ kid, key }, body) {
  const seconds = Math.floor(Date.now() / 1000)
  const signature = await crypto.subtle.sign("Ed25519", key, encoder.encode(`${seconds}.${body}`))
  return `t=${seconds},kid=${kid},ed25519=${base64url(signature)}`
}

/**
 * The beginning of a response's body. If the status is an error, an incomplete body is enough.
 * @param {Response} response
 */
async function textOf({ ok, body }) {
  const decoder = new TextDecoder()
  let [text, bytes] = ["", 0]
  try {
    for await (const chunk of body ?? []) {
      bytes += chunk.length
      // Leaving the loop cancels the body.
      if (bytes > ANSWER_MAX_BYTES) return { text, isWhole: false }
      text += decoder.decode(chunk, { stream: true })
    }
  } catch (error) {
    if (ok) throw error
  }
  return { text: text + decoder.decode(), isWhole: true }
}

/** @param {string} text */
function isDone(text) {
  try {
    return JSON.parse(text)?.done === true
  } catch {
    return false
  }
}

/** The wait in a `Retry-After`, which has seconds or a date. @param {string | null} value */
function waitIn(value) {
  if (value === null) return undefined
  const waitMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(waitMs) ? Math.max(waitMs, 0) : undefined
}

/** The beginning of a text that may be logged and shown. @param {string} text @param {string | undefined} token */
function printable(text, token) {
  const clean = (token ? text.replaceAll(token, "[token]") : text).replace(/[\p{C}\s]+/gu, " ").trim()
  return clean.slice(0, encoder.encodeInto(clean, new Uint8Array(MESSAGE_MAX_BYTES)).read)
}

/** @param {string} body @returns {string | undefined} */
const tokenIn = (body) => JSON.parse(body).callback_token

/** Generates a key. Resolves with its id, its public part and its private part. @returns {Promise<string[]>} */
export async function makeKey() {
  const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]))
  const { x, d } = /** @type {{ x: string, d: string }} */ (await crypto.subtle.exportKey("jwk", pair.privateKey))
  const thumbprint = await crypto.subtle.digest("SHA-256", encoder.encode(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`))
  return [`ds_${base64url(thumbprint)}`, x, d]
}

/** @param {ArrayBuffer} bytes */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
