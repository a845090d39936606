// An object on its way to R2, part by part: whoever asks something meanwhile waits for one part and not for all, and no
// buffer is as large as the object.

import { within } from "./stalls.js"

/** How long R2 may take for a part, and to store the object after the last one. */
const PART_MAX_MS = 60_000

/** An object that is being put. */
export class Putting {
  #writer
  #stored
  #buffer

  /**
   * @param {R2Bucket} bucket
   * @param {string} key
   * @param {number} objectBytes
   * @param {number} partBytes how large a part is at most
   */
  constructor(bucket, key, objectBytes, partBytes) {
    const { readable, writable } = new FixedLengthStream(objectBytes)
    this.#writer = writable.getWriter()
    this.#buffer = new Uint8Array(Math.min(partBytes, objectBytes))
    this.#stored = bucket.put(key, readable)
    // Whoever writes is told what failed; neither of these may be without somebody who listens until then.
    this.#stored.catch(() => {})
    this.#writer.closed.catch(() => {})
  }

  /** Resolves once the part is on its way. @param {Uint8Array} part a view of the module's memory */
  write(part) {
    this.#buffer.set(part)
    return this.#unlessRefused(this.#writer.write(this.#buffer.subarray(0, part.length)))
  }

  /** Resolves once the object is stored. */
  async end() {
    await this.#unlessRefused(this.#writer.close())
    await within(PART_MAX_MS, this.#stored)
  }

  /**
   * A bucket that refuses may leave the rest of the object unread: the upload fails with what the bucket said, and does not wait
   * for it to read on. A part that takes too long ends the upload.
   * @param {Promise<void>} written
   */
  async #unlessRefused(written) {
    written.catch(() => {})
    try {
      await within(PART_MAX_MS, Promise.race([written, this.#stored.then(() => written)]))
    } catch (error) {
      this.#writer.abort(error).catch(() => {})
      throw error
    }
  }
}
