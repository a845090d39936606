// Tests the decisions of collapsing with seeded schedules: readers arrive together and disconnect at any moment, leaders end
// early, objects fail or never answer, the cache exists or not, and memory is full or lost.

import assert from "node:assert/strict"
import { test } from "node:test"
import { Reads, UNDER_WAY_MAX, UNDER_WAY_MAX_MS, freshSeconds } from "../../src/cloudflare/js/collapse_decisions.js"
import { assertReproducible, eachSeed } from "./schedule.mjs"

const MAX_AGE = 60
const PUBLIC = `public, max-age=${MAX_AGE}`

/** The answers of an object to a read at offset 7, with weights, and whether other clients and caches may have them. */
const ANSWERS = [
  [40, { kind: "whole", cacheControl: PUBLIC, nextOffset: "8", isLive: false, isForAll: true, isForCaches: true }],
  [20, { kind: "whole", cacheControl: PUBLIC, nextOffset: "8", isLive: true, isForAll: true, isForCaches: true }],
  [10, { kind: "nothing new", cacheControl: PUBLIC, nextOffset: "7", isLive: true, isForAll: true }],
  // The offset was beyond the tail.
  [5, { kind: "nothing new", cacheControl: PUBLIC, nextOffset: "6", isLive: true }],
  [5, { kind: "nothing new", cacheControl: null, nextOffset: null, isLive: true }],
  [5, { kind: "whole", cacheControl: "no-cache", nextOffset: "8", isLive: false }],
  [5, { kind: "whole", cacheControl: "private, no-cache", nextOffset: "8", isLive: false }],
  [5, { kind: "whole", cacheControl: null, nextOffset: "8", isLive: false }],
  // A refusal is never shared, whatever its `Cache-Control`.
  [5, { kind: "other", cacheControl: PUBLIC, nextOffset: "7", isLive: false }],
]

/** The fates of a request to the object, with weights. */
const FATES = [
  [88, "answered"],
  [7, "failed"],
  [5, "lost"],
]

const LATENCIES = [
  [70, 10],
  [20, 3000],
  [10, 70_000],
]

/** An answer in memory, which each expected client uses or releases. */
class SharedModel {
  users = 1

  constructor(answer) {
    this.answer = answer
  }

  expect(more) {
    this.users += more
  }

  release() {
    this.users -= 1
    assert.ok(this.users >= 0, "an answer is released more often than expected")
  }

  made() {
    assert.ok(this.users > 0, "an answer is used more often than expected")
    this.release()
    return this.answer
  }
}

class World {
  constructor(schedule, hasCache) {
    this.schedule = schedule
    this.random = schedule.random
    this.reads = new Reads(() => schedule.now)
    this.hasCache = hasCache
    this.cache = new Map()
    this.clients = []
    this.answers = 0
    /** The reads in progress, by name. */
    this.underWay = new Map()
    this.shared = []
  }

  latency() {
    return this.random.below(this.random.weighted(LATENCIES) + 1)
  }

  later(client, millis, happens) {
    return this.schedule.after(millis, () => client.isGone || happens())
  }

  /** A client arrives; it may disconnect, and the platform may end its request without notice. */
  arrive(key, group, { until = Infinity, leavesAfter, endsAfter }) {
    const client = { id: this.clients.length, key, group, until, arrivedAt: this.schedule.now, hasLeft: false, isGone: false }
    this.clients.push(client)
    const { do: role, read } = this.reads.arrived(key, group, () => ({ followers: [], hasEnded: false, shared: undefined }))
    this.schedule.note(`${client.id} asks for ${group} ${key}: ${role}`)
    client.role = role
    this.assertRole(client, read)
    if (leavesAfter !== undefined) this.later(client, leavesAfter, () => this.leave(client, read))
    if (endsAfter !== undefined) this.schedule.after(endsAfter, () => this.lose(client, read))
    if (role === "lead") this.lead(client, read)
    else if (role === "follow") this.follow(client, read)
    else this.ask(client, { isOver: false }, (answer) => this.over(client, answer, "own"))
  }

  assertRole(client, read) {
    const name = `${client.group} ${client.key}`
    const led = this.underWay.get(name)
    const isLed = led !== undefined && this.schedule.now - led.since < UNDER_WAY_MAX_MS
    assert.equal(client.role === "follow", isLed, `${client.id} does not follow the read in progress, or follows one that has ended`)
    if (client.role === "follow") assert.equal(read, led, "the client follows another read")
    if (client.role === "lead") this.underWay.set(name, read)
  }

  leave(client, read) {
    client.hasLeft = true
    client.wake?.(true)
    // The client no longer needs an answer.
    if (client.role !== "follow") client.asked?.(client.role === "alone" || this.reads.isForNobody(read))
  }

