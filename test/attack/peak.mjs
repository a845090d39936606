// How much memory a process takes at most.

import { residentBytes } from "../platform/support.mjs"

/** How often it is measured. A bound has room for what is between two measurements. */
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
