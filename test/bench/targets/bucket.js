// A stand-in for R2 that speaks the protocol of the Worker's binding: it stores objects in memory, returns them whole
// or in ranges, and adds no delay.

/** @type {Map<string, { head: object, body: Uint8Array }>} */
const objects = new Map()
let versions = 0

export default {
  /** A read has its description in a header; a write has it in front of the body. @param {Request} request */
  async fetch(request) {
    if (request.method === "GET") return answer(JSON.parse(request.headers.get("cf-r2-request")))
    const body = new Uint8Array(await request.arrayBuffer())
    const split = Number(request.headers.get("cf-r2-metadata-size"))
    const command = JSON.parse(new TextDecoder().decode(body.subarray(0, split)))
    switch (command.method) {
      case "put":
        return put(command, body.slice(split))
      case "delete":
        for (const key of command.objects ?? [command.object]) objects.delete(key)
        return new Response()
      default:
        return refuse(501, 10000, `${command.method} is not supported`)
    }
  },
}

function put({ object: name, httpFields = {}, customFields = [] }, body) {
  versions += 1
  const version = versions.toString(16).padStart(32, "0")
  const head = {
    name,
    version,
    etag: version,
    size: body.length,
    uploaded: Date.now(),
    httpFields,
    customFields,
    checksums: {},
  }
  objects.set(name, { head, body })
  return described(head)
}

function answer(question) {
  if (question.method === "list") return list(question)
  const found = objects.get(question.object)
  if (!found) return refuse(404, 10007, "The specified key does not exist.")
  if (question.method === "head") return described(found.head)
  if (!question.range) return described(found.head, found.body)
  const { size } = found.head
  const suffix = question.range.suffix === undefined ? undefined : Math.min(Number(question.range.suffix), size)
  const offset = suffix === undefined ? Number(question.range.offset ?? 0) : size - suffix
  const length = Math.min(suffix ?? Number(question.range.length ?? size), size - offset)
  if (length <= 0) return refuse(416, 10039, "The requested range is not satisfiable")
  return described({ ...found.head, range: { offset, length } }, found.body.subarray(offset, offset + length))
}

function list({ prefix = "", startAfter = "", cursor = "", limit = 1000 }) {
  const after = cursor > startAfter ? cursor : startAfter
  const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).sort()
  const page = names.slice(0, Number(limit))
  const truncated = page.length < names.length
  const heads = page.map((name) => objects.get(name).head)
  return described({ objects: heads, truncated, cursor: truncated ? page.at(-1) : undefined, delimitedPrefixes: [] })
}

/**
 * A description, followed by the bytes. They are piped, because joining them would be a copy that R2 does not make
 * here.
 */
function described(head, body) {
  const text = new TextEncoder().encode(JSON.stringify(head))
  const headers = { "cf-r2-metadata-size": String(text.length) }
  if (!body) return new Response(text, { headers })
  const { readable, writable } = new FixedLengthStream(text.length + body.length)
  const writer = writable.getWriter()
  writer.write(text)
  writer.write(body)
  writer.close()
  return new Response(readable, { headers })
}

function refuse(status, v4code, message) {
  return new Response(message, { status, headers: { "cf-r2-error": JSON.stringify({ version: 0, v4code, message }) } })
}
