// Measures the peak memory of a process.

import { residentBytes } from "../platform/support.mjs"

/** The interval between two measurements. Bounds must leave room for what happens in between. */
const EVERY_MS = 500

/** The highest measurement until `stop`. */
export class Peak {
  #pid
  #timer

  constructor(pid) {
    this.#pid = pid
    this.bytes = residentBytes(pid)
    this.#timer = setInterval(() => this.#measure(), EVERY_MS)
  }

  #measure() {
    this.bytes = Math.max(this.bytes, residentBytes(this.#pid))
  }

  stop() {
    clearInterval(this.#timer)
    this.#measure()
    return this.bytes
  }
}
