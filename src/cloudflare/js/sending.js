// Sends bodies at the client's speed. The bytes count against the budget until the client has read them, and a client that
// makes no progress loses its connection.

import { budget } from "./budget.js"
import { stalls, within } from "./stalls.js"

/** How much of a body in memory the client must read within the stall time. */
const PART_BYTES = 512 << 10
/** How much of another stream's body is in memory at a time. */
const PASSED_BYTES = 64 << 10

/**
 * Makes a stream of these bytes, and releases the hold when the client has read them or has gone.
 * @param {Uint8Array} bytes that do not change
 * @param {{ renew: () => void, release: () => void }} hold
 * @returns {{ readable: ReadableStream, written: Promise<void> }} the stream, and a promise of its end, which never rejects
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
 * Passes a body on. Resolves with its size in bytes if the client has read each part within the stall time, and the last one
 * before `until`; otherwise with undefined.
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
    // One end has failed, or the client is too slow.
    return undefined
  } finally {
    hold?.release()
    ;(reader ?? body).cancel().catch(() => {})
  }
}

/** The tenant that pays for memory: the project, which is the first segment of a stream's path. @param {string} path */
export const tenantOf = (path) => {
  const end = path.indexOf("/")
  return end < 0 ? path : path.slice(0, end)
}

/** The client's address, an IPv6 one as its /64; empty if it is unknown. @param {Request} request */
export function addressOf({ headers, cf }) {
  const address = headers.get("cf-connecting-ip") ?? /** @type {string | undefined} */ (cf?.clientIp) ?? ""
  return address.includes(".") ? address.replace(/:\d+$/, "") : address.split(":").slice(0, 4).join(":")
}
