// The built worker with a census around it. The census counts what each object, and the edge, has begun and not ended:
// timers, fetches, calls, operations of the bucket and of the mirror, promises given to `waitUntil`, and response
// bodies without a reader. Each of them keeps an object in memory, billed, for up to 15 minutes.
//
// `routes` lists the URLs at which a test reads the counts.

import { AsyncLocalStorage } from "node:async_hooks"
import * as built from "./index.js"

/** Timers of at least this length can be fired early. */
const FAR_MS = 1000

const real = { setTimeout, clearTimeout, setInterval, clearInterval, timeout: AbortSignal.timeout }
const realFetch = globalThis.fetch

/** The census of the object or request on whose behalf code runs. @type {AsyncLocalStorage<Census>} */
const current = new AsyncLocalStorage()

class Census {
  /** @type {Set<{ label: string, fire?: () => void, isOver?: () => boolean }>} */
  pending = new Set()

  begin(label, more) {
    const one = { label, ...more }
    this.pending.add(one)
    return one
  }

  /** Counts a promise until it settles. */
  until(label, promise) {
    const one = this.begin(label)
    const end = () => this.pending.delete(one)
    promise.then(end, end)
    return promise
  }

  /** Counts a response's body until it is read or cancelled. */
  body(label, response) {
    if (response?.body) this.begin(label, { isOver: () => response.bodyUsed || response.body.locked })
    return response
  }

  /** The labels of what is pending, after waiting up to `millis` for it to end. */
  async settled(millis) {
    const begin = Date.now()
    while (this.labels().length > 0 && Date.now() - begin < millis) {
      await new Promise((resolve) => real.setTimeout(resolve, 5))
    }
    return this.labels()
  }

  labels() {
    for (const one of this.pending) if (one.isOver?.()) this.pending.delete(one)
    return [...this.pending].map(({ label }) => label).sort()
  }

  /** Fires all long timers, as if their time had come. */
  hurry() {
    for (const { fire } of [...this.pending]) fire?.()
  }
}

/** The timers that were pending in an object after it had answered. @type {Set<string>} */
const outlived = new Set()

/** @type {Map<unknown, { census: Census, one: object }>} by the result of `setTimeout` */
const timers = new Map()

/** For work on behalf of no known object or request. */
const unknown = new Census()

const forget = (id) => {
  const timer = timers.get(id)
  timers.delete(id)
  timer?.census.pending.delete(timer.one)
}

globalThis.setTimeout = (run, millis = 0, ...args) => {
  const census = current.getStore()
  if (census === undefined) return real.setTimeout(run, millis, ...args)
  const ended = () => {
    forget(id)
    run(...args)
  }
  const id = real.setTimeout(ended, millis)
  const fire = () => {
    real.clearTimeout(id)
    ended()
  }
  timers.set(id, { census, one: census.begin(`timer ${millis} ms`, { fire: millis >= FAR_MS ? fire : undefined }) })
  return id
}
globalThis.setInterval = (run, millis, ...args) => {
  const id = real.setInterval(run, millis, ...args)
  const census = current.getStore()
  if (census) timers.set(id, { census, one: census.begin(`interval ${millis} ms`) })
  return id
}
globalThis.clearTimeout = (id) => {
  forget(id)
  real.clearTimeout(id)
}
globalThis.clearInterval = (id) => {
  forget(id)
  real.clearInterval(id)
}
globalThis.fetch = (...args) => {
  const fetched = realFetch(...args)
  return current.getStore()?.until("fetch", fetched) ?? fetched
}
AbortSignal.timeout = (millis) => {
  const signal = real.timeout.call(AbortSignal, millis)
  current.getStore()?.begin(`timer ${millis} ms`, { isOver: () => signal.aborted })
  return signal
}
Object.defineProperty(globalThis, "scheduler", {
  value: {
    wait: (millis, { signal } = {}) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const id = setTimeout(resolve, millis)
        signal?.addEventListener("abort", () => {
          clearTimeout(id)
          reject(signal.reason)
        })
      }),
  },
})

const silence = () => new Promise(() => {})

/** How an object's calls to others end: the other `"answers"`, `"hangs"`, or is `"busy"` (503). */
let callMood = "answers"

/** A binding whose calls are counted by the caller's census. `given` receives their results. */
function counted(binding, census, name, given = (result) => result) {
  return new Proxy(binding, {
    get(target, key) {
      const value = Reflect.get(target, key)
      if (typeof value !== "function" || key === "constructor") return value
      return (...args) => given(census().until(`${name}.${String(key)}`, target[key](...args)), key)
    },
  })
}

/** A namespace of objects. It counts the calls of its stubs and, for calls by objects, the bodies of the responses. */
const namespaceOf = (namespace, census, hasBodies) => {
  const body = (response) => census().body("body of stub.fetch", response)
  const getByName = (path) => {
    const silent = (key) => () => census().until(`stub.${key}`, silence())
    if (hasBodies && callMood === "hangs") return new Proxy({}, { get: (_, key) => silent(key) })
    const busy = () => new Response("busy", { status: 503 })
    return counted(namespace.getByName(path), census, "stub", (result, key) =>
      key === "fetch" && hasBodies ? result.then((response) => body(callMood === "busy" ? busy() : response)) : result,
    )
  }
  return new Proxy(namespace, { get: (target, key) => (key === "getByName" ? getByName : Reflect.get(target, key)) })
}

