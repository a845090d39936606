// The messages of the workload, numbered in each stream, so that a reader can check that each arrives once and in
// order.

export const JSON_TYPE = "application/json"

/** About 150 bytes, like one token or one change with its metadata. @param {number} number */
export const message = (number) =>
  Buffer.from(
    JSON.stringify({
      number,
      at: new Date().toISOString(),
      author: "writer-1",
      text: "the text of one message, with the usual length of a token or of a change",
    }),
  )

/** The messages that one reader has received. */
export class Seen {
  count = 0

  /** @param {string} json a batch */
  take(json) {
    for (const { number } of JSON.parse(json)) {
      if (number !== this.count) throw new Error(`message ${number} arrived instead of ${this.count}`)
      this.count += 1
    }
  }
}
