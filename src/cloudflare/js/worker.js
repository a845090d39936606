// The platform's way into the wasm module. What is here and not in Rust is here because a promise that Rust awaits
// costs two closures and a task: a request that is only passed on, and a body that is received in one piece, take
// one call into the module each.

import { DurableObject } from "cloudflare:workers"
import * as wasm from "./index.js"
import { rehearse } from "./rehearsal.js"
import { headerLines, respond as respondWith, withHeaders } from "./respond.js"
import { abandon, collapse, gathersReads } from "./collapse.js"
import { releaseAllOfModule } from "./budget.js"
import { SmallBodies, receiveLarge } from "./receiving.js"
import { addressOf, tenantOf } from "./sending.js"
import { earlier } from "./calls.js"
import { append } from "./group_commit.js"

/** Set by the worker crate when Rust panics. */
const state = globalThis.__worker_init_state

/** Counts the module's lives: a panic or a trap ends one, and with it all that objects had in memory. */
let life = 0

const NO_BODY = new Uint8Array(0)
const BODY_SMALL_MAX_BYTES = wasm.bodySmallMaxBytes()
const BODY_MAX_BYTES = wasm.bodyMaxBytes()
const APPENDS = { names: wasm.appendHeaders(), refusedBody: (/** @type {number} */ why) => edge.refusedBody(why) }

/** Gives the module new memory if its last one was left in the middle of something. */
function revive() {
  if (!state.criticalError) return
  wasm.__wbg_reset_state()
  state.criticalError = false
  life += 1
  abandon()
  releaseAllOfModule()
}

/** A trap that was no panic, such as a stack that is too deep, ends a life, too. @param {unknown} error */
function noticed(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true
  return error
}

// What a rehearsal does is not to be counted.
if (!COUNTERS) rehearse()

// What runs later than the call that began it ends here.
addEventListener("error", ({ error }) => noticed(error))

/** @type {wasm.Edge} who may do what, read once in each life of the module */
let edge
/** @type {number | undefined} */
let edgeLife
/** @type {string | undefined} */
let decisiveHeader
let choosesOrigins = false
let hasEdgeCache = false

/** How many URLs' paths are known. */
const PATHS_MAX = 1000
/** How long such a URL is; longer ones have queries that mean nothing. */
const URL_MAX_CHARS = 1024

/** @type {Map<string, string>} where POSTs go, by their URLs, if nothing else decides it */
const paths = new Map()

/** @param {Env} env */
function configure(env) {
  edge = new wasm.Edge(env)
  edgeLife = life
  decisiveHeader = edge.decisiveHeader()
  choosesOrigins = edge.choosesOrigins()
  hasEdgeCache = edge.hasEdgeCache()
  paths.clear()
}

/**
 * The path of the stream whose object answers a request alone.
 * @param {string} method @param {string} url @param {Request} request
 */
function passedOnTo(method, url, request) {
  if (decisiveHeader !== undefined) return edge.passedOnTo(method, url, request.headers.get(decisiveHeader) ?? undefined)
  // A build that counts has each request come by.
  if (method !== "POST" || COUNTERS) return edge.passedOnTo(method, url)
  const known = paths.get(url)
  if (known !== undefined) return known
  const path = edge.passedOnTo(method, url)
  if (path !== undefined && url.length <= URL_MAX_CHARS) {
    if (paths.size >= PATHS_MAX) paths.clear()
    paths.set(url, path)
  }
  return path
}

/** Looks before the module is called: most requests are not. @param {Request} request */
const mayBeShared = ({ method, url, headers }) =>
  method === "GET" && url.includes("offset=") && !headers.has("if-none-match")

/** @type {string | undefined} the last `Host` that was right: most requests have the same */
let knownHost

/** @param {Request} request */
function hasHost({ headers }) {
  const host = headers.get("host")
  if (host === knownHost || host === null) return true
  if (!edge.isAuthority(host)) return false
  knownHost = host
  return true
}

/**
 * Accepts each form of a stream's URL, and passes on the first; `Location` echoes the form that the client used.
 * @param {Request} request @param {Env} env @param {ExecutionContext} context
 */
function respond(request, env, context) {
  const { method, url } = request
  // Most URLs have the first form, and need no call into the module. No request can be made of a wrong `Host`.
  const first = url.includes("/streams/") && hasHost(request) ? edge.inFirstForm(url) : undefined
  if (first === undefined) return respondTo(request, env, context)
  const responded = respondTo(new Request(first, request), env, context)
  return method === "PUT" ? responded.then((response) => withLocation(response, url)) : responded
}

/** @param {Response} response @param {string} url */
function withLocation(response, url) {
  if (!response.headers.has("location")) return response
  return withHeaders(response, `location\n${url.split("?")[0]}\n`)
}

/** @param {Request} request @param {Env} env @param {ExecutionContext} context @returns {Promise<Response>} */
function respondTo(request, env, context) {
  const { method, url } = request
  const path = hasHost(request) ? passedOnTo(method, url, request) : undefined
  if (path === undefined) return edge.answer(request, context)
  return answered(path, request, env, context).catch((error) => {
    revive()
    if (edgeLife !== life) configure(env)
    return edge.unreached(method, path, error) ?? edge.answer(request, context)
  })
}

