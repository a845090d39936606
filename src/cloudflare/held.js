// What this isolate holds for others: answers that nobody has taken yet, with bytes that are on their way here to become some,
// and bodies that are still coming.

/** When something counts no more: an object that is taken away, with all that waits in it, leaves without a word. */
const STALE_MS = 10 * 60_000

/** The kinds, each of which has its own bound. */
const ANSWERS = 0
const BODIES = 1

/** @type {{ all: Set<Held>, bytes: number }[]} by kind, the oldest first */
const tallies = [ANSWERS, BODIES].map(() => ({ all: new Set(), bytes: 0 }))

/** Bytes that count until they are let go. */
export class Held {
  #tally
  #bytes
  #since = Date.now()

  /** @param {number} kind @param {number} bytes */
  constructor(kind, bytes) {
    this.#tally = tallies[kind]
    this.#bytes = bytes
    this.#tally.all.add(this)
    this.#tally.bytes += bytes
  }

  letGo() {
    if (this.#tally.all.delete(this)) this.#tally.bytes -= this.#bytes
  }

  /** How many bytes of a kind are held. @param {number} kind */
  static bytes(kind) {
    const tally = tallies[kind]
    for (const one of tally.all) {
      if (Date.now() - one.#since < STALE_MS) break
      one.letGo()
    }
    return tally.bytes
  }
}

/** What the module held is gone with its memory; what it gave away counts no more, either. */
export function letAllGo() {
  for (const { all } of tallies) for (const one of all) one.letGo()
}

const ignore = () => {}

/**
 * A response's body that is held until it has been taken, or will not be.
 * @param {Uint8Array} body a view of the module's memory
 */
export function untilTaken(body) {
  const held = new Held(ANSWERS, body.length)
  const end = () => held.letGo()
  const { readable, writable } = new FixedLengthStream(body.length)
  const writer = writable.getWriter()
  writer.write(body.slice()).then(end, end)
  writer.close().catch(ignore)
  return readable
}
