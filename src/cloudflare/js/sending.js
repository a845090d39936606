// Bodies on their way to a client, at its speed: what they take counts until the client has read it, and a client that makes
// no progress loses its connection.

import { budget } from "./budget.js"
import { stalls, within } from "./stalls.js"

/** How much has to be read in time. */
const PART_BYTES = 512 << 10
/** How much of another body is on its way at a time. */
const PASSED_BYTES = 64 << 10

/**
 * A stream of these bytes, which the hold counts until they have been read or will not be.
 * @param {Uint8Array} bytes that do not change
 * @param {{ renew: () => void, release: () => void }} hold
 * @returns {{ readable: ReadableStream, written: Promise<void> }} the stream, and when it is over; that never fails
 */
export function sent(bytes, hold) {
  const { readable, writable } = new FixedLengthStream(bytes.byteLength)
  return { readable, written: write(bytes, writable.getWriter(), hold) }
}

/** @param {Uint8Array} bytes @param {WritableStreamDefaultWriter} writer @param {{ renew: () => void, release: () => void }} hold */
async function write(bytes, writer, hold) {
  try {
    for (let at = 0; at < bytes.byteLength; at += PART_BYTES) {
      await within(stalls.readerMs, writer.write(bytes.subarray(at, at + PART_BYTES)))
      hold.renew()
    }
    await writer.close()
  } catch (error) {
    writer.abort(error).catch(() => {})
  } finally {
    hold.release()
  }
}

/**
 * Passes a body on. Resolves with its size if all of it has been read: each part in time, and the last before `until`.
 * @param {ReadableStream} body
 * @param {WritableStreamDefaultWriter} writer
 * @param {number} until in milliseconds since 1970
 * @param {string} tenant
 * @param {string} address
 * @returns {Promise<number | undefined>}
 */
export async function passOnBody(body, writer, until, tenant, address) {
  const hold = budget.hold(PASSED_BYTES, tenant, address)
  let reader
  try {
    if (hold === undefined) return undefined
    reader = body.getReader({ mode: "byob" })
    let buffer = new ArrayBuffer(PASSED_BYTES)
    let size = 0
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer))
      if (done) return size
      size += value.byteLength
      await within(Math.min(stalls.readerMs, until - Date.now()), writer.write(value))
      hold.renew()
      buffer = value.buffer
    }
  } catch {
    // Either end has gone, or the client is too slow.
    return undefined
  } finally {
    hold?.release()
    ;(reader ?? body).cancel().catch(() => {})
  }
}

/** Who uses room: the first segment of a stream's path. @param {string} path */
export const tenantOf = (path) => {
  const end = path.indexOf("/")
  return end < 0 ? path : path.slice(0, end)
}

/** And where from, as far as that is known; in IPv6 a network is enough. @param {Request} request */
export function addressOf({ headers, cf }) {
  const address = headers.get("cf-connecting-ip") ?? /** @type {string | undefined} */ (cf?.clientIp) ?? ""
  return address.includes(".") ? address.replace(/:\d+$/, "") : address.split(":").slice(0, 4).join(":")
}
