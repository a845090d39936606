// Counts the messages and bytes that arrive per second, for the last two minutes.

/** How many seconds the chart shows. */
export const SECONDS_SHOWN = 120

type Rate = number | null

const nowSeconds = () => Math.floor(Date.now() / 1000)

export class RateMeter {
  readonly #messages = new Map<number, number>()
  readonly #bytes = new Map<number, number>()
  /** Nothing is known of the time before. */
  readonly #begin = nowSeconds()

  count(pieces: { size: number }[]) {
    const second = nowSeconds()
    const bytes = pieces.reduce((sum, { size }) => sum + size, 0)
    this.#messages.set(second, (this.#messages.get(second) ?? 0) + pieces.length)
    this.#bytes.set(second, (this.#bytes.get(second) ?? 0) + bytes)
    for (const old of this.#messages.keys()) {
      if (old >= second - SECONDS_SHOWN) break
      this.#messages.delete(old)
      this.#bytes.delete(old)
    }
  }

  /** Seconds, messages per second and bytes per second, each up to the last whole second. Before the beginning it has nulls. */
  series(): [number[], Rate[], Rate[]] {
    const now = nowSeconds()
    const seconds = Array.from({ length: SECONDS_SHOWN }, (_, at) => now - SECONDS_SHOWN + at)
    const of = (counts: Map<number, number>) => seconds.map((second) => (second < this.#begin ? null : (counts.get(second) ?? 0)))
    return [seconds, of(this.#messages), of(this.#bytes)]
  }
}
