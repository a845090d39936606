// A caching proxy in front of the worker, like a CDN: it caches what `Cache-Control` allows, under the exact URL, and
// collapses identical concurrent requests. It passes through what may not be shared.

import { Agent, createServer, request as requestOf } from "node:http"

/** Limits of the cache. The oldest entry is removed first. */
const ENTRIES_MAX = 2000
const ENTRY_MAX_BYTES = 1 << 20

const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]

/**
 * @typedef {object} Entry
 * @property {number} status
 * @property {Record<string, string | string[]>} headers
 * @property {Buffer} body
 * @property {number} storedAt
 * @property {number} freshUntil
 *
 * @typedef {{ received: number, forwarded: number, answered: number }} Counts requests received, forwarded to the
 * server, and answered without it
 */

/**
 * How long a response may be shared, in seconds, or 0 if it may not.
 * @param {import("node:http").IncomingHttpHeaders} headers
 */
export function sharedFor(status, headers) {
  if (status !== 200 || headers.vary?.includes("*") || headers["set-cookie"]) return 0
  const directives = (headers["cache-control"] ?? "").toLowerCase().split(",").map((text) => text.trim())
  const named = (name) => directives.some((directive) => directive === name || directive.startsWith(`${name}=`))
  if (!named("public") || ["no-store", "no-cache", "private"].some(named)) return 0
  const age = directives.find((directive) => directive.startsWith("max-age="))
  return Number(age?.slice("max-age=".length)) || 0
}

/** Whether the response to this request may be shared at all. @param {import("node:http").IncomingMessage} request */
const isShareable = ({ method, headers }) =>
  method === "GET" && !headers.authorization && !headers.range && !headers["if-none-match"]

export class CachingProxy {
  /** @type {Map<string, Entry>} */
  #entries = new Map()
  /**
   * The request in flight for each URL, which identical requests wait for.
   * @type {Map<string, Promise<Entry | undefined>>}
   */
  #inFlight = new Map()
  #agent = new Agent({ keepAlive: true })
  #server = createServer((request, response) => this.#serve(request, response))

  /** @param {{ host: string, port: number, prefix: string }} origin @param {{ caching: boolean }} options */
  constructor(origin, { caching }) {
    this.origin = origin
    this.caching = caching
    this.prefix = origin.prefix
    this.host = "127.0.0.1"
    /** @type {Counts} */
    this.counts = { received: 0, forwarded: 0, answered: 0 }
    this.#server.requestTimeout = 0
  }

  /** Listens on a free port. */
  async start() {
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(0, this.host, resolve)
    })
    this.port = this.#server.address().port
    return this
  }

  stop() {
    this.#server.close()
    this.#server.closeAllConnections()
    this.#agent.destroy()
  }

  async #serve(request, response) {
    this.counts.received += 1
    if (!this.caching || !isShareable(request)) return this.#forward(request, response, () => {})
    const url = request.url
    // An identical request waits for the one in flight, and is forwarded alone if that response may not be shared.
    const entry = this.#fresh(url) ?? (await this.#inFlight.get(url))
    if (entry) return this.#answer(response, entry)
    if (this.#inFlight.has(url)) return this.#forward(request, response, () => {})
    const { promise, resolve } = Promise.withResolvers()
    this.#inFlight.set(url, promise)
    this.#forward(request, response, (found) => {
      if (this.#inFlight.get(url) !== promise) return
      this.#inFlight.delete(url)
      if (found) this.#store(url, found)
      resolve(found)
    })
  }

  /** @returns {Entry | undefined} */
  #fresh(url) {
    const entry = this.#entries.get(url)
    if (!entry || entry.freshUntil > Date.now()) return entry
    this.#entries.delete(url)
    return undefined
  }

  #store(url, entry) {
    this.#entries.delete(url)
    this.#entries.set(url, entry)
    if (this.#entries.size > ENTRIES_MAX) this.#entries.delete(this.#entries.keys().next().value)
  }

  /** @param {Entry} entry */
  #answer(response, entry) {
    this.counts.answered += 1
    const age = Math.floor((Date.now() - entry.storedAt) / 1000)
    response.writeHead(entry.status, { ...entry.headers, age: `${age}` }).end(entry.body)
  }

  /**
   * Forwards a request, and pipes its response back. Calls `found` once, with an entry if the response may be shared.
   */
  #forward(request, response, found) {
    this.counts.forwarded += 1
    const { host, port } = this.origin
    const options = { host, port, method: request.method, path: request.url, agent: this.#agent }
    const upstream = requestOf({ ...options, headers: { ...endToEnd(request.headers), host: `${host}:${port}` } })
    const fail = () => {
      found(undefined)
      if (!response.headersSent) response.writeHead(502)
      response.end()
    }
    upstream.on("error", fail)
    upstream.on("response", (answer) => {
      answer.on("error", fail)
      const headers = endToEnd(answer.headers)
      response.writeHead(answer.statusCode, headers)
      const seconds = sharedFor(answer.statusCode, answer.headers)
      if (seconds === 0) found(undefined)
      else collect(answer, (body) => found(body && entryOf(answer.statusCode, headers, body, seconds)))
      answer.pipe(response)
    })
    // If the reader disconnects, the request to the server is aborted, too.
    response.on("close", () => upstream.destroy())
    request.pipe(upstream)
  }
}

/** The body, unless it is too large to cache. @param {(body: Buffer | undefined) => void} done */
function collect(answer, done) {
  const parts = []
  let bytes = 0
  answer.on("data", (part) => {
    bytes += part.length
    if (bytes <= ENTRY_MAX_BYTES) parts.push(part)
  })
  answer.on("close", () => done(answer.complete && bytes <= ENTRY_MAX_BYTES ? Buffer.concat(parts) : undefined))
}

/** @returns {Entry} */
function entryOf(status, headers, body, seconds) {
  const storedAt = Date.now()
  return { status, headers, body, storedAt, freshUntil: storedAt + seconds * 1000 }
}

const endToEnd = (headers) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)))
