// Tests the decisions of group commit with seeded schedules: clients arrive in bursts and disconnect at any moment; objects
// fail before or after they have stored an append, answer late or never, or run an older build without `appendAll`.

import assert from "node:assert/strict"
import { test } from "node:test"
import * as bounds from "../../src/cloudflare/js/group_commit_decisions.js"
import { assertReproducible, eachSeed } from "./schedule.mjs"

const { GroupCommit, UNDER_WAY_MAX, BATCH_APPENDS_MAX, WAITING_MAX, LINES_MAX } = bounds
const { WAIT_MAX_MS, ANSWER_MAX_MS, STALE_MS, PLACE_MAX_MS } = bounds

/** The fates of a request, with their weights. */
const FATES = [
  [85, "answered"],
  [4, "failed before"],
  [4, "failed after"],
  [3, "lost before"],
  [4, "lost after"],
]

/** The longest latency of a request in each direction in milliseconds, with weights. */
const LATENCIES = [
  [60, 3],
  [30, 40],
  [8, 400],
  [2, 40_000],
]

/** The longest time until a body arrives in milliseconds, with weights. */
const BODIES = [
  [80, 0],
  [17, 60],
  [3, 30_000],
]

/** A stream's object, which applies appends in the order of their arrival. */
class StreamModel {
  applied = []

  constructor(path, knowsAppendAllFrom) {
    this.path = path
    this.knowsAppendAllFrom = knowsAppendAllFrom
  }
}

class Client {
  isGone = false
  /** Whether it waits for its own request, which may never end. */
  isSending = false
  outcome
  append

  constructor(id, stream) {
    this.id = id
    this.stream = stream
  }
}

class World {
  constructor(schedule) {
    this.schedule = schedule
    this.random = schedule.random
    this.commits = new GroupCommit(() => schedule.now)
    this.clients = []
    /** The start times of the requests in flight, by path and slot. */
    this.underWay = new Map()
    this.joined = 0
  }

  between(least, most) {
    return least + this.random.below(most - least + 1)
  }

  latency() {
    return this.random.below(this.random.weighted(LATENCIES) + 1)
  }

  /** The number of slots that have not expired. */
  counted(path) {
    const slots = this.underWay.get(path) ?? new Map()
    return [...slots.values()].filter((since) => this.schedule.now - since < STALE_MS).length
  }

  started(path, slot) {
    if (!this.underWay.has(path)) this.underWay.set(path, new Map())
    this.underWay.get(path).set(slot, this.schedule.now)
  }

  arrive(stream, { bytes, headers, leavesAfter }) {
    const client = new Client(this.clients.length, stream)
    this.clients.push(client)
    if (leavesAfter !== undefined) this.schedule.after(leavesAfter, () => (client.isGone = true))
    const before = this.counted(stream.path)
    const slot = this.commits.begin(stream.path)
    this.schedule.note(`${client.id} arrives at ${stream.path}`, slot ? "and is sent" : "")
    if (slot !== undefined) {
      assert.ok(before < UNDER_WAY_MAX, `${before} requests are in flight, and another begins`)
      this.started(stream.path, slot)
      return this.goAlone(client, slot)
    }
    assert.ok(before >= UNDER_WAY_MAX, `only ${before} requests are in flight, and the next one does not begin`)
    const mayWait = this.commits.mayWait(bytes)
    client.append = mayWait ? this.commits.enter(stream.path, headers, client) : undefined
    if (client.append === undefined) return this.goAlone(client)
    assert.ok(bytes <= bounds.APPEND_MAX_BYTES && headers.length <= bounds.HEADERS_MAX_CHARS, "a large append waits")
    this.waitForBody(client)
  }

  waitForBody(client) {
    const millis = this.random.below(this.random.weighted(BODIES) + 1)
    const isRefused = this.random.chance(0.03)
    this.later(client, millis, () => {
      if (isRefused) return this.over(client, "refused")
      client.joinedAt = this.schedule.now
      client.joined = this.joined += 1
      this.take(client, this.commits.received(client.append))
    })
  }

  /** Schedules a step of a client's request, which does not happen if the platform has ended the request. */
  later(client, millis, happens) {
    return this.schedule.after(millis, () => client.isGone || happens())
  }

  /** Gives a client its turn, as `group_commit.js` does: a client has only one final turn, which it then carries out. */
  take(client, turn) {
    if (turn.do === "wait") {
      if (turn.millis !== WAIT_MAX_MS) this.schedule.note(client.id, "is overdue")
      // The timer is never cleared, because one request cannot clear another's.
      this.later(client, turn.millis, () => {
        const next = this.commits.waited(client.append)
        if (next !== undefined) this.take(client, next)
      })
      return
    }
    assert.ok(!client.hasTurn, `${client.id} has had its turn`)
    client.hasTurn = true
    if (turn.do === "lead") this.assertTogether(client, turn)
    else assert.ok(client.isGone || this.schedule.now <= client.joinedAt + WAIT_MAX_MS + ANSWER_MAX_MS + WAIT_MAX_MS, `${client.id} waits too long`)
    this.later(client, 0, () => this.carryOut(client, turn))
  }

