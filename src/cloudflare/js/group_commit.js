// Appends that wait for others: an isolate has few under way to one stream at a time, and what comes meanwhile goes to the
// stream's object together, in one call. Who appends alone never sees it; a stream that many append to takes more of them,
// for a fraction of the billed requests. What waits, and for whom, is decided in `group_commit_decisions.js`.

import { budget } from "./budget.js"
import { GroupCommit } from "./group_commit_decisions.js"
import { BUSY, SmallBodies } from "./receiving.js"
import { headerLines, respond } from "./respond.js"
import { tenantOf } from "./sending.js"

/**
 * @typedef {object} Load what an append carries
 * @property {string} headers as header lines, those that an append may have
 * @property {ArrayBuffer} body
 * @property {(turn: Turn) => void} take its turn, from whoever has one for it
 *
 * @typedef {import("./group_commit_decisions.js").Append<Load>} Append
 * @typedef {import("./group_commit_decisions.js").Slot<Load>} Slot
 * @typedef {import("./group_commit_decisions.js").Turn<Load>} Turn
 * @typedef {import("./group_commit_decisions.js").Wait} Wait
 * @typedef {import("./group_commit_decisions.js").Lead<Load>} Lead
 * @typedef {import("./group_commit_decisions.js").Outcome} Outcome
 * @typedef {{ names: string[], refusedBody: (why: number) => Response }} Module the headers that an object has to see of an
 *   append, and the answer to one whose body was not received
 */

/** @type {GroupCommit<Load>} */
const commits = new GroupCommit(() => Date.now())

const NO_BODY = new ArrayBuffer(0)

const ignore = () => {}

/**
 * @param {{ request: Request, context: Context }} client
 * @param {Streams} streams
 * @param {string} path the stream's
 * @param {Module} module
 * @returns {Promise<Response>}
 */
export function append({ request, context }, streams, path, module) {
  const slot = commits.begin(path)
  if (slot !== undefined) return underWay(slot, streams.getByName(path).fetch(request))
  const waiting = commits.mayWait(lengthOf(request)) ? enter(path, headerLines(request.headers, module.names)) : undefined
  if (waiting === undefined) return streams.getByName(path).fetch(request)
  const answered = wait(waiting, request, streams.getByName(path), module)
  // Those it takes along are not to suffer if its client breaks off.
  context.waitUntil(answered.then(ignore, ignore))
  return answered
}

/** @param {string} path @param {string} headers */
const enter = (path, headers) => commits.enter(path, headers, { headers, body: NO_BODY, take: ignore })

/** How long its body is, as far as it says. @param {Request} request */
function lengthOf({ body, headers }) {
  if (body === null) return 0
  const length = headers.get("content-length")
  return length === null ? Number.NaN : Number(length)
}

/**
 * Sees when it ends. Nothing keeps it from being broken off, which would cost each append as much as all of this.
 * @template T
 * @param {Slot} slot
 * @param {Promise<T>} answered
 */
function underWay(slot, answered) {
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
    if (typeof body === "number") return module.refusedBody(body)
    // It stays in memory until it is answered.
    hold = budget.hold(body.byteLength, tenant, "")
    if (hold === undefined) return module.refusedBody(BUSY)
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

/** The turn of an append whose body is here. @param {Append} append @returns {Promise<Exclude<Turn, Wait>>} */
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
  // Here and not where another request gave the turn: workerd takes back a request's timers in that request only.
  clearTimeout(timer)
  return turn
}

/**
 * Takes several to the object, and gives each its outcome; the first is the caller's.
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
    outcomes = commits.answered(batch, await underWay(slot, asked))
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
      return byItself(request, stub, load)
    case "fail":
      throw outcome.error
  }
}

/** @param {Request} request @param {StreamStub} stub @param {Load} load */
function byItself({ url }, stub, { headers, body }) {
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