  /** The platform ends the client's request, so its further steps do not happen. */
  lose(client, read) {
    client.isGone = true
    if (read === undefined) return
    if (client.role === "lead" && !read.load.hasEnded) read.load.isLost = true
    read.load.hadLosses = true
  }

  lead(client, read) {
    this.later(client, this.random.below(3), () => {
      const kept = this.kept(client.key)
      if (kept !== undefined) {
        this.reads.found(read)
        this.over(client, kept, "cache")
        return this.end(read)
      }
      const request = { isOver: false }
      client.asked = (isForNobody) => {
        const waiting = read.load.followers.filter((one) => !one.isGone && !one.hasWoken)
        assert.ok(!isForNobody || waiting.length === 0, "the request to the object is cancelled while followers wait")
        if (isForNobody) request.abort?.()
      }
      this.ask(client, request, (answer) => this.answered(client, read, answer))
    })
  }

  answered(client, read, answer) {
    const sharing = answer && this.reads.answered(read, answer, this.hasCache)
    const hasRoom = sharing?.do === "share" && (sharing.expectedBytes === 0 || this.random.chance(0.9))
    if (!hasRoom) {
      this.over(client, answer, "own")
      return this.end(read)
    }
    this.later(client, this.latency(), () => {
      if (this.random.chance(0.03)) {
        this.over(client, undefined, "own")
        return this.end(read)
      }
      const shared = new SharedModel(answer)
      this.shared.push({ shared, read })
      read.load.shared = shared
      answer.sharedAt = this.schedule.now
      shared.expect(this.reads.shared(read))
      if (sharing.isCached) {
        shared.expect(1)
        this.keep(client.key, shared.made())
      }
      this.over(client, shared.made(), "own")
      this.end(read)
    })
  }

  /** Ends a read, and wakes its followers. */
  end(read) {
    this.reads.ended(read)
    this.ended(read)
  }

  ended(read) {
    read.load.hasEnded = true
    if (this.underWay.get(read.name) === read) this.underWay.delete(read.name)
    for (const follower of read.load.followers) follower.wake(false)
  }

  follow(client, read) {
    const longest = this.reads.longestWait(client.until)
    assert.ok(longest <= UNDER_WAY_MAX_MS && longest <= Math.max(0, client.until - this.schedule.now), "the follower waits too long")
    client.wake = (isLate) => {
      if (client.hasWoken) return
      client.hasWoken = true
      client.wokenAt = this.schedule.now
      this.later(client, this.random.pick([0, 0, 1, 10]), () => this.woke(client, read, isLate))
    }
    read.load.followers.push(client)
    this.later(client, longest, () => client.wake(true))
  }

  woke(client, read, isLate) {
    const { do: what, drops } = this.reads.woke(read, isLate, client.hasLeft)
    const { shared } = read.load
    if (drops) shared.release()
    this.schedule.note(`${client.id} wakes: ${what}`)
    if (what === "leave") return this.over(client, undefined, "nobody")
    if (what === "take") return this.over(client, shared.made(), "shared")
    const kept = what === "look" ? this.kept(client.key) : undefined
    if (kept !== undefined) return this.over(client, kept, "cache")
    this.ask(client, { isOver: false }, (answer) => this.over(client, answer, "own"))
  }

  /** Asks the object for this client. */
  ask(client, request, answered) {
    client.isAsking = true
    const fate = this.random.weighted(FATES)
    const end = (answer) => {
      if (request.isOver) return
      request.isOver = true
      client.isAsking = false
      answered(answer)
    }
    request.abort = () => end(undefined)
    if (fate === "lost") return
    this.later(client, this.latency(), () => {
      const answer = { ...this.random.weighted(ANSWERS), id: (this.answers += 1), key: client.key, group: client.group }
      end(fate === "failed" ? undefined : { ...answer, by: client.id })
    })
  }

  kept(key) {
    const found = this.hasCache ? this.cache.get(key) : undefined
    const seconds = found && freshSeconds(found.answer.cacheControl, this.schedule.now - found.at)
    if (seconds === undefined) return undefined
    const age = (this.schedule.now - found.at) / 1000
    assert.ok(seconds > 0 && seconds + age <= MAX_AGE, "a cached answer is used for longer than its max-age")
    return found.answer
  }

  keep(key, answer) {
    assert.ok(this.hasCache && answer.isForCaches, "the cache stores an answer that it must not have")
    const at = this.schedule.now
    this.schedule.after(this.random.below(20), () => this.cache.set(key, { answer, at }))
  }

