// Deliveries to webhooks: how they are signed, and what is read of a response.

import assert from "node:assert/strict"
import { createPublicKey, verify } from "node:crypto"
import { test } from "node:test"
import { deliver, makeKey } from "../../src/cloudflare/js/webhooks.js"

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
    assert.deepEqual(await delivered(namespace, registry, HOUR_MS, respond), [200, true, `{"done":true}`, undefined])
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
    assert.deepEqual(await delivered(namespace, registry, HOUR_MS, never), [0, false, message, undefined, true])
  }
})

test("a delivery has a time limit and reports network errors", async () => {
  const namespace = await registries()
  const silence = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  assert.deepEqual(await delivered(namespace, "a", HOUR_MS, silence, 50), [0, false, "timed out after 0.05 s", undefined])
  const breaks = () => Promise.reject(new Error("Network connection lost."))
  assert.deepEqual(await delivered(namespace, "a", HOUR_MS, breaks), [0, false, "Network connection lost.", undefined])
})

/** What is read of a response. */
const read = async (body, init) => delivered(await registries(), "a", HOUR_MS, () => new Response(body, init))

test("only a complete body with done: true is done", async () => {
  for (const body of [`{"done":true}`, ` { "other": 1, "done": true } `]) assert.equal((await read(body))[1], true)
  for (const body of ["", "null", "true", "[]", "{", `{"done":1}`, `{"done":"true"}`, `[{"done":true}]`]) {
    assert.equal((await read(body))[1], false)
  }
  assert.equal((await read(`{"done":true}${" ".repeat(64 << 10)}`))[1], false)
  assert.deepEqual((await read(null, { status: 204 })).slice(0, 3), [204, false, ""])
})

test("Retry-After is read as seconds or a date", async () => {
  const wait = async (value) => (await read("", { status: 503, headers: { "retry-after": value } }))[3]
  assert.equal(await wait("7"), 7000)
  const inAMinute = await wait(new Date(Date.now() + 60_000).toUTCString())
  assert(inAMinute > 50_000 && inAMinute <= 60_000)
  assert.equal(await wait("Sun, 29 Nov 2020 00:00:00 GMT"), 0)
  for (const wrong of ["", "soon", "1.5x"]) assert.equal(await wait(wrong), undefined)
  assert.equal((await read("", { status: 503 }))[3], undefined)
})

test("a failure with an incomplete body has its status", async () => {
  const broken = (status) =>
    read(new ReadableStream({ pull: (own) => own.enqueue(Buffer.from("no")), cancel() {} }, { highWaterMark: 1 }).pipeThrough(breaksAfter(3)), { status })
  assert.deepEqual((await broken(410)).slice(0, 3), [410, false, "nonono"])
  assert.deepEqual((await broken(200)).slice(0, 3), [0, false, "broken"])
})

/** Fails after that many chunks. */
const breaksAfter = (count) =>
  new TransformStream({
    transform(chunk, own) {
      if (count > 0) own.enqueue(chunk)
      else throw new Error("broken")
      count -= 1
    },
  })

test("a text has at most 200 bytes, is printable, and never has the token", async () => {
  const text = async (body) => (await read(body, { status: 500 }))[2]
  assert.equal(await text("no\u0000\u001b[1m\r\n  way\u202e!"), "no [1m way !")
  assert.equal(await text("ä".repeat(500)), "ä".repeat(100))
  assert.equal(await text(`a${"ä".repeat(500)}`), `a${"ä".repeat(99)}`)
  assert.equal(await text("the token e30.c2ln and e30.c2ln"), "the token [token] and [token]")
  assert.equal(await text(`${"x".repeat(196)} e30.c2ln`), `${"x".repeat(196)} [to`)
})
