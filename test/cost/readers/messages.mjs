// The messages of the workload, numbered in each stream, so that a reader sees that each comes once and in order.

export const JSON_TYPE = "application/json"

/** About 150 bytes, like one token or one change with what is said about it. @param {number} number */
export const message = (number) =>
  Buffer.from(
    JSON.stringify({
      number,
      at: new Date().toISOString(),
      author: "writer-1",
      text: "what one append of the workload holds, so that it is as long as many are",
    }),
  )

/** What one reader has seen of its stream. */
export class Seen {
  count = 0

  /** @param {string} json a batch */
  take(json) {
    for (const { number } of JSON.parse(json)) {
      if (number !== this.count) throw new Error(`message ${number} came instead of ${this.count}`)
      this.count += 1
    }
  }
}
