// Sends hostile requests over raw sockets, many at a time, and checks each response.

import { HttpConnection } from "../platform/raw.mjs"
import { generationOf, hostileRequest } from "./hostile-requests.mjs"
import { createStreams } from "./worlds.mjs"

/** Time limit for the server to answer a complete request, or to close the connection of an incomplete one. */
export const ANSWER_MS = 20_000

/** Requests in flight at once. */
const CONCURRENCY = 48

/** The attack stops after this many faults. */
const FAULTS_MAX = 200

/** The 503 refusals that clients expect, each with `Retry-After`. 501 is expected, too. */
const BUSY = new Set(["busy", "too_many_readers", "too_many_forks"])

/** Bodies of the responses that workerd sends itself when the request is not valid HTTP/1.1. */
const PLATFORMS = /^(?:ERROR: |invalid |unexpected |Bad Request$)/u
const isPlatforms = ({ status, text }) => status === 414 || status === 431 || (status >= 400 && PLATFORMS.test(text))

/** The two refusals that clients recognise by the whole body. */
const TEXTS = new Set(["Sequence conflict", "Expected offset conflict"])

const codeOf = ({ text, header }) => {
  if (TEXTS.has(text)) return text
  if (header("content-type") !== "application/json") return undefined
  try {
    return JSON.parse(text).error?.code
  } catch {
    return undefined
  }
}

/** The failures in a server's log, without workerd's own notices and warnings about configuration. */
export const failuresIn = (log) =>
  log.trouble.filter((line) => !line.startsWith("NOSENTRY") && !line.includes('"level":"warn"'))

/** The kind of fault in a response and its description, or undefined if the response is right. */
function faultOf(method, reply) {
  const { status, text, header } = reply
  const code = codeOf(reply)
  const isBusy = status === 503 && BUSY.has(code) && header("retry-after")
  if (status >= 500 && status !== 501 && !isBusy) return ["failure", `${status} ${text.slice(0, 200)}`]
  if (!header("cache-control") && (isPlatforms(reply) || (status >= 400 && method === "HEAD"))) return undefined
  if (!header("cache-control") || header("x-content-type-options") !== "nosniff") return ["form", `${status} without its standard headers`]
  if (status >= 400 && !code && method !== "HEAD") return ["form", `${status} without an error code: ${text.slice(0, 200)}`]
  return undefined
}

/** One attack: counts the responses and collects the faults. */
export class Attack {
  statuses = new Map()
  codes = new Map()
  #faults = []
  #generations = new Map()

  /** `secrets` are bytes that must not appear in any response. */
  constructor({ server, world, seed, secrets }) {
    Object.assign(this, { server, world, seed, secrets })
  }

  /** Sends the requests with these numbers. */
  async run(numbers) {
    const left = numbers.values()
    const work = async () => {
      for (const number of left) {
        if (this.#faults.length < FAULTS_MAX) await this.#play(number)
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
  }

  /** The faults of one kind, each with what is needed to reproduce it. */
  faults(kind) {
    return this.#faults.filter((fault) => fault.kind === kind).map(({ what }) => what)
  }

  get #responses() {
    return [...this.statuses.values()].reduce((sum, count) => sum + count, 0)
  }

  /** The share of responses with a 2xx status. */
  get acceptedShare() {
    const accepted = [...this.statuses].filter(([status]) => status >= 200 && status < 300)
    return accepted.reduce((sum, [, count]) => sum + count, 0) / this.#responses
  }

  get summary() {
    const counts = [...this.statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`)
    return `${this.#responses} responses, ${Math.round(100 * this.acceptedShare)} % accepted (${counts.join(", ")})`
  }

  async #play(number) {
    await this.#streamsOf(generationOf(number))
    const request = hostileRequest(this.seed, number, this.world)
    const connection = await HttpConnection.open(this.server.url)
    try {
      for (const reply of await exchange(connection, request)) this.#judge(request, reply)
    } catch (error) {
      this.#fault(request, error.message.startsWith("not within") ? "hang" : "form", error.message)
    } finally {
      connection.close()
    }
    if (this.secrets.some((secret) => connection.text.includes(secret))) this.#fault(request, "crosstalk", "another tenant's bytes")
  }

  #streamsOf(generation) {
    if (!this.#generations.has(generation)) this.#generations.set(generation, createStreams(this.server, this.world, generation))
    return this.#generations.get(generation)
  }

  #judge(request, reply) {
    const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1)
    count(this.statuses, reply.status)
    const code = codeOf(reply)
    if (code) count(this.codes, code)
    const fault = faultOf(request.method, reply)
    if (fault) this.#fault(request, ...fault)
  }

  #fault({ number, pieces, ending }, kind, why) {
    const bytes = pieces.join("")
    const more = bytes.length > 500 ? ` and ${bytes.length - 500} bytes more` : ""
    this.#faults.push({ kind, what: `SEED=${this.seed} REQUEST=${number}: ${why}; ${ending}: ${JSON.stringify(bytes.slice(0, 500))}${more}` })
  }
}

/** Sends a request as described and returns the replies, or fewer if the server closed the connection. */
async function exchange(connection, { pieces, ending, method, replies: count }) {
  for (const piece of pieces) {
    if (connection.isClosed) break
    // Separate writes, so that the server reads more than one piece.
    await new Promise((resolve) => connection.socket.write(piece, "latin1", resolve))
  }
  if (ending === "reset") {
    connection.reset()
    return []
  }
  if (ending === "leave") {
    await connection.find("the head of a reply", (text) => text.includes("\r\n\r\n"), ANSWER_MS).catch(ignoreClosed)
    return []
  }
  if (ending === "finish") {
    connection.finish()
    await connection.find("the end of the connection", () => connection.isClosed, ANSWER_MS)
    // The reply parser knows HTTP/1.1 only.
    connection.text = connection.text.replaceAll("HTTP/1.0 ", "HTTP/1.1 ")
  }
  const replies = []
  while (replies.length < count || ending === "finish") {
    const reply = await connection.reply(method, ANSWER_MS).catch(ignoreClosed)
    if (!reply) break
    if (reply.status !== 100) replies.push(reply)
  }
  return replies
}

function ignoreClosed(error) {
  if (!error.message.startsWith("the server closed the connection")) throw error
}
