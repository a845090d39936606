// The decisions of collapsing under seeded schedules: readers that come at the same time and leave at any moment, leaders
// that end in the middle, objects that fail or never answer, a cache or none, and memory that is full or is lost.

import assert from "node:assert/strict"
import { test } from "node:test"
import { Reads, UNDER_WAY_MAX, UNDER_WAY_MAX_MS, keptFor } from "../../src/cloudflare/js/collapse_decisions.js"
import { assertReproducible, eachSeed } from "./schedule.mjs"

const MAX_AGE = 60
const PUBLIC = `public, max-age=${MAX_AGE}`

/** What an object says, and whether a client that has not asked for it may have it: of the key `at/7`, or another. */
const ANSWERS = [
  [40, { kind: "whole", cacheControl: PUBLIC, nextOffset: "8", isLive: false, isForAll: true, isForCaches: true }],
  [20, { kind: "whole", cacheControl: PUBLIC, nextOffset: "8", isLive: true, isForAll: true, isForCaches: true }],
  [10, { kind: "nothing new", cacheControl: PUBLIC, nextOffset: "7", isLive: true, isForAll: true }],
  // One past the tail.
  [5, { kind: "nothing new", cacheControl: PUBLIC, nextOffset: "6", isLive: true }],
  [5, { kind: "nothing new", cacheControl: null, nextOffset: null, isLive: true }],
  [5, { kind: "whole", cacheControl: "no-cache", nextOffset: "8", isLive: false }],
  [5, { kind: "whole", cacheControl: "private, no-cache", nextOffset: "8", isLive: false }],
  [5, { kind: "whole", cacheControl: null, nextOffset: "8", isLive: false }],
  // A refusal, whatever it says of caches.
  [5, { kind: "other", cacheControl: PUBLIC, nextOffset: "7", isLive: false }],
]

/** What becomes of a request to the object. */
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

/** An answer in memory: each of those that were expected takes it or releases it. */
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
    assert.ok(this.users >= 0, "an answer is released more often than it was expected to be")
  }

  made() {
    assert.ok(this.users > 0, "an answer is used that was not expected to be")
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
    /** By name: what is under way, as far as its leader lives. */
    this.underWay = new Map()
    this.shared = []
  }

  latency() {
    return this.random.below(this.random.weighted(LATENCIES) + 1)
  }

  later(client, millis, happens) {
    return this.schedule.after(millis, () => client.isGone || happens())
  }

  /** A client asks, may leave, and its request may end without notice. */
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
    assert.equal(client.role === "follow", isLed, `${client.id}: what is under way is not shared, or what is not is`)
    if (client.role === "follow") assert.equal(read, led, "it follows another")
    if (client.role === "lead") this.underWay.set(name, read)
  }

  leave(client, read) {
    client.hasLeft = true
    client.wake?.(true)
    // Nobody listens to what comes now.
    if (client.role !== "follow") client.asked?.(client.role === "alone" || this.reads.isForNobody(read))
  }

  /** The platform ends it: what it was to do does not happen. */
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
        assert.ok(!isForNobody || waiting.length === 0, "followers wait, and the object is not asked any more")
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
      if (sharing.isKept) {
        shared.expect(1)
        this.keep(client.key, shared.made())
      }
      this.over(client, shared.made(), "own")
      this.end(read)
    })
  }

  /** Its followers wake. */
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
    assert.ok(longest <= UNDER_WAY_MAX_MS && longest <= Math.max(0, client.until - this.schedule.now), "it waits too long")
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

  /** Asks the object: it answers for this client. */
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
    const seconds = found && keptFor(found.answer.cacheControl, this.schedule.now - found.at)
    if (seconds === undefined) return undefined
    const age = (this.schedule.now - found.at) / 1000
    assert.ok(seconds > 0 && seconds + age <= MAX_AGE, "an answer is kept for longer than it says")
    return found.answer
  }

  keep(key, answer) {
    assert.ok(this.hasCache && answer.isForCaches, "the cache is given what it must not have")
    const at = this.schedule.now
    this.schedule.after(this.random.below(20), () => this.cache.set(key, { answer, at }))
  }

  /** Its outcome: an answer, or none because the object failed, or because nobody listens. */
  over(client, answer, from) {
    assert.ok(!("outcome" in client), `${client.id} has two outcomes`)
    client.outcome = answer
    this.schedule.note(`${client.id} has ${answer ? `${answer.id} (${answer.kind})` : "nothing"}, ${from}`)
    if (answer === undefined) return
    assert.equal(answer.key, client.key, "it has the answer to another request")
    if (from === "own") return assert.equal(answer.by, client.id, "it has another's answer")
    assert.ok(answer.isForAll, "what is for its own client alone is shared")
    if (from === "cache") return
    assert.equal(answer.group, client.group, "it is shared with others than its group")
    assert.ok(answer.sharedAt >= client.arrivedAt, "it is older than the question")
    assert.ok(client.wokenAt <= client.until, "its token has ended")
    assert.ok(!client.hasLeft, "nobody takes it")
  }

  /** The module has lost its memory. */
  abandon() {
    const underWay = this.reads.abandoned()
    this.schedule.note("memory is lost")
    for (const read of underWay) this.ended(read)
    this.underWay.clear()
  }

  /** What must be so when nothing is left to happen. */
  assertEnded() {
    for (const client of this.clients) {
      assert.ok("outcome" in client || client.isGone || client.isAsking, `${client.id} waits for ever`)
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

test("each reader has one answer, to what it asked, that it may have, and none waits for ever", () => {
  const wakings = ["take", "look", "ask", "leave"].map((what) => `wakes: ${what}`)
  eachSeed(play, [...wakings, ": lead", "(whole), cache", "(nothing new), shared", "has nothing, own", "memory is lost"])
})

test("a seed says it all", () => assertReproducible(play))

test("so many are waited for at most, and those whose leaders are gone make room", () => {
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

test("memory that is lost: followers ask at once, and a leader that goes on makes no copy for them", () => {
  const reads = new Reads(() => 0)
  const { read } = reads.arrived("a", "readers", () => ({}))
  reads.arrived("a", "readers", () => ({}))
  assert.deepEqual(reads.abandoned(), [read])
  assert.equal(reads.shared(read), 0)
  assert.deepEqual(reads.woke(read, false, false), { do: "ask", drops: false })
})

test("how long what is in the cache may be kept", () => {
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
  for (const [cacheControl, ageMillis, seconds] of rows) assert.equal(keptFor(cacheControl, ageMillis), seconds)
})
