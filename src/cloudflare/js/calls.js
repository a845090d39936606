// The one sender of calls (src/protocol/call.rs), for objects and for the Worker. A call is no request, so that no client's
// request can look like one.
//
// A call that is pending keeps the object that made it in memory, so every call has a time limit.

import { within } from "./stalls.js"

/** How long an answer may take: an object gives it in one synchronous step, unless it deletes orphans. */
const CALL_MAX_MS = 30_000

/**
 * Calls an object. A stub of its own for each call: a broken one stays broken.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} text the JSON of a `Call`
 * @returns {Promise<string>} that of an `Answered`
 */
export async function call(namespace, path, text) {
  const stub = namespace.getByName(path)
  try {
    return await within(CALL_MAX_MS, stub.asked(text))
  } catch (error) {
    if (!isOfEarlierBuild(error)) throw error
    return await within(CALL_MAX_MS, callEarlier(stub, JSON.parse(text)))
  }
}

/**
 * Calls several objects at the same time. Resolves with what each answers, or with the error.
 * @param {Streams} namespace
 * @param {string[]} paths
 * @param {string[]} texts for each path one
 * @returns {Promise<(string | Error)[]>}
 */
export const callAll = (namespace, paths, texts) =>
  Promise.all(
    paths.map(async (path, at) => {
      try {
        return await call(namespace, path, texts[at])
      } catch (error) {
        return /** @type {Error} */ (error)
      }
    }),
  )

/**
 * Calls an object that answers with bytes, which may be passed on without being looked at. This is a request, because a body
 * that comes with an RPC call takes half as long again. The Worker forwards what begins with `/v1/stream/`, so no client's
 * request has this URL.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} text
 * @returns {Promise<Response>}
 */
export async function callForBytes(namespace, path, text) {
  const ask = () =>
    within(CALL_MAX_MS, namespace.getByName(path).fetch("https://streams/inherited", { headers: { question: text } }))
  try {
    return await ask()
  } catch (error) {
    if (error === within.late) throw error
    // It changes nothing, and objects move now and then.
    return await ask()
  }
}

/**
 * Calls for bytes, and has the module answer its reader with them.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} text
 * @param {import("./index.js").Inheriting} inheriting
 * @returns {Promise<Response>}
 */
export async function passOn(namespace, path, text, inheriting) {
  let response
  try {
    response = await callForBytes(namespace, path, text)
  } catch (error) {
    return inheriting.failed(error)
  }
  return inheriting.answer(response)
}

// Builds of before 2026-11-30 have a method of its own for each of four calls. Needed while one of them may still run, which
// is five minutes after the deployment of this build; it may go in 0.2.0, with the four methods in worker.js.

/** An object of such a build says that it does not know a call by throwing this. @param {any} error */
const isOfEarlierBuild = (error) => `${error?.message}`.startsWith("read question: unknown variant")

/**
 * @param {StreamStub} stub
 * @param {any} call
 */
async function callEarlier(stub, call) {
  const { List: list, Orphans: orphans, Record: record } = call
  const answered = async () => {
    if (call === "Describe") return { Described: JSON.parse((await stub.described()) ?? "null") }
    if (list) {
      const [next, ...paths] = await stub.listed(list.prefix, list.after, `${list.limit}`)
      return { Listed: { paths, next: next || null } }
    }
    if (orphans) return { Orphans: await stub.orphans(orphans.keys, orphans.deletes) }
    if (!record) return "Unknown"
    const events = record.events.map((/** @type {any} */ { incarnation, seq, message }) => [`${incarnation}`, `${seq}`, message])
    await stub.record([record.path, ...events.flat()])
    return "Recorded"
  }
  return JSON.stringify(await answered())
}

/**
 * What such a build calls, as calls of the object.
 * @type {Record<string, (object: { asked(text: string): Promise<string> }, ...given: any[]) => Promise<any>>}
 */
export const earlier = {
  async record(object, [path, ...words]) {
    const events = []
    for (let at = 0; at < words.length; at += 3) {
      events.push({ incarnation: Number(words[at]), seq: Number(words[at + 1]), message: words[at + 2] })
    }
    await object.asked(JSON.stringify({ Record: { path, events } }))
  },

  async listed(object, prefix, after, limit) {
    const { paths, next } = JSON.parse(await object.asked(JSON.stringify({ List: { prefix, after, limit: Number(limit) } }))).Listed
    return [next ?? "", ...paths]
  },

  async described(object) {
    const described = JSON.parse(await object.asked('"Describe"')).Described
    return described === null ? undefined : JSON.stringify(described)
  },

  async orphans(object, keys, deletes) {
    return JSON.parse(await object.asked(JSON.stringify({ Orphans: { keys, deletes } }))).Orphans
  },
}
