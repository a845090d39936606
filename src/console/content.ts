// Messages of a stream, as text or bytes. Nothing of a stream's content is ever interpreted as HTML.

export type Kind = "json" | "text" | "bytes"

export interface Message {
  /** Grows by one from message to message of a view. */
  id: number
  /** The offset at which the read that carried the message began. */
  base: string
  /** How many messages (JSON) or bytes (otherwise) come between `base` and the message. */
  skip: number
  /** How many of those it is. */
  length: number
  /** When it arrived, in milliseconds since 1970, for messages that were followed live. */
  receivedAt?: number
  content: string | Uint8Array<ArrayBuffer>
  /** The size of the content in bytes, as UTF-8. */
  size: number
}

/** A message whose number in its view is not known yet. */
export type Piece = Omit<Message, "id">

/** The largest part of a read of text or bytes that is shown as one row. Appends have no borders in such a read. */
export const PIECE_MAX_BYTES = 16_384

export function kindOf(contentType: string): Kind {
  const type = contentType.split(";")[0]!.trim().toLowerCase()
  if (type === "application/json") return "json"
  return type.startsWith("text/") || type === "application/x-ndjson" ? "text" : "bytes"
}

/** The elements of a JSON array, each as it was sent: parsing would lose digits of large numbers. */
export function elementsOf(array: string): string[] {
  const elements: string[] = []
  let depth = 0
  let from = -1
  for (let at = 0; at < array.length; at += 1) {
    const code = array.charCodeAt(at)
    if (code === 0x22) {
      at = endOfString(array, at)
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1
      if (depth === 1) from = at + 1
    } else if (code === 0x5d || code === 0x7d) {
      depth -= 1
      if (depth === 0) break
    } else if (code === 0x2c && depth === 1) {
      elements.push(array.slice(from, at).trim())
      from = at + 1
    }
  }
  const last = array.slice(from, array.lastIndexOf("]")).trim()
  if (last !== "") elements.push(last)
  return elements
}

/** The position of the quote that ends the string at a position. */
function endOfString(text: string, start: number) {
  for (let at = start + 1; ; at += 1) {
    at = text.indexOf('"', at)
    if (at < 0) return text.length
    let slashes = 0
    while (text[at - 1 - slashes] === "\\") slashes += 1
    if (slashes % 2 === 0) return at
  }
}

/** The messages of a read, without the first `skip`. */
export async function piecesOf(response: Response, kind: Kind, base: string, skip: number): Promise<Piece[]> {
  if (kind === "json") {
    const elements = elementsOf(await response.text())
    return elements.slice(skip).map((content, at) => ({ base, skip: skip + at, length: 1, content, size: sizeOf(content) }))
  }
  const bytes = new Uint8Array(await response.arrayBuffer())
  const pieces: Piece[] = []
  for (let at = skip; at < bytes.length; ) {
    const end = endOfPiece(bytes, at, kind)
    pieces.push({ base, skip: at, length: end - at, content: bytes.slice(at, end), size: end - at })
    at = end
  }
  return pieces
}

/** Text is divided after a line, or at least between two characters. */
function endOfPiece(bytes: Uint8Array, at: number, kind: Kind) {
  const most = at + PIECE_MAX_BYTES
  if (most >= bytes.length) return bytes.length
  if (kind === "bytes") return most
  const line = bytes.lastIndexOf(0x0a, most - 1)
  if (line > at) return line + 1
  let end = most
  while (end > most - 4 && (bytes[end]! & 0xc0) === 0x80) end -= 1
  return end
}

/** The message of a `data` event. */
export function piecesOfEvent(data: string, kind: Kind, isBase64: boolean, base: string): Piece[] {
  const receivedAt = Date.now()
  if (kind === "json") {
    return elementsOf(data).map((content, skip) => ({ base, skip, length: 1, receivedAt, content, size: sizeOf(content) }))
  }
  const content = isBase64 ? Uint8Array.from(atob(data.replaceAll("\n", "")), (char) => char.charCodeAt(0)) : data
  const size = sizeOf(content)
  return [{ base, skip: 0, length: size, receivedAt, content, size }]
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

/** The size in bytes, of a string as UTF-8. */
export const sizeOf = (content: string | Uint8Array) => (typeof content === "string" ? encoder.encode(content).length : content.byteLength)

/** The content as text; what is not UTF-8 becomes U+FFFD. */
export const textOf = ({ content }: { content: string | Uint8Array }) =>
  typeof content === "string" ? content : decoder.decode(content)

export const bytesOf = ({ content }: { content: string | Uint8Array<ArrayBuffer> }) =>
  typeof content === "string" ? encoder.encode(content) : content

/** The place of a message in its stream, short: the number of its segment only if there is one. */
export function placeOf({ base, skip }: { base: string; skip: number }) {
  const [sequence = "", position] = base.split("_")
  if (position === undefined) return `${base}+${skip}`
  const place = `${BigInt(position) + BigInt(skip)}`
  return BigInt(sequence) === 0n ? place : `${BigInt(sequence)}_${place}`
}
