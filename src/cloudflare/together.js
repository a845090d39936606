// Appends that wait for others: an isolate has few under way to one stream at a time, and what comes meanwhile goes to the
// stream's object together, in one call. Who appends alone never sees it; a stream that many append to takes more of them,
// for a fraction of the billed requests.

import { respond } from "./respond.js"

/** How many requests an isolate has under way to one stream before those that come wait for one of them to end. */
const UNDER_WAY_MAX = 4
/** How many appends go together at most. */
const TOGETHER_MAX = 64
/** How large an append is that waits; what is larger goes by itself. */
const APPEND_MAX_BYTES = 16 << 10
/** How many appends wait in this isolate; those beyond go by themselves. */
const WAITING_MAX = 2000
/** How many streams are watched; appends to others go by themselves. */
const LINES_MAX = 10_000
/** When those that are under way are given up: whoever breaks off takes its request along without a word. */
const STALE_MS = 1000
/** How long an append that somebody has taken along waits for its answer. */
const ANSWER_MAX_MS = 30_000

/**
 * @typedef {object} Append one that waits
 * @property {string} headers as header lines, those that an append may have
 * @property {ArrayBuffer} body
 * @property {(turn: Turn) => void} resolve
 * @property {(error: unknown) => void} reject
 *
 * @typedef {{ batch: Append[] } | { answer: [status: number, headerLines: string, body?: Uint8Array] }} Turn which to take
 *   along, itself first, or the answer
 *
 * @typedef {object} Line
 * @property {number} underWay
 * @property {number} since when one last began or ended
 * @property {Append[]} waiting the oldest first
 */

/** @type {Map<string, Line>} by URL; the oldest first */
const lines = new Map()
let waiting = 0

const ignore = () => {}

/**
 * @param {{ request: Request, context: ExecutionContext }} client
 * @param {DurableObjectNamespace} streams
 * @param {string} path the stream's
 * @param {{ names: string[], brokenBody: () => Response }} module the headers that an object has to see of an append, and what
 *   is said to one whose body broke off
 * @returns {Promise<Response>}
 */
export function append({ request, context }, streams, path, module) {
  const line = lineOf(request.url)
  if (line === undefined) return streams.getByName(path).fetch(request)
  if (isFree(line)) return underWay(request.url, line, streams.getByName(path).fetch(request))
  const length = Number(request.headers.get("content-length"))
  if (!(length > 0 && length <= APPEND_MAX_BYTES) || waiting >= WAITING_MAX) return streams.getByName(path).fetch(request)
  const answered = wait(request, streams.getByName(path), module)
  // Those it takes along are not to suffer if its client breaks off.
  context.waitUntil(answered.then(ignore, ignore))
  return answered
}

/** @returns {Line | undefined} */
function lineOf(url) {
  const known = lines.get(url)
  if (known !== undefined) return known
  if (lines.size >= LINES_MAX && !forgetOld()) return undefined
  const line = { underWay: 0, since: 0, waiting: [] }
  lines.set(url, line)
  return line
}

/** Makes room for another, if there are any that nothing will be heard of. */
function forgetOld() {
  for (const [url, line] of lines) {
    if (isFree(line) && line.waiting.length === 0 && Date.now() - line.since > STALE_MS) lines.delete(url)
    else break
  }
  return lines.size < LINES_MAX
}

/** Whether one may begin. Those of which nothing has been heard for long do not count any more. @param {Line} line */
function isFree(line) {
  if (line.underWay < UNDER_WAY_MAX) return true
  if (Date.now() - line.since < STALE_MS) return false
  line.underWay = 0
  return true
}

/**
 * Counts what is under way. Nothing keeps it from being broken off, which costs each append as much as all of this.
 * @template T
 * @param {string} url
 * @param {Line} line
 * @param {Promise<T>} answered
 */
function underWay(url, line, answered) {
  line.underWay += 1
  line.since = Date.now()
  const end = () => ended(url, line)
  answered.then(end, end)
  return answered
}

/** @param {string} url @param {Line} line */
function ended(url, line) {
  line.underWay = Math.max(0, line.underWay - 1)
  line.since = Date.now()
  if (line.waiting.length > 0) {
    const batch = line.waiting.splice(0, TOGETHER_MAX)
    waiting -= batch.length
    batch[0].resolve({ batch })
  } else if (line.underWay === 0 && lines.get(url) === line) {
    lines.delete(url)
  }
}

/** @returns {Promise<Response>} */
async function wait(request, stub, { names, brokenBody }) {
  const { url } = request
  let headers = ""
  for (const name of names) {
    const value = request.headers.get(name)
    if (value !== null) headers += `${name}\n${value}\n`
  }
  let body
  try {
    body = await request.arrayBuffer()
  } catch {
    return brokenBody()
  }
  const { promise, resolve, reject } = Promise.withResolvers()
  const one = { headers, body, resolve, reject }
  const line = lineOf(url)
  if (line === undefined || isFree(line)) return lead(url, line, stub, [one])
  line.waiting.push(one)
  waiting += 1
  let timer = setTimeout(() => {
    const at = line.waiting.indexOf(one)
    if (at < 0) {
      timer = setTimeout(() => reject(new Error("whoever took this append along is gone")), ANSWER_MAX_MS)
      return
    }
    line.waiting.splice(at, 1)
    waiting -= 1
    isFree(line)
    resolve({ batch: [one] })
  }, STALE_MS)
  try {
    const { batch, answer } = await promise
    return batch === undefined ? respond(...answer) : await lead(url, line, stub, batch)
  } finally {
    clearTimeout(timer)
  }
}

/** Takes several to the object; the first is the caller's. */
async function lead(url, line, stub, batch) {
  const others = batch.slice(1)
  try {
    const headers = batch.map((one) => one.headers)
    const lengths = batch.map((one) => one.body.byteLength)
    const asked = stub.appendAll(url, headers, lengths, joined(batch))
    const answers = await (line === undefined ? asked : underWay(url, line, asked))
    others.forEach((one, at) => one.resolve({ answer: answers.slice(3 * at + 3, 3 * at + 6) }))
    return respond(...answers.slice(0, 3))
  } catch (error) {
    for (const one of others) one.reject(error)
    throw error
  }
}

function joined(batch) {
  const bytes = new Uint8Array(batch.reduce((sum, { body }) => sum + body.byteLength, 0))
  let at = 0
  for (const { body } of batch) {
    bytes.set(new Uint8Array(body), at)
    at += body.byteLength
  }
  return bytes
}
