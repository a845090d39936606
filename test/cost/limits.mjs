// What one object can serve, according to docs/limits.md. A bill for more needs more streams.

export const OBJECT_REQUESTS_PER_SECOND_MAX = 1000
export const OBJECT_SOCKETS_MAX = 30_000

/**
 * Whether a number of readers is more than these objects can serve.
 * @param {{ requestsPerSecond: number, sockets: number }} load of all objects together
 * @param {number} objects
 */
export function isBeyond({ requestsPerSecond, sockets }, objects) {
  return requestsPerSecond > OBJECT_REQUESTS_PER_SECOND_MAX * objects || sockets > OBJECT_SOCKETS_MAX * objects
}
