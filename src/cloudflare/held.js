// What this isolate holds for those who read: answers that nobody has taken yet, and bytes that are on their way here to
// become some.

/** When something counts no more: an object that is taken away, with all that waits in it, leaves without a word. */
const STALE_MS = 10 * 60_000

/** Bytes that count until they are let go. */
export class Held {
  /** @type {Set<Held>} the oldest first */
  static #all = new Set()
  static #allBytes = 0

  #bytes
  #since = Date.now()

  /** @param {number} bytes */
  constructor(bytes) {
    this.#bytes = bytes
    Held.#all.add(this)
    Held.#allBytes += bytes
  }

  letGo() {
    if (Held.#all.delete(this)) Held.#allBytes -= this.#bytes
  }

  /** How many bytes are held. */
  static bytes() {
    for (const one of Held.#all) {
      if (Date.now() - one.#since < STALE_MS) break
      one.letGo()
    }
    return Held.#allBytes
  }
}

const ignore = () => {}

/**
 * A response's body that is held until it has been taken, or will not be.
 * @param {Uint8Array} body a view of the module's memory
 */
export function untilTaken(body) {
  const held = new Held(body.length)
  const end = () => held.letGo()
  const { readable, writable } = new FixedLengthStream(body.length)
  const writer = writable.getWriter()
  writer.write(body.slice()).then(end, end)
  writer.close().catch(ignore)
  return readable
}
