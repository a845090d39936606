// Makes a response in one call from Rust instead of two for each header.

/**
 * @param {number} status
 * @param {string} headerLines names and values in turn, each followed by a line feed
 * @param {Uint8Array | ReadableStream | undefined} body
 * @param {WebSocket | undefined} webSocket
 */
export function respond(status, headerLines, body, webSocket) {
  const headers = {}
  const lines = headerLines.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) headers[lines[at]] = lines[at + 1]
  return new Response(body, { status, headers, webSocket })
}

/**
 * The same response with other headers.
 * @param {Response} response
 * @param {string} headerLines as above; each instead of the one of its name
 */
export function withHeaders(response, headerLines) {
  const headers = new Headers(response.headers)
  const lines = headerLines.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) headers.set(lines[at], lines[at + 1])
  return new Response(response.body, { status: response.status, headers })
}