  assertTogether(client, { batch, slot }) {
    const clients = batch.map(({ load }) => load)
    assert.equal(clients[0], client, "the leading append is not the first of its batch")
    assert.ok(batch.length <= BATCH_APPENDS_MAX, `a batch has ${batch.length} appends`)
    assert.ok(clients.every(({ stream }) => stream === client.stream), "a batch has appends to different streams")
    const isInOrder = clients.every((one, at) => at < 2 || one.joined > clients[at - 1].joined)
    assert.ok(isInOrder && clients.every((one) => one.isGone || one.joinedAt >= client.joinedAt), "a batch is not in the order of arrival")
    for (const one of clients) {
      assert.ok(!one.wasTaken, `${one.id} is sent twice`)
      one.wasTaken = true
      assert.ok(one.isGone || this.schedule.now <= one.joinedAt + WAIT_MAX_MS, `${one.id} was in line for too long`)
    }
    // Only an append that has waited for the full time may exceed the limit of requests in flight.
    const isInTurn = this.underWay.get(client.stream.path)?.has(slot) || this.counted(client.stream.path) < UNDER_WAY_MAX
    assert.ok(isInTurn || this.schedule.now === client.joinedAt + WAIT_MAX_MS, "too many requests are in flight")
    this.started(client.stream.path, slot)
    this.schedule.note(clients.map(({ id }) => id).join(), "form a batch", isInTurn ? "" : "beyond the limit")
  }

  carryOut(client, turn) {
    switch (turn.do) {
      case "lead":
        return this.goTogether(client, turn)
      case "respond":
        assert.equal(turn.answer[1], `append\n${client.id}\n`, `${client.id} gets the response of another append`)
        return this.over(client, "responded")
      case "alone":
        return this.goAlone(client)
      default:
        return this.over(client, "failed")
    }
  }

  goAlone(client, slot) {
    this.send(client, { clients: [client], slot, isTogether: false }, (answers) => {
      this.over(client, answers === undefined ? "failed" : "responded")
    })
  }

  goTogether(client, { batch, slot }) {
    const clients = batch.map(({ load }) => load)
    this.send(client, { clients, slot, isTogether: true }, (answers, error) => {
      const { own, others } = answers ? this.commits.answered(batch, answers) : this.commits.failed(batch, error)
      this.later(client, 0, () => this.carryOut(client, own))
      for (const { append, turn } of others) this.take(append.load, turn)
    })
  }

  /** Sends a request of this client, which may end without an answer. */
  send(client, { clients, slot, isTogether }, answered) {
    const { stream } = client
    client.isSending = true
    const fate = this.random.weighted(FATES)
    const end = (answers, error) => {
      client.isSending = false
      this.ended(stream.path, slot)
      answered(answers, error)
    }
    this.schedule.after(this.latency(), () => {
      if (isTogether && this.schedule.now < stream.knowsAppendAllFrom) {
        this.schedule.note(stream.path, "does not know appendAll")
        const unknown = new TypeError('The RPC receiver does not implement the method "appendAll".')
        return this.later(client, this.latency(), () => end(undefined, unknown))
      }
      const isApplied = ["answered", "failed after", "lost after"].includes(fate)
      const answers = isApplied ? clients.map((one) => this.apply(stream, one, isTogether)) : undefined
      this.schedule.note(`${clients.map(({ id }) => id)}: ${fate}`)
      if (fate.startsWith("lost")) return
      const error = fate === "answered" ? undefined : new Error(fate)
      this.later(client, this.latency(), () => end(error ? undefined : answers, error))
    })
  }

  /** Applies an append. In a batch, single appends may fail; those are not stored. */
  apply(stream, client, isTogether) {
    if (isTogether && this.random.chance(0.02)) return [0, "a trap"]
    assert.ok(!stream.applied.includes(client.id), `${client.id} is applied twice`)
    stream.applied.push(client.id)
    return [204, `append\n${client.id}\n`]
  }

  ended(path, slot) {
    if (slot === undefined) return
    this.underWay.get(path).delete(slot)
    const next = this.commits.ended(slot)
    if (next === undefined) return
    this.underWay.get(path).set(slot, this.schedule.now)
    this.take(next.append.load, next.turn)
  }

  over(client, outcome) {
    assert.equal(client.outcome, undefined, `${client.id} has two outcomes`)
    client.outcome = outcome
    this.schedule.note(client.id, outcome)
    if (client.append !== undefined) this.commits.left(client.append)
  }

