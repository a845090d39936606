// Seeded random numbers: the same seed and number give the same request on every machine.

const scramble = (value) => {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}

/** The generator Mulberry32. */
export class Random {
  #state

  /** Each request has its own generator, so it can be replayed alone. */
  constructor(seed, number = 0) {
    this.#state = scramble(scramble(seed) + number)
  }

  /** A number from 0 (inclusive) to 1 (exclusive). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let value = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 (inclusive) to `end` (exclusive). */
  below(end) {
    return Math.floor(this.next() * end)
  }

  chance(probability) {
    return this.next() < probability
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  /** The value of one of the `[weight, value]` pairs, with a probability in proportion to its weight. */
  weighted(choices) {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return choices.at(-1)[1]
  }

  /** Random bytes, as a string with one character for each. */
  bytes(count) {
    return Array.from({ length: count }, () => String.fromCharCode(this.below(256))).join("")
  }
}
