// Receives request bodies, within the limits of size, memory and time. The body of a refused request is drained, because a
// response before the end of the body breaks the connection; a body that arrives in tiny pieces is cancelled instead.

import { Budget, budget } from "./budget.js"
import { addressOf } from "./sending.js"
import { stalls, within } from "./stalls.js"

/** The reasons why a body was not received, as codes that the module turns into refusals. */
export const BROKEN = 0
export const STALLED = 1
export const BUSY = 2
export const TOO_LARGE = 3

/** The buffer of one read. */
const PART_BYTES = 256 << 10
/** The bytes that count as progress, unless the body ends with fewer. */
const PROGRESS_BYTES = 64 << 10
/** How much of a refused body is drained, so that its sender receives the response. */
const DRAIN_MAX_BYTES = 64 << 20
/** The buffer of one read of a refused body. */
const DRAINED_BYTES = 16 << 10
/** How many pieces of a refused body may be smaller than `TINY_BYTES` on average: each piece costs a turn, whatever its size. */
const TINY_PIECES_MAX = 64
const TINY_BYTES = 1 << 10

/** When small bodies are first checked: by then nearly all have arrived. */
const FIRST_LOOK_MS = 10
const NEXT_LOOK_MS = 500

/**
 * Receives small bodies, and gives up those that stall. A timer for each body would cost 5 % of an append, so all bodies that
 * arrive within 10 ms share one.
 */
export class SmallBodies {
  /** @type {Set<{ since: number, end: (received: ArrayBuffer | number) => void }>} the oldest first */
  #coming = new Set()
  #isWatched = false

  /**
   * Receives a body whose declared length is small, in one piece.
   * @param {Request} request
   * @param {number} length
   * @param {string} tenant
   * @returns {Promise<ArrayBuffer | number>} the body, or why it was not received
   */
  receive(request, length, tenant) {
    const hold = budget.hold(length, tenant, "")
    if (hold === undefined) return drain(request).then(() => BUSY)
    return new Promise((resolve) => {
      const one = {
        since: Date.now(),
        end: (/** @type {ArrayBuffer | number} */ received) => {
          this.#coming.delete(one)
          hold.release()
          resolve(received)
        },
      }
      this.#coming.add(one)
      request.arrayBuffer().then(one.end, () => one.end(BROKEN))
      this.#watch(FIRST_LOOK_MS)
    })
  }

  /** @param {number} millis */
  #watch(millis) {
    if (this.#isWatched) return
    this.#isWatched = true
    setTimeout(() => {
      this.#isWatched = false
      const now = Date.now()
      for (const { since, end } of this.#coming) {
        if (now - since < stalls.bodyMs) break
        end(STALLED)
      }
      if (this.#coming.size > 0) this.#watch(NEXT_LOOK_MS)
    }, millis)
  }
}

/**
 * Receives a body that is large or has no declared length.
 * @param {Request} request
 * @param {number} maxBytes
 * @param {string} tenant
 * @param {string} address
 * @returns {Promise<Uint8Array[] | number>} its parts, or why it was not received
 */
export async function receiveLarge(request, maxBytes, tenant, address) {
  if (request.body === null) return []
  const hold = budget.hold(PART_BYTES, tenant, address)
  if (hold === undefined) return drain(request).then(() => BUSY)
  const reader = request.body.getReader({ mode: "byob" })
  const parts = []
  let buffer = new ArrayBuffer(PART_BYTES)
  let received = 0
  let refusal = Number(request.headers.get("content-length")) > maxBytes ? TOO_LARGE : undefined
  try {
    for (;;) {
      const read = reader.read(new Uint8Array(buffer), { min: PROGRESS_BYTES })
      const { done, value } = await within(stalls.bodyMs, read)
      if (value !== undefined) {
        received += value.byteLength
        // A slow part is smaller than its buffer. The copy takes no more memory than the budget counts.
        const isFull = value.byteLength === PART_BYTES
        parts.push(isFull ? value : value.slice())
        buffer = isFull ? new ArrayBuffer(PART_BYTES) : value.buffer
      }
      if (refusal === undefined && received > maxBytes) refusal = TOO_LARGE
      if (refusal === undefined && received > PART_BYTES && !hold.resize(received)) refusal = BUSY
      if (refusal !== undefined && parts.length > 0) {
        parts.length = 0
        hold.resize(PART_BYTES)
      }
      if (done) return refusal ?? parts
      hold.renew()
      if (received > DRAIN_MAX_BYTES) break
    }
  } catch (error) {
    refusal = error === within.late ? (refusal ?? STALLED) : BROKEN
  } finally {
    hold.release()
  }
  cancel(reader)
  return refusal ?? BROKEN
}

/** The budget of refused bodies, by client address. It is separate, so that refused requests take no room from admitted ones. */
const drains = new Budget(4 << 20)

/** Reads and discards a refused body, or cancels it if too many are being drained. @param {Request} request */
export async function drain(request) {
  if (request.body === null || request.bodyUsed || request.body.locked) return
  const reader = request.body.getReader({ mode: "byob" })
  const hold = drains.hold(DRAINED_BYTES, addressOf(request), "")
  if (hold === undefined) return cancel(reader)
  let buffer = new ArrayBuffer(DRAINED_BYTES)
  let drained = 0
  let pieces = 0
  let [progressed, since] = [0, Date.now()]
  try {
    while (drained <= DRAIN_MAX_BYTES && (pieces < TINY_PIECES_MAX || drained >= pieces * TINY_BYTES)) {
      const left = since + stalls.bodyMs - Date.now()
      const { done, value } = await within(left, reader.read(new Uint8Array(buffer)))
      if (done) return
      drained += value.byteLength
      pieces += 1
      buffer = value.buffer
      if (drained - progressed >= PROGRESS_BYTES) {
        ;[progressed, since] = [drained, Date.now()]
        hold.renew()
      }
    }
  } catch {
    // The body stalled, or the client has disconnected.
  } finally {
    hold.release()
  }
  cancel(reader)
}

/** @param {ReadableStreamBYOBReader} reader */
function cancel(reader) {
  reader.cancel().catch(() => {})
}
