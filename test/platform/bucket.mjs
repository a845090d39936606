// A bucket that a test controls, and that speaks to the worker's R2 binding over HTTP. It fails or hangs on request,
// and outlives the workerd that uses it.

import { once } from "node:events"
import { createServer } from "node:http"
import { Watch } from "./support.mjs"

export class Bucket {
  /** @type {Map<string, Buffer>} */
  objects = new Map()
  /** The commands that it received, as `{ method, at }`. */
  commands = []
  /** What it does with a write: `"takes"` stores it, `"fails"` refuses it, and `"hangs"` does not answer. */
  mood = "takes"
  /** Reads wait for this promise. */
  gives = Promise.resolve()
  #watch = new Watch()
  #server = createServer((request, response) => this.#serve(request, response))

  static async open() {
    const bucket = new Bucket()
    bucket.#server.listen(0, "127.0.0.1")
    await once(bucket.#server, "listening")
    return bucket
  }

  /** The address for workerd's configuration. */
  get address() {
    return `127.0.0.1:${this.#server.address().port}`
  }

  close() {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  /** The commands of this method, once there are `count` of them. */
  until(method, count, millis) {
    const enough = () => {
      const found = this.commands.filter((question) => question.method === method)
      return found.length >= count && found
    }
    return this.#watch.until(`${method}, ${count} times`, enough, millis)
  }

  /** A read has its description in a header; a write has it in front of the body. */
  async #serve(request, response) {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const split = Number(request.headers["cf-r2-metadata-size"])
    const question = JSON.parse(request.method === "GET" ? request.headers["cf-r2-request"] : body.subarray(0, split))
    this.commands.push({ method: question.method, at: Date.now() })
    this.#watch.changed()
    if (question.method === "get") {
      await this.gives
      return this.#get(question, response)
    }
    if (this.mood === "hangs") return undefined
    if (this.mood === "fails") return refuse(response, 500, 10001, "We encountered an internal error.")
    if (question.method === "list") {
      const objects = [...this.objects].map(([name, bytes]) => headOf(name, bytes.length))
      return describe(response, { objects, truncated: false, delimitedPrefixes: [] })
    }
    if (question.method === "put") {
      this.objects.set(question.object, body.subarray(split))
      return describe(response, headOf(question.object, body.length - split))
    }
    for (const key of question.objects ?? [question.object]) this.objects.delete(key)
    return response.end()
  }

  #get({ object, range }, response) {
    const bytes = this.objects.get(object)
    if (!bytes) return refuse(response, 404, 10007, "The specified key does not exist.")
    const length = Number(range.length ?? Math.min(range.suffix, bytes.length))
    const offset = Number(range.offset ?? bytes.length - length)
    const head = { ...headOf(object, bytes.length), range: { offset, length } }
    return describe(response, head, bytes.subarray(offset, offset + length))
  }
}

const headOf = (name, size) => {
  const version = "0".repeat(32)
  return { name, version, etag: version, size, uploaded: Date.now(), httpFields: {}, customFields: [], checksums: {} }
}

function describe(response, head, bytes = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify(head))
  response.writeHead(200, { "cf-r2-metadata-size": text.length })
  response.end(Buffer.concat([text, bytes]))
}

function refuse(response, status, v4code, message) {
  response.writeHead(status, { "cf-r2-error": JSON.stringify({ version: 0, v4code, message }) })
  response.end(message)
}
