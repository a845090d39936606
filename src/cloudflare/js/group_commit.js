// Appends that wait for others: an isolate has few under way to one stream at a time, and what comes meanwhile goes to the
// stream's object together, in one call. Who appends alone never sees it; a stream that many append to takes more of them,
// for a fraction of the billed requests.

import { budget } from "./budget.js"
import { BUSY, SmallBodies } from "./receiving.js"
import { headerLines, respond } from "./respond.js"
import { tenantOf } from "./sending.js"

/** How many requests an isolate has under way to one stream before those that come wait for one of them to end. */
const UNDER_WAY_MAX = 4
/** How long they wait. What is under way may have far to go, or be a body that is slow to come. */
const WAIT_MAX_MS = 50
/** When what is under way does not count any more: who breaks off takes its request along without a word. */
const STALE_MS = 1000
/** How many appends go together at most. */
const TOGETHER_MAX = 64
/** How large an append is that waits; what is larger goes by itself. */
const APPEND_MAX_BYTES = 16 << 10
/** How large its headers are, of those that its object has to see. */
const HEADERS_MAX_CHARS = 4 << 10
/** How many wait in this isolate, for others or for their answers; those beyond go by themselves. */
const WAITING_MAX = 2000
/** How many streams are watched; appends to others go by themselves. */
const LINES_MAX = 10_000
/** How many of them are looked at when there is to be room for another. */
const LOOKED_AT_MAX = 16
/** How long an append that somebody has taken along waits for its answer. */
const ANSWER_MAX_MS = 30_000

/**
 * @typedef {{ since: number }} Slot something that is under way
 *
 * @typedef {object} Append one that waits
 * @property {string} headers as header lines, those that an append may have
 * @property {ArrayBuffer} body
 * @property {(turn: Turn) => void} resolve
 * @property {(error: unknown) => void} reject
 *
 * @typedef {object} Turn
 * @property {Append[]} [batch] which to take along, itself first
 * @property {Slot} [slot] in whose place
 * @property {Answer} [answer] or, if it has been taken along, its answer
 * @property {boolean} [alone] or that it is to go by itself
 *
 * @typedef {[status: number, headerLines: string, body?: Uint8Array]} Answer with the status 0 a failure, and what it says
 *
 * @typedef {object} Line
 * @property {Slot[]} slots
 * @property {Append[]} waiting the oldest first
 */

/** @type {Map<string, Line>} by the path of a stream */
const lines = new Map()
let waiting = 0

const ignore = () => {}

/**
 * @param {{ request: Request, context: ExecutionContext }} client
 * @param {DurableObjectNamespace} streams
 * @param {string} path the stream's
 * @param {{ names: string[], refusedBody: (why: number) => Response }} module the headers that an object has to see of an
 *   append, and the answer to one whose body was not received
 * @returns {Promise<Response>}
 */
export function append({ request, context }, streams, path, module) {
  const line = lineOf(path)
  if (line === undefined) return streams.getByName(path).fetch(request)
  if (isFree(line)) return underWay(line, streams.getByName(path).fetch(request))
  const headers = waiting < WAITING_MAX && isSmall(request) ? headersOf(request, module.names) : undefined
  if (headers === undefined) return streams.getByName(path).fetch(request)
  const answered = wait({ path, request, headers }, streams.getByName(path), module.refusedBody)
  // Those it takes along are not to suffer if its client breaks off.
  context.waitUntil(answered.then(ignore, ignore))
  return answered
}

/** @returns {Line | undefined} */
function lineOf(path) {
  const known = lines.get(path)
  if (known !== undefined) return known
  if (lines.size >= LINES_MAX && !forgetIdle()) return undefined
  const line = { slots: [], waiting: [] }
  lines.set(path, line)
  return line
}

/** Makes room for another, if there are any where nothing happens. */
function forgetIdle() {
  let lookedAt = 0
  for (const [path, line] of lines) {
    lines.delete(path)
    if (!isFree(line, 1) || line.waiting.length > 0) lines.set(path, line)
    lookedAt += 1
    if (lookedAt === LOOKED_AT_MAX) break
  }
  return lines.size < LINES_MAX
}

/** Whether one may begin. */
function isFree(line, most = UNDER_WAY_MAX) {
  if (line.slots.length < most) return true
  const now = Date.now()
  line.slots = line.slots.filter(({ since }) => now - since < STALE_MS)
  return line.slots.length < most
}

