// Sends all calls (src/protocol/call.rs), for objects and for the Worker. No request of a client can look like a call, and
// every call has a time limit, because a pending call keeps the calling object in memory.

import { within } from "./stalls.js"

/** The time limit of a call. An object answers in one synchronous step, unless it deletes orphans. */
const CALL_MAX_MS = 30_000

/**
 * Calls an object. Each call has its own stub, because a broken stub stays broken.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} text the JSON of a `Call`
 * @returns {Promise<string>} the JSON of an `Answered`
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
 * Calls several objects concurrently. Resolves with the answer or the error of each.
 * @param {Streams} namespace
 * @param {string[]} paths
 * @param {string[]} texts one for each path
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
 * Calls an object that answers with bytes. This call is a request, because a body takes 50 % longer through RPC. The Worker
 * only forwards URLs that begin with `/v1/stream/`, so no client's request has this URL.
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
    // The call changes nothing, and objects occasionally move.
    return await ask()
  }
}

/**
 * Calls for bytes, and lets the module answer its reader with them.
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

// Builds from before 2026-11-30 have a separate method for each of four calls. Such a build may run for up to five minutes
// after this one is deployed. Remove this part in 0.2.0, with the four methods in worker.js.

/** An object of such a build throws this for a call that it does not know. @param {any} error */
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
 * The four methods that such a build calls, translated into calls.
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