  /** Asserts the final state of all clients. */
  assertEnded() {
    for (const client of this.clients) {
      const applied = client.stream.applied.filter((id) => id === client.id).length
      if (client.outcome === "responded") assert.equal(applied, 1, `${client.id} was answered and is not stored exactly once`)
      if (client.outcome === "refused") assert.equal(applied, 0, `${client.id} was refused and is stored`)
      assert.ok(client.outcome !== undefined || client.isGone || client.isSending, `${client.id} never gets an outcome`)
    }
  }
}

/** Runs one schedule: some streams, and clients that arrive in bursts. */
function play(schedule) {
  const world = new World(schedule)
  const { random } = schedule
  const streams = ["a", "b", "c"].slice(0, 1 + random.below(3)).map((path) => {
    return new StreamModel(path, random.chance(0.25) ? schedule.now + random.below(2000) : 0)
  })
  for (let bursts = world.between(1, 6); bursts > 0; bursts -= 1) {
    const [at, millis, share] = [random.below(1500), random.pick([0, 20, 300]), random.pick([0, 0, 0.1, 0.5])]
    for (let clients = world.between(1, random.pick([10, 40, 120])); clients > 0; clients -= 1) {
      const stream = random.pick(streams)
      const bytes = random.chance(0.05) ? random.pick([Number.NaN, 1 << 20, bounds.APPEND_MAX_BYTES]) : random.below(2000)
      const headers = "x".repeat(random.chance(0.02) ? bounds.HEADERS_MAX_CHARS + random.below(2) : 20)
      const leavesAfter = random.chance(share) ? random.below(random.pick([3, 60, 2000, 40_000])) : undefined
      schedule.after(at + random.below(millis + 1), () => world.arrive(stream, { bytes, headers, leavesAfter }))
    }
  }
  schedule.run()
  world.assertEnded()
}

test("each append is stored at most once, gets its own response, and never waits without an end", () => {
  const fates = FATES.map(([, fate]) => `: ${fate}`)
  eachSeed(play, [...fates, "form a batch", "beyond the limit", "does not know appendAll", "overdue", "refused", "responded"])
})

test("the same seed gives the same trace", () => assertReproducible(play))

/** A line whose slots are all taken. */
function crowded(now = { at: 0 }) {
  const commits = new GroupCommit(() => now.at)
  const slots = Array.from({ length: UNDER_WAY_MAX }, () => commits.begin("a"))
  assert.ok(slots.every((slot) => slot !== undefined))
  return { commits, slots, now }
}

test("the number of waiting appends is bounded, and lost places become free again", () => {
  const { commits, now } = crowded()
  const all = Array.from({ length: WAITING_MAX }, () => (commits.mayWait(1) ? commits.enter("a", "", {}) : undefined))
  assert.ok(all.every((append) => append !== undefined))
  assert.equal(commits.mayWait(1), false)
  commits.left(all[0])
  assert.equal(commits.mayWait(1), true)
  commits.enter("a", "", {})
  now.at = PLACE_MAX_MS - 1
  assert.equal(commits.mayWait(1), false)
  now.at = PLACE_MAX_MS
  assert.equal(commits.mayWait(1), true)
})

test("the number of lines is bounded, and appends to streams without a line never wait", () => {
  const now = { at: 0 }
  const commits = new GroupCommit(() => now.at)
  for (let at = 0; at < LINES_MAX; at += 1) commits.begin(`${at}`)
  for (let more = 0; more < 3 * UNDER_WAY_MAX; more += 1) assert.ok(commits.begin("another"))
  // From now on all lines are idle.
  now.at = STALE_MS
  const begun = Array.from({ length: UNDER_WAY_MAX + 1 }, () => commits.begin("another"))
  assert.deepEqual(begun.map((slot) => slot !== undefined), [true, true, true, true, false])
})

test("an in-flight slot expires, and an expired slot frees no other when its request ends", () => {
  const { commits, slots, now } = crowded()
  assert.equal(commits.begin("a"), undefined)
  now.at = STALE_MS
  const again = slots.map(() => commits.begin("a"))
  assert.ok(again.every((slot) => slot !== undefined))
  for (const slot of slots) assert.equal(commits.ended(slot), undefined)
  assert.equal(commits.begin("a"), undefined)
})

test("an append without an answer from the object fails", () => {
  const { commits, slots } = crowded()
  const appends = [1, 2].map(() => commits.enter("a", "", {}))
  for (const append of appends) assert.deepEqual(commits.received(append), { do: "wait", millis: WAIT_MAX_MS })
  const { turn } = commits.ended(slots[0])
  const { own, others } = commits.answered(turn.batch, [[204, "", undefined]])
  assert.deepEqual([own.do, ...others.map((one) => one.turn.do)], ["respond", "fail"])
})