/** Whether it has a body that may wait, or none. */
function isSmall({ body, headers }) {
  if (body === null) return true
  const length = headers.get("content-length")
  return length !== null && Number(length) <= APPEND_MAX_BYTES
}

/** Header lines, if they are few. */
function headersOf({ headers }, names) {
  const lines = headerLines(headers, names)
  return lines.length <= HEADERS_MAX_CHARS ? lines : undefined
}

/**
 * Counts what is under way. Nothing keeps it from being broken off, which would cost each append as much as all of this.
 * @template T
 * @param {Line} line
 * @param {Promise<T>} answered
 * @param {Slot} [slot] one that is counted already
 */
function underWay(line, answered, slot) {
  const own = slot ?? { since: 0 }
  own.since = Date.now()
  if (slot === undefined) line.slots.push(own)
  const end = () => ended(line, own)
  answered.then(end, end)
  return answered
}

function ended(line, slot) {
  const at = line.slots.indexOf(slot)
  // It had been given up.
  if (at < 0) return
  if (line.waiting.length > 0) {
    const batch = line.waiting.splice(0, TOGETHER_MAX)
    slot.since = Date.now()
    batch[0].resolve({ batch, slot })
  } else {
    line.slots.splice(at, 1)
  }
}

/** @returns {Promise<Response>} */
async function wait({ path, request, headers }, stub, refusedBody) {
  waiting += 1
  let timer, hold
  try {
    const body = await received(request, tenantOf(path))
    if (typeof body === "number") return refusedBody(body)
    // It stays in memory until it is answered.
    hold = budget.hold(body.byteLength, tenantOf(path), "")
    if (hold === undefined) return refusedBody(BUSY)
    const { promise, resolve, reject } = Promise.withResolvers()
    const one = { headers, body, resolve, reject }
    const line = lineOf(path)
    if (line === undefined || isFree(line)) {
      resolve({ batch: [one] })
    } else {
      line.waiting.push(one)
      timer = setTimeout(() => {
        const at = line.waiting.indexOf(one)
        if (at >= 0) {
          line.waiting.splice(at, 1)
          resolve({ batch: [one, ...line.waiting.splice(0, TOGETHER_MAX - 1)] })
        } else {
          timer = setTimeout(() => reject(new Error("whoever took this append along is gone")), ANSWER_MAX_MS)
        }
      }, WAIT_MAX_MS)
    }
    const { batch, slot, answer, alone } = await promise
    if (alone) return await byItself(request, stub, one)
    return answer === undefined ? await lead(request, { line, slot, stub, batch }) : responseOf(answer)
  } finally {
    waiting -= 1
    hold?.release()
    clearTimeout(timer)
  }
}

/** @returns {Promise<ArrayBuffer | number>} */
async function received(request, tenant) {
  if (request.body === null) return new ArrayBuffer(0)
  return new SmallBodies().receive(request, Number(request.headers.get("content-length")), tenant)
}

/** Takes several to the object; the first is the caller's. */
async function lead(request, { line, slot, stub, batch }) {
  const others = batch.slice(1)
  try {
    const headers = batch.map((one) => one.headers)
    const lengths = batch.map((one) => one.body.byteLength)
    const asked = stub.appendAll(request.url, headers, lengths, joined(batch))
    const answers = await (line === undefined ? asked : underWay(line, asked, slot))
    others.forEach((one, at) => one.resolve({ answer: answers[at + 1] }))
    return responseOf(answers[0])
  } catch (error) {
    if (isUnknown(error)) {
      for (const one of others) one.resolve({ alone: true })
      return await byItself(request, stub, batch[0])
    }
    for (const one of others) one.reject(error)
    throw error
  }
}

/** While a new version is rolled out an object may still be of one that takes no appends together. */
const isUnknown = (error) => error instanceof TypeError && /does not implement the method/.test(error.message)

function byItself({ url }, stub, { headers, body }) {
  const pairs = new Headers()
  const lines = headers.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) pairs.set(lines[at], lines[at + 1])
  return stub.fetch(new Request(url, { method: "POST", headers: pairs, body }))
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

/** @param {Answer} answer */
function responseOf([status, text, body]) {
  if (status === 0) throw new Error(text)
  return respond(status, text, body)
}
