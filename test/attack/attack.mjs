// Sends hostile requests on raw sockets, many at a time, and judges each response.

import { HttpConnection } from "../platform/raw.mjs"
import { generationOf, hostileRequest } from "./hostile-requests.mjs"
import { createStreams } from "./worlds.mjs"

/** How long the server may take to answer a request that is whole, or to close the connection of one that is not. */
export const ANSWER_MS = 20_000

/** How many requests are under way at once. */
const CONCURRENCY = 48

/** After so many faults there is enough to look at. */
const FAULTS_MAX = 200

/** Refusals with 503 that the contract has, each with the time to come back. 501 is of the contract, too. */
const BUSY = new Set(["busy", "too_many_readers", "too_many_forks"])

/** What workerd says where it answers by itself, because what came is no HTTP/1.1 request. */
const PLATFORMS = /^(?:ERROR: |invalid |unexpected |Bad Request$)/u
const isPlatforms = ({ status, text }) => status === 414 || status === 431 || (status >= 400 && PLATFORMS.test(text))

/** The two refusals whose whole body clients look for. */
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

/** What a server logged as a failure, but for what workerd notes about itself, and advice about the configuration. */
export const failuresIn = (log) =>
  log.trouble.filter((line) => !line.startsWith("NOSENTRY") && !line.includes('"level":"warn"'))

/** What is wrong with a response: what kind of fault, and what it says. */
function faultOf(method, reply) {
  const { status, text, header } = reply
  const code = codeOf(reply)
  const isBusy = status === 503 && BUSY.has(code) && header("retry-after")
  if (status >= 500 && status !== 501 && !isBusy) return ["failure", `${status} ${text.slice(0, 200)}`]
  if (!header("cache-control") && (isPlatforms(reply) || (status >= 400 && method === "HEAD"))) return undefined
  if (!header("cache-control") || header("x-content-type-options") !== "nosniff") return ["form", `${status} without its headers`]
  if (status >= 400 && !code && method !== "HEAD") return ["form", `${status} without a code: ${text.slice(0, 200)}`]
  return undefined
}

/** One attack: which requests, what came of them, and what was wrong. */
export class Attack {
  statuses = new Map()
  codes = new Map()
  #faults = []
  #generations = new Map()

  /** `secrets` are bytes that no response may have. */
  constructor({ server, world, seed, secrets }) {
    Object.assign(this, { server, world, seed, secrets })
  }

  /** Sends the requests of these numbers. */
  async run(numbers) {
    const left = numbers.values()
    const work = async () => {
      for (const number of left) {
        if (this.#faults.length < FAULTS_MAX) await this.#play(number)
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
  }

  /** The faults of a kind, with all it takes to see them again. */
  faults(kind) {
    return this.#faults.filter((fault) => fault.kind === kind).map(({ what }) => what)
  }

  get #responses() {
    return [...this.statuses.values()].reduce((sum, count) => sum + count, 0)
  }

  /** Which part of the responses is a 2xx. */
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

/** Sends a request as it says, and gives the replies; a connection that the server closed has none any more. */
async function exchange(connection, { pieces, ending, method, replies: count }) {
  for (const piece of pieces) {
    if (connection.isClosed) break
    // One write after the other, so that the server sees more than one.
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
    // To read it as any other.
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
