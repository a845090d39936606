// Makes a response in one call from Rust instead of two for each header.

/**
 * @param {number} status
 * @param {string} head names and values, each followed by a line feed, which neither can contain
 * @param {Uint8Array | undefined} body
 * @param {WebSocket | undefined} webSocket
 */
export function respond(status, head, body, webSocket) {
  const headers = {}
  const lines = head.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) headers[lines[at]] = lines[at + 1]
  return new Response(body, { status, headers, webSocket })
}
