// What a long-poll waits for, as one promise: thousands of requests wait at the same time, and all are woken at once.

/**
 * Waits for the first frame of a socket and closes it. Resolves with the frame; with the close code if there was none;
 * with undefined when the time is up or the client has gone.
 * @param {WebSocket} socket
 * @param {AbortSignal} client
 * @param {number} millis
 * @returns {Promise<ArrayBuffer | number | undefined>}
 */
export function firstFrame(socket, client, millis) {
  return new Promise((resolve) => {
    const end = (/** @type {ArrayBuffer | number | undefined} */ result = undefined) => {
      clearTimeout(timer)
      client.onabort = null
      resolve(result)
      // It may be closed already.
      try {
        socket.close()
      } catch {}
    }
    const timer = setTimeout(end, millis)
    socket.binaryType = "arraybuffer"
    socket.addEventListener("message", ({ data }) => end(data), { once: true })
    socket.addEventListener("close", ({ code }) => end(code), { once: true })
    client.onabort = () => end()
    socket.accept()
    if (client.aborted) end()
  })
}
