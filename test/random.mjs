// Chance that a seed decides: the same seed and number give the same request on every machine.

const scramble = (value) => {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}

/** Mulberry32. */
export class Random {
  #state

  /** The chance of one request depends on no other request, so it can be replayed alone. */
  constructor(seed, number = 0) {
    this.#state = scramble(scramble(seed) + number)
  }

  /** From 0 up to 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let value = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number below `end`. */
  below(end) {
    return Math.floor(this.next() * end)
  }

  chance(probability) {
    return this.next() < probability
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  /** One of `[weight, value]`, as often as its weight says. */
  weighted(choices) {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return choices.at(-1)[1]
  }

  /** Bytes, as text of one character each. */
  bytes(count) {
    return Array.from({ length: count }, () => String.fromCharCode(this.below(256))).join("")
  }
}
