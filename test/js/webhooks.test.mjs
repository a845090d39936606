// Deliveries to webhooks: how they are signed, and what each response means.

import assert from "node:assert/strict"
import { createPublicKey, verify } from "node:crypto"
import { test } from "node:test"
import { deliver, makeKey, outcomeOf } from "../../src/cloudflare/js/webhooks.js"

const NOW = Date.parse("2026-11-30T00:00:00Z")
const outcome = (status, { text = "", retryAfter = null, isWhole = true, token = "e30.c2ln" } = {}) =>
  outcomeOf({ status, retryAfter, text, isWhole }, token, NOW)

const HOUR_MS = 3_600_000
const BODY = JSON.stringify({ callback_token: "e30.c2ln", text: "ä" })

/** A namespace in which registries have keys, and count the calls for them. */
async function registries() {
  const keys = new Map()
  const calls = []
  const getByName = (path) => ({
    async asked(call) {
      calls.push(`${path} ${call}`)
      if (path.startsWith("broken")) throw new Error("it says e30.c2ln")
      if (!keys.has(path)) keys.set(path, await makeKey())
      const [kid, x, d] = keys.get(path)
      return JSON.stringify(path.startsWith("other") ? "Unknown" : { SigningKey: { kid, x, d } })
    },
  })
  return { keys, calls, getByName }
}

/** Sends a delivery while `fetch` is replaced. */
async function delivered(namespace, registry, validMs, respond, millis = 1000) {
  const { fetch } = globalThis
  globalThis.fetch = async (url, init) => respond({ url, ...init })
  try {
    return await deliver(namespace, registry, validMs, "https://hook.example/", BODY, millis)
  } finally {
    globalThis.fetch = fetch
  }
}

test("a delivery is signed with the key of its registry", async () => {
  const namespace = await registries()
  const sent = []
  const respond = (request) => {
    sent.push(request)
    return Response.json({ done: true })
  }
  for (const registry of ["a", "b"]) {
    assert.deepEqual(await delivered(namespace, registry, HOUR_MS, respond), ["done"])
    const { url, method, redirect, headers, body } = sent.pop()
    assert.deepEqual([url, method, redirect, body], ["https://hook.example/", "POST", "manual", BODY])
    const [, t, kid, signature] = /^t=(\d+),kid=(.+),ed25519=([\w-]{86})$/.exec(headers["webhook-signature"])
    const [expected, x] = namespace.keys.get(registry)
    assert.equal(kid, expected)
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" })
    assert(verify(undefined, Buffer.from(`${t}.${BODY}`), key, Buffer.from(signature, "base64url")))
  }
})

test("a signing key is cached for its time, and at most 1,000 are", async () => {
  const namespace = await registries()
  const respond = () => new Response()
  for (let times = 0; times < 3; times += 1) await delivered(namespace, "cached", HOUR_MS, respond)
  assert.deepEqual(namespace.calls, [`cached "SigningKey"`])
  for (let times = 0; times < 3; times += 1) await delivered(namespace, "never-cached", 0, respond)
  assert.equal(namespace.calls.length, 4)
  for (let at = 0; at < 1000; at += 1) await delivered(namespace, `more-${at}`, HOUR_MS, respond)
  namespace.calls.length = 0
  await delivered(namespace, "more-999", HOUR_MS, respond)
  await delivered(namespace, "cached", HOUR_MS, respond)
  assert.deepEqual(namespace.calls, [`cached "SigningKey"`])
})

test("without a signing key, nothing is sent", async () => {
  const namespace = await registries()
  const never = () => assert.fail("sent")
  for (const [registry, why] of [["broken", "it says [token]"], ["other", "the registry returned no key"]]) {
    const message = `not sent, because the signing key cannot be read: ${why}`
    assert.deepEqual(await delivered(namespace, registry, HOUR_MS, never), ["failed", message, undefined, false])
  }
})

test("a delivery has a time limit and reports network errors", async () => {
  const namespace = await registries()
  const silence = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  assert.deepEqual(await delivered(namespace, "a", HOUR_MS, silence, 50), ["failed", "timed out after 0.05 s", undefined, false])
  const breaks = () => Promise.reject(new Error("Network connection lost."))
  assert.deepEqual(await delivered(namespace, "a", HOUR_MS, breaks), ["failed", "Network connection lost.", undefined, false])
})

test("only a whole 2xx with done: true is done", () => {
  for (const status of [200, 201, 202, 299]) assert.deepEqual(outcome(status, { text: `{"done":true}` }), ["done"])
  assert.deepEqual(outcome(200, { text: ` { "other": 1, "done": true } ` }), ["done"])
  for (const text of ["", "null", "true", "[]", "{", `{"done":1}`, `{"done":"true"}`, `[{"done":true}]`]) {
    assert.deepEqual(outcome(200, { text }), ["accepted"])
  }
  assert.deepEqual(outcome(200, { text: `{"done":true}`, isWhole: false }), ["accepted"])
  for (const status of [300, 302, 400, 500]) assert.equal(outcome(status, { text: `{"done":true}` })[0], "failed")
})

test("Retry-After of 429 and 503 is read as seconds or a date", () => {
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
