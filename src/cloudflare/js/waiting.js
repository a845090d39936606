// Waits for the frame of a long-poll with a single promise: one append can wake thousands of long-polls at once.

/**
 * Waits for the first frame of a socket, and closes the socket. Resolves with the frame, with the close code if the socket
 * closed before, or with undefined if the time is up or the client has disconnected.
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
      // Closing throws if the socket is closed already.
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