/** What the mirror does with a write: it `"takes"` it, `"fails"`, or `"hangs"`. */
let mirrorMood = "takes"
const moods = {
  takes: async () => [],
  fails: () => Promise.reject(new Error("D1 fails")),
  hangs: silence,
}
const mirrorOf = (census) => ({
  prepare: () => ({ bind: () => ({}) }),
  batch: () => census().until("mirror.batch", moods[mirrorMood]()),
})

const contextOf = (context, census) =>
  new Proxy(context, {
    get(target, key) {
      const value = Reflect.get(target, key)
      if (key === "waitUntil") return (promise) => target.waitUntil(census.until("waitUntil", promise))
      return typeof value === "function" ? value.bind(target) : value
    },
  })

const envOf = (env, census, hasBodies) => ({
  ...env,
  STREAMS: namespaceOf(env.STREAMS, census, hasBodies),
  SEGMENTS: counted(env.SEGMENTS, census, "bucket"),
  ADMIN_DB: mirrorOf(census),
})

/** @type {Map<string, number>} */
const loads = new Map()

/** A stream's object, in which every event is counted. */
export class StreamObject extends built.StreamObject {
  #census = new Census()

  constructor(context, env) {
    super(context, env)
    this.ctx = contextOf(context, this.#census)
    this.env = envOf(env, () => this.#census, true)
    loads.set(context.id.name, (loads.get(context.id.name) ?? 0) + 1)
  }

  static {
    for (const [name, { value: serve }] of Object.entries(Object.getOwnPropertyDescriptors(built.StreamObject.prototype))) {
      if (name === "constructor") continue
      StreamObject.prototype[name] = function (...args) {
        console.log(JSON.stringify({ event: "begun", what: name, stream: this.ctx.id.name }))
        return current.run(this.#census, () => {
          const served = serve.apply(this, args)
          const answered = () => this.#census.labels().forEach((label) => label.startsWith("timer") && outlived.add(label))
          if (!(served instanceof Promise)) return answered(), served
          served.then(answered, answered)
          return this.#census.until(`${name}()`, served)
        })
      }
    }
  }

  settled(millis) {
    return this.#census.settled(millis)
  }

  hurry() {
    current.run(this.#census, () => this.#census.hurry())
  }

  /** Leaves something of this kind pending. */
  leak(kind) {
    current.run(this.#census, () => void leaks[kind](this))
  }

  /** Does not answer for a long time. */
  hang() {
    return new Promise((resolve) => real.setTimeout(resolve, 60_000))
  }
}

const leaks = {
  setTimeout: () => setTimeout(() => {}, 60_000),
  setInterval: () => setInterval(() => {}, 60_000),
  wait: () => scheduler.wait(60_000),
  timeout: () => AbortSignal.timeout(60_000),
  waitUntil: ({ ctx }) => ctx.waitUntil(new Promise((resolve) => real.setTimeout(resolve, 60_000))),
  fetch: () => fetch("https://silent.example/").catch(() => {}),
  call: ({ env }) => env.STREAMS.getByName("silent").hang(),
  bucket: ({ env }) => env.SEGMENTS.put("leak", "leak").catch(() => {}),
  body: ({ env }) => env.STREAMS.getByName("nobody").fetch("https://streams/v1/stream/nobody"),
}

/**
 * The requests at the edge that have been answered. The platform ends everything that a request has begun when the
 * request is answered and its `waitUntil` promises have settled, or when the client disconnects before the answer. So
 * only those promises can outlive a request.
 */
const edge = {
  /** @type {Set<Census>} */
  requests: new Set(),

  async settled(millis) {
    const all = await Promise.all([...edge.requests].map((census) => census.settled(millis)))
    return all.filter((labels) => labels.includes("waitUntil")).flat()
  },

  async fetch(request, env, context) {
    const census = new Census()
    // The worker keeps the first `env` that it receives.
    edge.env ??= envOf(env, () => current.getStore() ?? unknown, false)
    const response = await current.run(census, () => built.default.fetch(request, edge.env, contextOf(context, census)))
    edge.requests.add(census)
    return response
  },
}

/** The tests' requests, as `/<name>/<path>`. */
const routes = {
  /** What is pending in an object, or at the edge, after waiting up to `millis` for it to end. */
  census: (path, { STREAMS }, millis) => (path === "" ? edge : STREAMS.getByName(path)).settled(Number(millis)),
  outlived: () => [...outlived],
  /** The number of times that the object was created. */
  loads: (path) => loads.get(path) ?? 0,
  hurry: (path, { STREAMS }) => STREAMS.getByName(path).hurry(),
  leak: (path, { STREAMS }, kind) => STREAMS.getByName(path).leak(kind),
  /** Calls an object, as the Worker does. */
  call: async (path, { STREAMS }, call) => JSON.parse(await STREAMS.getByName(path).asked(decodeURIComponent(call))),
  mirror: (mood) => void (mirrorMood = mood),
  calls: (mood) => void (callMood = mood),
  flags: (name) => Cloudflare.compatibilityFlags[name],
}

export default {
  async fetch(request, env, context) {
    const { pathname, search } = new URL(request.url)
    const [, what, path] = /^\/(\w+)\/(.*)$/s.exec(pathname) ?? []
    if (what in routes) return Response.json((await routes[what](path, env, search.slice(1))) ?? null)
    return edge.fetch(request, env, context)
  },
}