  /** Sets a client's outcome: an answer, or none if the object failed or the client has left. */
  over(client, answer, from) {
    assert.ok(!("outcome" in client), `${client.id} has two outcomes`)
    client.outcome = answer
    this.schedule.note(`${client.id} has ${answer ? `${answer.id} (${answer.kind})` : "nothing"}, ${from}`)
    if (answer === undefined) return
    assert.equal(answer.key, client.key, "the client gets the answer to another request")
    if (from === "own") return assert.equal(answer.by, client.id, "the client gets the answer to another client's request")
    assert.ok(answer.isForAll, "an answer for one client is shared")
    if (from === "cache") return
    assert.equal(answer.group, client.group, "an answer is shared outside of its group")
    assert.ok(answer.sharedAt >= client.arrivedAt, "the answer is older than the client's request")
    assert.ok(client.wokenAt <= client.until, "the client's token has expired")
    assert.ok(!client.hasLeft, "the client has left and still takes a copy")
  }

  /** The module loses its memory. */
  abandon() {
    const underWay = this.reads.abandoned()
    this.schedule.note("memory is lost")
    for (const read of underWay) this.ended(read)
    this.underWay.clear()
  }

  /** Asserts the final state of all clients and shared answers. */
  assertEnded() {
    for (const client of this.clients) {
      assert.ok("outcome" in client || client.isGone || client.isAsking, `${client.id} never gets an outcome`)
    }
    for (const { shared, read } of this.shared) {
      if (!read.load.hadLosses) assert.equal(shared.users, 0, `an answer to ${read.name} stays in memory`)
    }
  }
}

function play(schedule) {
  const { random } = schedule
  const world = new World(schedule, random.chance(0.6))
  const keys = ["at/7?a", "at/7?b", "at/7?c"].slice(0, 1 + random.below(3))
  const losses = random.pick([0, 0, 0.1, 0.4])
  for (let bursts = 1 + random.below(5); bursts > 0; bursts -= 1) {
    const [at, millis] = [random.below(90_000), random.pick([0, 5, 2000])]
    for (let clients = 1 + random.below(random.pick([3, 30])); clients > 0; clients -= 1) {
      const [key, group] = [random.pick(keys), random.pick(["readers", "readers", "strangers"])]
      const leavesAfter = random.chance(0.2) ? random.below(random.pick([3, 3000, 40_000])) : undefined
      const endsAfter = random.chance(losses) ? random.below(random.pick([3, 3000, 40_000])) : undefined
      const lives = random.chance(0.3) ? random.below(random.pick([30, 5000])) : Infinity
      schedule.after(at + random.below(millis + 1), () => {
        world.arrive(key, group, { until: schedule.now + lives, leavesAfter, endsAfter })
      })
    }
  }
  if (random.chance(0.2)) schedule.after(random.below(90_000), () => world.abandon())
  schedule.run()
  world.assertEnded()
}

test("each reader gets at most one answer, to its own read, that it may have, and never waits without an end", () => {
  const wakings = ["take", "look", "ask", "leave"].map((what) => `wakes: ${what}`)
  eachSeed(play, [...wakings, ": lead", "(whole), cache", "(nothing new), shared", "has nothing, own", "memory is lost"])
})

test("the same seed gives the same trace", () => assertReproducible(play))

test("the number of reads in progress is bounded, and reads whose leaders are gone make room", () => {
  const now = { at: 0 }
  const reads = new Reads(() => now.at)
  const load = () => ({})
  const roles = Array.from({ length: UNDER_WAY_MAX }, (_, at) => reads.arrived(`${at}`, "readers", load).do)
  assert.deepEqual(new Set(roles), new Set(["lead"]))
  assert.equal(reads.arrived("another", "readers", load).do, "alone")
  assert.equal(reads.arrived("0", "readers", load).do, "follow")
  now.at = UNDER_WAY_MAX_MS
  assert.equal(reads.arrived("another", "readers", load).do, "lead")
  assert.equal(reads.arrived("0", "readers", load).do, "lead")
})

test("when memory is lost, followers ask the object at once, and a surviving leader makes no copies for them", () => {
  const reads = new Reads(() => 0)
  const { read } = reads.arrived("a", "readers", () => ({}))
  reads.arrived("a", "readers", () => ({}))
  assert.deepEqual(reads.abandoned(), [read])
  assert.equal(reads.shared(read), 0)
  assert.deepEqual(reads.woke(read, false, false), { do: "ask", drops: false })
})

test("a cached answer stays fresh for the rest of its max-age", () => {
  const rows = [
    [PUBLIC, 0, 60],
    [PUBLIC, 1, 59],
    [PUBLIC, 58_001, 1],
    [PUBLIC, 59_001, undefined],
    [PUBLIC, -2000, undefined],
    [PUBLIC, Number.NaN, undefined],
    ["public", 0, undefined],
    [null, 0, undefined],
  ]
  for (const [cacheControl, ageMillis, seconds] of rows) assert.equal(freshSeconds(cacheControl, ageMillis), seconds)
})
