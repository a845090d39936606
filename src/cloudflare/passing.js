// Passes a body on at its reader's speed: whoever gave it learns from that how much of it has been taken.

/** How much is on its way at a time. */
const PART_BYTES = 64 << 10

/**
 * Resolves with whether all of it has been taken in time.
 * @param {ReadableStream} body
 * @param {WritableStreamDefaultWriter} writer
 * @param {number} millis
 * @returns {Promise<boolean>}
 */
export async function passOnBody(body, writer, millis) {
  let reader, timer
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, millis, true)
  })
  const pass = async () => {
    reader = body.getReader({ mode: "byob" })
    let buffer = new ArrayBuffer(PART_BYTES)
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer))
      if (done) return false
      await writer.write(value)
      buffer = value.buffer
    }
  }
  let failed = true
  try {
    failed = await Promise.race([pass(), late])
  } catch {
    // Either end has gone.
  }
  clearTimeout(timer)
  if (failed) (reader ?? body).cancel().catch(() => {})
  return !failed
}
