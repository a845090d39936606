// What an answer of a webhook means.

import assert from "node:assert/strict"
import { test } from "node:test"
import { outcomeOf } from "../../src/cloudflare/js/webhooks.js"

const NOW = Date.parse("2026-11-30T00:00:00Z")
const outcome = (status, { text = "", retryAfter = null, isWhole = true, token = "e30.c2ln" } = {}) =>
  outcomeOf({ status, retryAfter, text, isWhole }, token, NOW)

test("only a whole 2xx with done: true is done", () => {
  for (const status of [200, 201, 202, 299]) assert.deepEqual(outcome(status, { text: `{"done":true}` }), ["done"])
  assert.deepEqual(outcome(200, { text: ` { "other": 1, "done": true } ` }), ["done"])
  for (const text of ["", "null", "true", "[]", "{", `{"done":1}`, `{"done":"true"}`, `[{"done":true}]`]) {
    assert.deepEqual(outcome(200, { text }), ["accepted"])
  }
  assert.deepEqual(outcome(200, { text: `{"done":true}`, isWhole: false }), ["accepted"])
  for (const status of [300, 302, 400, 500]) assert.equal(outcome(status, { text: `{"done":true}` })[0], "failed")
})

test("Retry-After counts in seconds and as a date, of 429 and 503 only", () => {
  const wait = (status, retryAfter) => outcome(status, { retryAfter })[2]
  assert.equal(wait(429, "7"), 7000)
  assert.equal(wait(503, "Mon, 30 Nov 2026 00:01:00 GMT"), 60_000)
  assert.equal(wait(503, "Sun, 29 Nov 2026 00:00:00 GMT"), 0)
  for (const wrong of [null, "", "soon", "-1", "1.5x"]) assert.equal(wait(503, wrong) ?? 0, 0)
  assert.equal(wait(500, "7"), undefined)
})

test("only 410 is gone", () => {
  assert.deepEqual(outcome(410), ["failed", "status 410", undefined, true])
  assert.deepEqual(outcome(404), ["failed", "status 404", undefined, false])
})

test("a message has at most 200 bytes of printable text, and never the token", () => {
  const message = (text) => outcome(500, { text })[1]
  assert.equal(message("no\u0000\u001b[1m\r\n  way\u202e!"), "status 500: no [1m way !")
  assert.equal(message("ä".repeat(500)), `status 500: ${"ä".repeat(100)}`)
  assert.equal(message(`a${"ä".repeat(500)}`), `status 500: a${"ä".repeat(99)}`)
  assert.equal(message("the token e30.c2ln and e30.c2ln"), "status 500: the token [token] and [token]")
  assert.equal(message(`${"x".repeat(196)} e30.c2ln`), `status 500: ${"x".repeat(196)} [to`)
})
