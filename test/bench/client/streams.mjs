// Protocol requests as bytes, and the operations that the benchmark measures. Each operation checks its response.

import { Connection } from "./connection.mjs"

const NOTHING = Buffer.alloc(0)

/** Each message contains this byte exactly once, so counting the byte counts messages in any format. */
export const MARK = "~"
const MARK_BYTE = MARK.charCodeAt(0)

/** @typedef {import("../targets/index.mjs").Process} Process */

/**
 * @param {Process} server
 * @param {string} method
 * @param {string} path the stream's path and the query
 * @param {Record<string, string>} [headers]
 * @param {Buffer} [body]
 */
export function request(server, method, path, headers = {}, body = NOTHING) {
  let head = `${method} ${server.prefix}${path} HTTP/1.1\r\nHost: ${server.host}:${server.port}\r\n`
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`
  if (method !== "GET") head += `Content-Length: ${body.length}\r\n`
  return Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), body])
}

const run = `${process.pid}-${Date.now().toString(36)}`
let made = 0

/** A path that no other run has used. */
export function freshPath() {
  made += 1
  return `/bench/${run}/${made}`
}

/** Creates a stream and returns its path. @param {Connection} connection @param {Process} server */
export async function create(connection, server, contentType, path = freshPath()) {
  const answer = await connection.ask(request(server, "PUT", path, { "Content-Type": contentType }))
  expectStatus(answer, 201)
  return path
}

/** Creates a fork at a stream's tail and returns its path. @param {Connection} connection @param {Process} server */
export async function createFork(connection, server, source, path = freshPath()) {
  const headers = { "Stream-Forked-From": `${server.prefix}${source}` }
  expectStatus(await connection.ask(request(server, "PUT", path, headers)), 201)
  return path
}

/** @param {Connection} connection @param {Process} server @returns {Promise<string>} the offset after the append */
export async function append(connection, server, path, contentType, body) {
  const answer = await connection.ask(request(server, "POST", path, { "Content-Type": contentType }, body))
  expectAppended(answer)
  return nextOffset(answer)
}

/** Reads from an offset to the tail, response by response. @returns {Promise<Buffer[]>} */
export async function readAll(connection, server, path, from = "-1") {
  const parts = []
  for (let offset = from; ; ) {
    const answer = await connection.ask(request(server, "GET", `${path}?offset=${offset}`))
    expectStatus(answer, 200)
    parts.push(...answer.parts)
    if (answer.header("stream-up-to-date")) return parts
    const next = nextOffset(answer)
    if (next === offset) throw new Error(`the read makes no progress at ${next}`)
    offset = next
  }
}

/** @param {Buffer[]} parts */
export function countMessages(parts) {
  let count = 0
  for (const part of parts) {
    for (let at = part.indexOf(MARK_BYTE); at >= 0; at = part.indexOf(MARK_BYTE, at + 1)) count += 1
  }
  return count
}

/** Throws unless a stream contains exactly the acknowledged messages. */
export async function expectMessages(connection, server, path, expected) {
  const count = countMessages(await readAll(connection, server, path))
  if (count !== expected) throw new Error(`${path}: ${expected} messages were acknowledged, but the stream has ${count}`)
}

/** @param {import("./connection.mjs").Answer} answer */
export function nextOffset(answer) {
  const offset = answer.header("stream-next-offset")
  if (!offset) throw new Error(`no Stream-Next-Offset in: ${answer.head}`)
  return offset
}

export function expectAppended(answer) {
  if (answer.status !== 204 && answer.status !== 200) expectStatus(answer, 204)
}

export function expectStatus(answer, status) {
  if (answer.status === status) return
  const body = answer.body.toString().slice(0, 500)
  throw new Error(`status ${answer.status} instead of ${status}: ${answer.head}\n${body}`)
}

/** @param {Process} server @param {number} count @returns {Promise<Connection[]>} */
export async function openConnections(server, count) {
  const connections = []
  while (connections.length < count) {
    const batch = Math.min(100, count - connections.length)
    connections.push(...(await Promise.all(Array.from({ length: batch }, () => Connection.open(server)))))
  }
  return connections
}