/** @param {string} path @param {Request} request @param {Env} env @param {ExecutionContext} context */
function answered(path, request, env, context) {
  if (request.method === "POST") return append({ request, context }, env.STREAMS, path, APPENDS)
  const ask = () => env.STREAMS.getByName(path).fetch(request)
  const key = hasEdgeCache && gathersReads() && mayBeShared(request) ? edge.collapseKey(request.url) : undefined
  if (key === undefined) return ask()
  return collapse(key, "readers", context, { signal: request.signal, request, path }, ask)
}

/**
 * With what a script of its site may see of it.
 * @param {Request} request @param {Env} env @param {string} origin @param {Promise<Response>} responded
 */
async function withOrigin(request, env, origin, responded) {
  const response = await responded
  if (edgeLife !== life) configure(env)
  return withHeaders(response, edge.originLines(request.method, request.url, origin))
}

/** @param {unknown} error @returns {never} */
const rethrow = (error) => {
  throw noticed(error)
}

export default {
  /**
   * No `async`: each one is two promises more for every request that is only passed on.
   * @param {Request} request @param {Env} env @param {ExecutionContext} context
   */
  fetch(request, env, context) {
    revive()
    try {
      if (edgeLife !== life) configure(env)
      const responded = respond(request, env, context)
      const origin = choosesOrigins ? request.headers.get("origin") : null
      return (origin === null ? responded : withOrigin(request, env, origin, responded)).catch(rethrow)
    } catch (error) {
      throw noticed(error)
    }
  },
}

/** One stream. */
export class StreamObject extends DurableObject {
  /** @type {number | undefined} */
  #life
  /** @type {wasm.StreamObject | undefined} */
  #object
  /** @type {string | undefined} */
  #tenant
  #smallBodies = new SmallBodies()

  /** Its Rust side, which lives no longer than the module's memory. */
  #alive() {
    revive()
    if (this.#object === undefined || this.#life !== life) {
      this.#object = new wasm.StreamObject(this.ctx, this.env)
      if (this.#life !== undefined) this.#object.lostMemory()
      this.#life = life
    }
    return this.#object
  }

  /** @param {Request} request @returns {Response | Promise<Response>} */
  fetch(request) {
    try {
      const length = request.headers.get("content-length")
      if (length === null ? request.body === null : length === "0") return this.#answer(request, NO_BODY)
      return this.#receive(request, length)
    } catch (error) {
      throw noticed(error)
    }
  }

  /**
   * An append goes the same way whether it came alone or with others.
   * @param {Request} request
   * @param {Uint8Array | Uint8Array[]} body whole, or in parts
   * @returns {Response | Promise<Response>}
   */
  #answer(request, body) {
    const { method, url, headers } = request
    const object = this.#alive()
    const isWhole = body instanceof Uint8Array
    if (method !== "POST") return isWhole ? object.answer(request, method, url, body) : object.answerParts(request, method, url, body)
    const lines = headerLines(headers, APPENDS.names)
    const answer = isWhole ? object.append(url, lines, body) : object.appendParts(url, lines, body)
    if (COUNTERS) object.appendedTogether(1)
    return respondWith(...answer)
  }

  /** @param {Request} request @param {string | null} length */
  #receive(request, length) {
    this.#tenant ??= tenantOf(this.ctx.id.name ?? "")
    const received =
      length === null || Number(length) > BODY_SMALL_MAX_BYTES
        ? receiveLarge(request, BODY_MAX_BYTES, this.#tenant, addressOf(request))
        : this.#smallBodies.receive(request, Number(length), this.#tenant)
    return received.then((body) => {
      try {
        if (typeof body === "number") return this.#alive().refuseBody(request, body)
        return this.#answer(request, body instanceof ArrayBuffer ? new Uint8Array(body) : body)
      } catch (error) {
        throw noticed(error)
      }
    })
  }

  /**
   * Called by the edge: appends that came at the same time, in their order.
   * @param {string} url @param {string[]} headers @param {number[]} lengths @param {Uint8Array} bodies
   * @returns {Promise<wasm.Answer[]>}
   */
  async appendAll(url, headers, lengths, bodies) {
    let from = 0
    const answers = lengths.map(/** @returns {wasm.Answer} */ (length, at) => {
      const body = bodies.subarray(from, from + length)
      from += length
      try {
        return this.#alive().append(url, headers[at], body)
      } catch (error) {
        // It is one append's failure: what was stored before it is told, and what comes after it finds fresh memory.
        return [0, `${noticed(error)}`]
      }
    })
    this.#alive().appendedTogether(lengths.length)
    return answers
  }

  /** The one method for calls (calls.js), of objects and of the Worker. @param {string} call */
  async asked(call) {
    try {
      return await this.#alive().asked(call)
    } catch (error) {
      throw noticed(error)
    }
  }

  // Called by builds of before 2026-11-30 (calls.js): they may go in 0.2.0.
  /** @param {string[]} words */
  record(words) { return earlier.record(this, words) }
  /** @param {string} prefix @param {string} after @param {string} limit */
  listed(prefix, after, limit) { return earlier.listed(this, prefix, after, limit) }
  described() { return earlier.described(this) }
  /** @param {string[]} keys @param {boolean} deletes */
  orphans(keys, deletes) { return earlier.orphans(this, keys, deletes) }

  /** What happens when it rings is decided in `src/object/driver.rs` (`Object::ring`). */
  async alarm() {
    try {
      await this.#alive().ring()
    } catch (error) {
      throw noticed(error)
    }
  }

  webSocketMessage() {}

  webSocketClose() {
    this.#alive().readerLeft()
  }

  webSocketError() {
    this.#alive().readerLeft()
  }
}
