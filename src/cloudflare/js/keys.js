// Fetches key sets, and verifies signatures of public-key algorithms with Web Crypto.

/**
 * Fetches the text at a URL. Rejects on a redirect, on a status other than 2xx, and beyond `maxBytes`.
 * @param {string} url
 * @param {number} maxBytes
 * @param {number} millis
 */
export async function fetchText(url, maxBytes, millis) {
  const signal = AbortSignal.timeout(millis)
  const response = await fetch(url, { redirect: "manual", signal, headers: { accept: "application/json" } })
  if (!response.ok) {
    await response.body?.cancel()
    throw new Error(`status ${response.status}`)
  }
  const decoder = new TextDecoder()
  let [text, bytes] = ["", 0]
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

const ALGORITHMS = {
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
}

/**
 * Whether a signature is valid. With an invalid key, no signature is.
 * @param {"RS256" | "ES256" | "EdDSA"} algorithm
 * @param {string} jwk
 * @param {string} message
 * @param {Uint8Array} signature
 */
export async function verifies(algorithm, jwk, message, signature) {
  const parameters = ALGORITHMS[algorithm]
  try {
    const key = await crypto.subtle.importKey("jwk", JSON.parse(jwk), parameters, false, ["verify"])
    return await crypto.subtle.verify(parameters, key, signature, new TextEncoder().encode(message))
  } catch {
    return false
  }
}
