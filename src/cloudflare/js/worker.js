// The platform's entry points, which call the wasm module. JavaScript decides nothing about access or about streams.
//
// Code is here instead of in Rust because a promise that Rust awaits costs two closures and a task. A request that is passed
// on, or a body that arrives in one piece, takes only one call into the module.

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
import { authorize, authorized, envOf, mount } from "./application.js"

/** Set by the worker crate when Rust panics. */
const state = globalThis.__worker_init_state

/** The number of the module's current memory. A panic or a trap discards the memory, with all state of the objects in it. */
let memoryNumber = 0

const NO_BODY = new Uint8Array(0)
const BODY_SMALL_MAX_BYTES = wasm.bodySmallMaxBytes()
const BODY_MAX_BYTES = wasm.bodyMaxBytes()
const APPENDS = { names: wasm.appendHeaders(), refusedBody: refused }

/** The id of a request. @param {Request} request */
const idOf = ({ headers }) => edge.requestId(headers.get("cf-ray") ?? undefined)

/** The response to an append whose body was not received. @param {number} why @param {Request} request */
function refused(why, request) {
  return edge.refusedBody(why, idOf(request))
}

/** Gives the module new memory after a panic or a trap, which may have left the old one inconsistent. */
function revive() {
  if (!state.criticalError) return
  wasm.__wbg_reset_state()
  state.criticalError = false
  memoryNumber += 1
  abandon()
  releaseAllOfModule()
}

/** Marks the memory as unusable after a trap without a panic, such as a stack overflow. @param {unknown} error */
function markTrap(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true
  return error
}

// A build that counts must not count the rehearsal.
if (!COUNTERS) rehearse()

// Errors in tasks that outlive the call that started them arrive here.
addEventListener("error", ({ error }) => markTrap(error))

/** @type {wasm.Edge} the Worker's state, made once for each memory of the module */
let edge
/** @type {number | undefined} */
let edgeMemory
/** @type {string | undefined} */
let decisiveHeader
let choosesOrigins = false
let hasEdgeCache = false
/** The share of requests that are measured: 0 without a dataset. */
let measuredShare = 0

/** The most URLs in `paths`. */
const PATHS_MAX = 1000
/** The longest URL in `paths`. Longer ones have queries without a meaning. */
const URL_MAX_CHARS = 1024

/** @type {Map<string, string>} the stream paths of POST requests by URL, where no header decides whether to pass them on */
const paths = new Map()

/** @param {Env} env */
function configure(env) {
  edge = new wasm.Edge(envOf(env), mount)
  edgeMemory = memoryNumber
  decisiveHeader = edge.decisiveHeader()
  choosesOrigins = edge.choosesOrigins()
  hasEdgeCache = edge.hasEdgeCache()
  measuredShare = edge.measuredShare()
  paths.clear()
}

/** Prepares calls into the module: a request that ran meanwhile may have left its memory inconsistent. @param {Env} env */
function refresh(env) {
  revive()
  if (edgeMemory !== memoryNumber) configure(env)
}

/**
 * The path of the stream, if the request can be passed on to its object unchanged.
 * @param {string} method @param {string} url @param {Request} request
 */
