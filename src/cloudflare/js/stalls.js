// Time limits: how long a client may go without progress, and how long a promise may take.

/** The limits for a request's body and for the reader of a response (`BODY_STALL_SECONDS`, `READER_STALL_SECONDS`). */
export const stalls = { bodyMs: 30_000, readerMs: 60_000 }

/** @param {number} bodyMs @param {number} readerMs */
export function setStalls(bodyMs, readerMs) {
  stalls.bodyMs = bodyMs
  stalls.readerMs = readerMs
}

/**
 * Settles like `promise`, but rejects with `within.late` after `millis`.
 * @template T
 * @param {number} millis
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function within(millis, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, millis, within.late)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
within.late = new Error("no progress in time")
