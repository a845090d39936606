// Uploads an object to R2 in parts. A request that arrives meanwhile waits for one part at most, and no buffer is as large as
// the object.

import { within } from "./stalls.js"

/** How long R2 may take to accept a part, and to store the object after the last one. */
const PART_MAX_MS = 60_000

/** An upload in progress. */
export class Putting {
  #writer
  #stored
  #buffer

  /**
   * @param {R2Bucket} bucket
   * @param {string} key
   * @param {number} objectBytes
   * @param {number} partBytes the largest size of a part
   */
  constructor(bucket, key, objectBytes, partBytes) {
    const { readable, writable } = new FixedLengthStream(objectBytes)
    this.#writer = writable.getWriter()
    this.#buffer = new Uint8Array(Math.min(partBytes, objectBytes))
    this.#stored = bucket.put(key, readable)
    // `write` and `end` report the failure. Until then, these handlers prevent an unhandled rejection.
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
   * Waits for a part, but fails as soon as the bucket refuses the object, because it may then never read the rest. A part that
   * takes too long ends the upload.
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
