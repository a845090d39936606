// What one object, or the edge, asks others: calls and no requests, so that no client's request can look like one.
//
// A call that is pending keeps the object that made it in memory, so every call of an object has a time limit.

import { within } from "./stalls.js"

/** How long an object waits for another one, which answers in one synchronous step. */
const CALL_MAX_MS = 30_000

/**
 * Asks a stream what another one wants to know. A stub of its own for each call: a broken one stays broken.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} question
 * @returns {Promise<string>}
 */
export const askStream = async (namespace, path, question) =>
  within(CALL_MAX_MS, namespace.getByName(path).asked(question))

/**
 * The same, of bytes, which may be passed on without being looked at: a request, because a body that comes with a call takes
 * half as long again. The edge passes on what begins with `/v1/stream/`, so none from outside has this URL.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} question
 * @returns {Promise<Response>}
 */
export async function inheritFrom(namespace, path, question) {
  const ask = () =>
    within(CALL_MAX_MS, namespace.getByName(path).fetch("https://streams/inherited", { headers: { question } }))
  try {
    return await ask()
  } catch (error) {
    if (error === within.late) throw error
    // It changes nothing, and objects move now and then.
    return await ask()
  }
}

/**
 * Asks for bytes, and has the module answer its reader with them.
 * @param {Streams} namespace
 * @param {string} path
 * @param {string} question
 * @param {import("./index.js").Inheriting} inheriting
 * @returns {Promise<Response>}
 */
export async function passOn(namespace, path, question, inheriting) {
  let response
  try {
    response = await inheritFrom(namespace, path, question)
  } catch (error) {
    return inheriting.failed(error)
  }
  return inheriting.answer(response)
}

/**
 * Asks streams which of their keys they do not know, all at the same time. Resolves with an answer for each; where none
 * came, with the error.
 * @param {Streams} namespace
 * @param {string[][]} streams of each its path, and then its keys
 * @param {boolean} deletes
 * @returns {Promise<(string[] | Error)[]>}
 */
export const orphansOf = (namespace, streams, deletes) =>
  Promise.all(
    streams.map(async ([path, ...keys]) => {
      try {
        return await namespace.getByName(path).orphans(keys, deletes)
      } catch (error) {
        return /** @type {Error} */ (error)
      }
    }),
  )

/**
 * Asks streams to describe themselves. Resolves with JSON for each that is there; where no answer came, with the error.
 * @param {Streams} namespace
 * @param {string[]} paths
 * @returns {Promise<(string | undefined | Error)[]>}
 */
export const describe = (namespace, paths) =>
  Promise.all(
    paths.map(async (path) => {
      try {
        return await namespace.getByName(path).described()
      } catch (error) {
        return /** @type {Error} */ (error)
      }
    }),
  )

/**
 * Asks a registry for a page of paths; the first of what it gives is where the next page begins, if it is not empty.
 * @param {Streams} namespace
 * @param {string} registry its path
 * @param {[prefix: string, after: string, limit: string]} ask prefix, after, limit
 * @returns {Promise<string[]>}
 */
export const list = async (namespace, registry, ask) => namespace.getByName(registry).listed(...ask)

/**
 * Tells a registry what becomes of a stream.
 * @param {Streams} namespace
 * @param {string} registry its path
 * @param {string[]} words
 * @returns {Promise<void>}
 */
export const record = async (namespace, registry, words) =>
  within(CALL_MAX_MS, namespace.getByName(registry).record(words))
