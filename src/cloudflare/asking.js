// What the administrator's question waits for, as one promise: streams are asked at the same time.

/**
 * Asks streams which of their keys they do not know. Resolves with an answer for each; where none came, with the error.
 * These are calls and no requests, so that no client's request can look like one.
 * @param {DurableObjectNamespace} namespace
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
        return error
      }
    }),
  )
