// Group commit: sends concurrent appends to one stream in one call. An isolate has few requests to a stream in flight, and
// batches the appends that arrive meanwhile. A stream with many producers accepts more appends this way, for a fraction of
// the billed requests; an append without concurrent ones is never delayed. `group_commit_decisions.js` decides which appends
// wait.

import { budget } from "./budget.js"
import { GroupCommit } from "./group_commit_decisions.js"
import { BUSY, SmallBodies } from "./receiving.js"
import { headerLines, respond } from "./respond.js"
import { tenantOf } from "./sending.js"

/**
 * @typedef {object} Load the data of an append
 * @property {string} headers the header lines for the object
 * @property {ArrayBuffer} body
 * @property {(turn: Turn) => void} take receives the append's turn, which may come from another request
 *
 * @typedef {import("./group_commit_decisions.js").Append<Load>} Append
 * @typedef {import("./group_commit_decisions.js").Slot<Load>} Slot
 * @typedef {import("./group_commit_decisions.js").Turn<Load>} Turn
 * @typedef {import("./group_commit_decisions.js").Wait} Wait
 * @typedef {import("./group_commit_decisions.js").Lead<Load>} Lead
 * @typedef {import("./group_commit_decisions.js").Outcome} Outcome
 * @typedef {{ names: string[], refusedBody: (why: number, request: Request) => Response }} Module the names of the headers that an object reads,
 *   and the response to an append whose body was not received
 */

/** @type {GroupCommit<Load>} */
const commits = new GroupCommit(() => Date.now())

const NO_BODY = new ArrayBuffer(0)

const ignore = () => {}

/**
 * Sends an append to its stream, alone or in a batch.
 * @param {{ request: Request, context: Context }} client
 * @param {Streams} streams
 * @param {string} path the stream's path
 * @param {Module} module
 * @returns {Promise<Response>}
 */
export function append({ request, context }, streams, path, module) {
  const slot = commits.begin(path)
  if (slot !== undefined) return trackSlot(slot, streams.getByName(path).fetch(request))
  const waiting = commits.mayWait(lengthOf(request)) ? enter(path, headerLines(request.headers, module.names)) : undefined
  if (waiting === undefined) return streams.getByName(path).fetch(request)
  const answered = wait(waiting, request, streams.getByName(path), module)
  // If this client disconnects, the batch that its request leads must still be answered.
  context.waitUntil(answered.then(ignore, ignore))
  return answered
}

/** @param {string} path @param {string} headers */
const enter = (path, headers) => commits.enter(path, headers, { headers, body: NO_BODY, take: ignore })

/** The declared length of the body, or NaN. @param {Request} request */
function lengthOf({ body, headers }) {
  if (body === null) return 0
  const length = headers.get("content-length")
  return length === null ? Number.NaN : Number(length)
}

/**
 * Passes the slot on when the request has ended. The platform may cancel the request without notice: `waitUntil` for each
 * append would prevent that, but would cost as much as all of this. The slot then expires.
 * @template T
 * @param {Slot} slot
 * @param {Promise<T>} answered
 */
function trackSlot(slot, answered) {
  const end = () => {
    const next = commits.ended(slot)
    if (next !== undefined) next.append.load.take(next.turn)
  }
  answered.then(end, end)
  return answered
}

/**
 * @param {Append} append
 * @param {Request} request
 * @param {StreamStub} stub
 * @param {Module} module
 * @returns {Promise<Response>}
 */
async function wait(append, request, stub, module) {
  const tenant = tenantOf(append.path)
  let hold
  try {
    const body = await received(request, tenant)
    if (typeof body === "number") return module.refusedBody(body, request)
    // The body stays in memory until the append is answered.
    hold = budget.hold(body.byteLength, tenant, "")
    if (hold === undefined) return module.refusedBody(BUSY, request)
    append.load.body = body
    const turn = await turnOf(append)
    return await (turn.do === "lead" ? lead(turn, request, stub) : end(turn, request, stub, append.load))
  } finally {
    commits.left(append)
    hold?.release()
  }
}

/** @param {Request} request @param {string} tenant @returns {Promise<ArrayBuffer | number>} */
async function received(request, tenant) {
  if (request.body === null) return NO_BODY
  return new SmallBodies().receive(request, Number(request.headers.get("content-length")), tenant)
}

/** Waits for the turn of an append whose body has arrived. @param {Append} append @returns {Promise<Exclude<Turn, Wait>>} */
async function turnOf(append) {
  const { promise, resolve } = Promise.withResolvers()
  append.load.take = resolve
  /** @type {ReturnType<typeof setTimeout> | null} */
  let timer = null
  /** @param {Turn | undefined} turn */
  const go = (turn) => {
    if (turn?.do === "wait") timer = setTimeout(() => go(commits.waited(append)), turn.millis)
    else if (turn !== undefined) resolve(turn)
  }
  go(commits.received(append))
  const turn = await promise
  // Cleared here, and not where another request gives the turn: workerd clears a timer only in the request that set it.
  clearTimeout(timer)
  return turn
}

/**
 * Sends a batch to the object, and gives each append its outcome. The first append is the caller's.
 * @param {Lead} turn
 * @param {Request} request
 * @param {StreamStub} stub
 */
async function lead({ batch, slot }, request, stub) {
  const headers = batch.map(({ load }) => load.headers)
  const lengths = batch.map(({ load }) => load.body.byteLength)
  let outcomes
  try {
    const asked = stub.appendAll(request.url, headers, lengths, joined(batch))
    outcomes = commits.answered(batch, await trackSlot(slot, asked))
  } catch (error) {
    outcomes = commits.failed(batch, error)
  }
  const ended = end(outcomes.own, request, stub, batch[0].load)
  for (const { append, turn } of outcomes.others) append.load.take(turn)
  return ended
}

/**
 * @param {Outcome} outcome @param {Request} request @param {StreamStub} stub @param {Load} load
 * @returns {Promise<Response>}
 */
async function end(outcome, request, stub, load) {
  switch (outcome.do) {
    case "respond":
      return respond(...outcome.answer)
    case "alone":
      return sendAlone(request, stub, load)
    case "fail":
      throw outcome.error
  }
}

/** @param {Request} request @param {StreamStub} stub @param {Load} load */
function sendAlone({ url }, stub, { headers, body }) {
  const pairs = new Headers()
  const lines = headers.split("\n")
  for (let at = 0; at + 1 < lines.length; at += 2) pairs.set(lines[at], lines[at + 1])
  return stub.fetch(new Request(url, { method: "POST", headers: pairs, body }))
}

/** The bodies, one after the other. @param {Append[]} batch */
function joined(batch) {
  const bytes = new Uint8Array(batch.reduce((sum, { load }) => sum + load.body.byteLength, 0))
  let at = 0
  for (const { load } of batch) {
    bytes.set(new Uint8Array(load.body), at)
    at += load.body.byteLength
  }
  return bytes
}