function passedOnTo(method, url, request) {
  if (decisiveHeader !== undefined) return edge.passedOnTo(method, url, request.headers.get(decisiveHeader) ?? undefined)
  // A build that counts must see each request.
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

/** Saves most requests the call into the module. @param {Request} request */
const mayBeShared = ({ method, url, headers }) =>
  method === "GET" && url.includes("offset=") && !headers.has("if-none-match")

/** @type {string | undefined} the last valid `Host`, which most requests have */
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
 * Accepts each form of a stream's URL, and passes on the canonical one. `Location` repeats the form that the client used.
 * @param {Request} request @param {Env} env @param {ExecutionContext} context
 */
function respond(request, env, context) {
  const { method, url } = request
  // Most URLs are canonical and need no call into the module. With an invalid `Host`, `new Request` would throw.
  const isOther = url.includes("/streams/") || (mount !== undefined && url.includes(mount))
  const first = isOther && hasHost(request) ? edge.inFirstForm(url) : undefined
  if (first === undefined) return respondTo(request, env, context)
  const responded = respondTo(withFirstForm(first, request), env, context)
  return method === "PUT" ? responded.then((response) => withLocation(response, url)) : responded
}

/** @param {string} url @param {Request} request */
function withFirstForm(url, request) {
  const passed = new Request(url, request)
  const source = mount === undefined ? null : passed.headers.get("stream-forked-from")
  const first = source === null ? undefined : edge.inFirstForm(source)
  if (first !== undefined) passed.headers.set("stream-forked-from", first)
  return passed
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
  if (path === undefined) return edge.answer(request, context, idOf(request))
  return answered(path, request, env, context).catch((error) => {
    revive()
    if (edgeMemory !== memoryNumber) configure(env)
    const id = idOf(request)
    return edge.unreached(method, path, id, error) ?? edge.answer(request, context, id)
  })
}

/** @param {string} path @param {Request} request @param {Env} env @param {ExecutionContext} context */
function answered(path, request, env, context) {
  if (request.method === "POST") return append({ request, context }, env.STREAMS, path, APPENDS)
  const ask = () => env.STREAMS.getByName(path).fetch(request)
  const key = hasEdgeCache && gathersReads() && mayBeShared(request) ? edge.collapseKey(request.url) : undefined
  if (key === undefined) return ask()
  return collapse(key, "readers", context, { signal: request.signal, request, path, id: idOf(request) }, ask)
}

/**
 * Adds the CORS headers for the origin of the requesting script.
 * @param {Request} request @param {Env} env @param {string} origin @param {Promise<Response>} responded
 */
async function withOrigin(request, env, origin, responded) {
  const response = await responded
  if (edgeMemory !== memoryNumber) configure(env)
  const url = mount === undefined ? request.url : inFirstForm(request.url)
  return withHeaders(response, edge.originLines(request.method, url, origin))
}

/**
 * Writes a data point once the response is there. The client does not wait for it.
 * @param {Request} request @param {Promise<Response>} responded @param {ExecutionContext} context
 */
function measure({ method, url, headers }, responded, context) {
  const began = Date.now()
  const bytesIn = lengthIn(headers)
  const measured = responded.then((response) => {
    // The edge that was asked may be gone with its memory.
    if (edgeMemory !== memoryNumber) return
    edge.measure(method, url, response.status, Date.now() - began, bytesIn, lengthIn(response.headers))
  })
  context.waitUntil(measured.catch(() => {}))
}

/** The declared length of a body, or 0. @param {Headers} headers */
const lengthIn = (headers) => Number(headers.get("content-length")) || 0

/** @param {unknown} error @returns {never} */
const rethrow = (error) => {
  throw markTrap(error)
}

/**
 * Not `async`, which would add two promises to every request that is passed on.
 * @param {Request} request @param {Env} env @param {ExecutionContext} context
 */
function serve(request, env, context) {
  try {
    refresh(env)
    const responded = respond(request, env, context)
    if (measuredShare > 0 && Math.random() < measuredShare) measure(request, responded, context)
    const origin = choosesOrigins ? request.headers.get("origin") : null
    return (origin === null ? responded : withOrigin(request, env, origin, responded)).catch(rethrow)
  } catch (error) {
    throw markTrap(error)
  }
}

/** The URL in the first form. @param {string} url */
const inFirstForm = (url) => edge.inFirstForm(url) ?? url

/** Whether a request concerns the streams of all projects. @param {Request} request @param {Env} env */
function isAtRoot({ method, url }, env) {
  refresh(env)
  return wasm.isAtRoot(method, inFirstForm(url))
}

/**
 * Serves a request if the application allows it.
 * @param {NonNullable<typeof authorize>} decide @param {Request} request @param {Env} env @param {ExecutionContext} context
 */
async function serveAuthorized(decide, request, env, context) {
  refresh(env)
  const url = hasHost(request) ? edge.guardedUrl(request.method, request.url) : undefined
  if (url === undefined) return serve(request, env, context)
  const deciding = authorized(decide, url, isAtRoot, request, env, context)
  const passed = await deciding.catch((error) => undecided(request, env, error))
  if (passed instanceof Response) return passed
  const response = await serve(passed, env, context)
  if (passed.headers.has("authorization")) return response
  refresh(env)
  const body = wasm.notAllowed(response)
  return body === undefined ? response : new Response(request.method === "HEAD" ? null : body, response)
}

/**
 * The response to a request about which the application failed to decide.
 * @param {Request} request @param {Env} env @param {unknown} error
 */
function undecided(request, env, error) {
  refresh(env)
  const response = wasm.undecided(inFirstForm(request.url), idOf(request), `${error}`)
  const origin = choosesOrigins ? request.headers.get("origin") : null
  return origin === null ? response : withOrigin(request, env, origin, Promise.resolve(response))
}

export default {
  /** @param {Request} request @param {Env} env @param {ExecutionContext} context */
  fetch(request, env, context) {
    if (authorize !== undefined) return serveAuthorized(authorize, request, env, context)
    return serve(request, env, context)
  },
}

/** The Durable Object of one stream. */
export class StreamObject extends DurableObject {
  /** @type {number | undefined} */
  #memory
  /** @type {wasm.StreamObject | undefined} */
  #object
  /** @type {string | undefined} */
  #tenant
  #smallBodies = new SmallBodies()

  /** The Rust side of the object, made again if the module has new memory. */
  #alive() {
    revive()
    if (this.#object === undefined || this.#memory !== memoryNumber) {
      this.#object = new wasm.StreamObject(this.ctx, envOf(this.env))
      if (this.#memory !== undefined) this.#object.lostMemory()
      this.#memory = memoryNumber
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
      throw markTrap(error)
    }
  }

  /**
   * Answers a request with its body. An append takes the same path as one in `appendAll`.
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
        throw markTrap(error)
      }
    })
  }

  /**
   * Called by the Worker with concurrent appends (group commit). Applies them in their order.
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
        // Only this append fails. The ones before it are stored and answered; the ones after it run with new memory.
        return [0, `${markTrap(error)}`]
      }
    })
    this.#alive().appendedTogether(lengths.length)
    return answers
  }

  /** Answers calls (calls.js) of other objects and of the Worker. @param {string} call */
  async asked(call) {
    try {
      return await this.#alive().asked(call)
    } catch (error) {
      throw markTrap(error)
    }
  }

  // Builds from before 2026-11-30 call these (calls.js). Remove them in 0.2.0.
  /** @param {string[]} words */
  record(words) { return earlier.record(this, words) }
  /** @param {string} prefix @param {string} after @param {string} limit */
  listed(prefix, after, limit) { return earlier.listed(this, prefix, after, limit) }
  described() { return earlier.described(this) }
  /** @param {string[]} keys @param {boolean} deletes */
  orphans(keys, deletes) { return earlier.orphans(this, keys, deletes) }

  /** `Object::ring` in `src/object/driver.rs` decides what an alarm does. */
  async alarm() {
    try {
      await this.#alive().ring()
    } catch (error) {
      throw markTrap(error)
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
