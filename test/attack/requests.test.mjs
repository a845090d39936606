// The standing attack: seeded hostile requests over raw sockets against plain workerd, while clients write and read an
// innocent stream. `ATTACKS=<n>` sends more requests, `SEED=<n>` chooses others, and `REQUEST=<n>` repeats a single one
// that a failure names.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { numbers, startWorkerd } from "../platform/support.mjs"
import { ANSWER_MS, Attack, failuresIn } from "./attack.mjs"
import { openFolder } from "./folder.mjs"
import { Innocent } from "./innocent.mjs"
import { Peak } from "./peak.mjs"
import { WORLDS } from "./worlds.mjs"

const MIB = 2 ** 20
const SEED = Number(process.env.SEED ?? 1)
/** The requests of all modes together: each mode sends every third. */
const ATTACKS = Number(process.env.ATTACKS ?? 20_000)
const REQUESTS = process.env.REQUEST ? [Number(process.env.REQUEST)] : numbers(ATTACKS)
/** A shorter attack does not reach every rule. */
const isLong = REQUESTS.length >= 20_000

/** The share of the requests that warms up the server: V8 compiles the code and the streams are created. */
const WARM_UP = 1 / 4
/**
 * The server's allowed growth in memory after the warm-up: at most 64 MiB for its clients, some 200 objects at 0.3 MiB
 * each, and as much again that the allocators return late. An attack took 50 to 140 MiB.
 */
const GROWTH_MAX_BYTES = 256 * MIB

/** The share of responses that must be 2xx: an attack that is always refused tests only the parser. */
const ACCEPTED_MIN = 0.35
/** Refusals that each long attack receives, from the first check of a request to the last. */
const REFUSALS = [
  ...["unknown_route", "invalid_path", "method_not_allowed", "SUBSCRIPTION_NOT_FOUND", "INVALID_REQUEST", "read_only", "unauthorized", "forbidden"],
  ...["invalid_header", "invalid_query", "broken_body", "body_too_large", "empty_body", "empty_batch", "invalid_json", "encoded_body"],
  ...["missing_content_type", "content_type_mismatch", "stream_not_found", "stream_exists", "stream_closed", "stream_gone"],
  ...["Sequence conflict", "Expected offset conflict", "stale_epoch", "epoch_starts_at_zero", "producer_gap"],
  ...["offset_beyond_tail", "offset_gone"],
  ...["held_by_forks", "source_not_found", "source_gone"],
]

/** Live responses end soon, and the log shows failures only. */
const VARS = { LOG_LEVEL: "", LONG_POLL_TIMEOUT_SECONDS: "1", SSE_LIFETIME_SECONDS: "1" }
/** Faults of each kind that are shown. */
const SHOWN = 10

const seen = new Set()

for (const [index, [mode, world]] of Object.entries(WORLDS).entries()) {
  const requests = REQUESTS.filter((number) => number % Object.keys(WORLDS).length === index)

  describe.skipIf(requests.length === 0)(`${requests.length} hostile requests in mode ${mode}`, () => {
    let server, folder, attack, innocent, grown
    beforeAll(async () => {
      folder = await openFolder()
      server = await startWorkerd(folder.path, { ...VARS, ...world.vars })
      const writing = await Innocent.begin(server, world)
      attack = new Attack({ server, world, seed: SEED, secrets: writing.secrets })
      const warm = Math.floor(requests.length * WARM_UP)
      await attack.run(requests.slice(0, warm))
      const peak = new Peak(server.pid)
      const before = peak.bytes
      await attack.run(requests.slice(warm))
      grown = peak.stop() - before
      innocent = await writing.end()
      for (const code of attack.codes.keys()) seen.add(code)
      console.log(`${mode}: ${attack.summary}; ${Math.round(grown / MIB)} MiB more memory`)
    }, 60_000 + requests.length * 50)
    afterAll(async () => {
      await server?.kill()
      await folder?.remove()
    })

    const nothingOf = (kind) => expect(attack.faults(kind).slice(0, SHOWN)).toEqual([])

    test("no response is a failure of the server", () => nothingOf("failure"))
    test("the server logs no failure", () => expect(failuresIn(server.log).slice(0, SHOWN)).toEqual([]))
    test(`the server answers each request or closes its connection within ${ANSWER_MS} ms`, () => nothingOf("hang"))
    test("each response has its standard headers, and each refusal an error code", () => nothingOf("form"))
    test("no response contains another tenant's bytes", () => nothingOf("crosstalk"))
    test("the server's memory stays within its bound", () => expect(grown).toBeLessThan(GROWTH_MAX_BYTES))

    test("the innocent stream keeps its bytes, tail and producer, and its reader receives each message once", () => {
      const { count, delivered, ...others } = innocent
      expect(count).toBeGreaterThan(0)
      expect(others).toEqual({ content: true, tail: true, producer: [204, 409, `${count}`] })
      expect(delivered).toEqual(numbers(count))
    })

    test.runIf(isLong)("the attack reaches the rules of a stream", () => {
      expect(attack.acceptedShare).toBeGreaterThan(ACCEPTED_MIN)
    })
  })
}

test.runIf(isLong)("the attack triggers each refusal", () => {
  expect(REFUSALS.filter((code) => !seen.has(code))).toEqual([])
})
