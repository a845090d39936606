// Lookups for authorisation: a request over the limit of its address causes none, and concurrent requests share each
// lookup.

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { bearer, inSeconds, keyPair, makeToken, secretKey } from "../tokens.mjs"
import { HttpConnection } from "./raw.mjs"
import { BYTES, elsewhere, numbers, scratch, startWorkerd, unique } from "./support.mjs"

const JWKS = "https://keys.example/jwks"
const key = secretKey()
const pair = keyPair("ES256", "public")
const ADMIN_TOKEN = "an-administrator-of-the-server"
/** The address whose requests are over the limit. */
const LIMITED = { "cf-connecting-ip": "192.0.2.99" }
const CROWD = 40

/** Key servers, KV and rate limits. Each logs its requests, and KV and key servers answer once they are released. */
const world = `
import { WorkerEntrypoint } from "cloudflare:workers"
const say = (event, what) => console.log(JSON.stringify({ event, what }))
let isHeld = false
async function passed() {
  // Poll, because workerd would treat waiting for another request's promise as a hang.
  while (isHeld) await scheduler.wait(5)
}
const project = (name) => {
  if (name.startsWith("own")) return JSON.stringify({ keys: [${JSON.stringify(key)}] })
  if (name.startsWith("jwks")) return JSON.stringify({ jwks_url: "${JWKS}/" + name })
  return null
}
export class Registry extends WorkerEntrypoint {
  async get(key) {
    say("kv", key)
    await passed()
    return project(key.slice("project:".length))
  }
}
export class Limit extends WorkerEntrypoint {
  limit({ key }) {
    say("limit", key)
    return { success: key !== "address 192.0.2.99" }
  }
}
export default {
  async fetch({ url }) {
    const { hostname, pathname } = new URL(url)
    if (hostname === "127.0.0.1") {
      isHeld = pathname === "/hold"
      return new Response()
    }
    say("fetch", pathname)
    await passed()
    if (pathname.includes("fails")) return new Response(null, { status: 500 })
    return new Response(${JSON.stringify(JSON.stringify({ keys: [pair.jwk] }))})
  },
}
`

let server
beforeAll(async () => {
  server = await startWorkerd(await scratch(), { ADMIN_TOKEN, PROJECT_KEYS: JSON.stringify({ known: { keys: [key] } }) }, undefined, world)
})
afterAll(() => server?.kill())
const control = async (what) => (await fetch(`${server.worldUrl}/${what}`)).arrayBuffer()
beforeEach(() => control("release"))

/** A project that no other test uses. */
const projectOf = (kind) => unique(kind)
const claims = (project) => ({ sub: project, exp: inSeconds(60) })
const publicToken = (project, kid = pair.jwk.kid) => pair.token(claims(project), { kid })
const forged = (project, n) => `${publicToken(project).split(".").slice(0, 2).join(".")}.${Buffer.alloc(64, n + 1).toString("base64url")}`
const read = (project, headers) => server.stream(`${project}/${unique()}`).ask("GET", { headers: { ...elsewhere(), ...headers } })
const looked = (project) =>
  server.log.lines.filter(({ event, what }) => ["kv", "fetch"].includes(event) && what.includes(project)).map(({ event }) => event)
const limitsAsked = () => server.log.matching({ event: "limit" }).map(({ what }) => what)

/** The statuses of these requests, all of which arrive before the first lookup is answered. */
async function crowd(project, first, requests) {
  await control("hold")
  const answers = requests.map((request) => request())
  await server.log.until({ event: first, what: first === "kv" ? `project:${project}` : `/jwks/${project}` })
  // A later request has been counted, so these have been, too.
  const marker = elsewhere()
  const marked = read("known", marker)
  await server.log.until({ event: "limit", what: `address ${marker["cf-connecting-ip"]}` })
  await marked
  await control("release")
  return (await Promise.all(answers)).map(({ status }) => status)
}

test("a request over the limit of its address causes no lookup", async () => {
  const script = { origin: "https://app.example" }
  const attempts = [
    (project) => ["own", "GET", bearer(makeToken(key, claims(project)))],
    (project) => ["own", "PUT", bearer(makeToken(key, claims(project)))],
    (project) => ["missing", "GET", bearer(makeToken(key, claims(project)))],
    (project) => ["jwks", "GET", bearer(publicToken(project))],
    () => ["own", "OPTIONS", { ...script, "access-control-request-method": "GET" }],
    () => ["own", "GET", script],
    () => ["missing", "OPTIONS", { ...script, "access-control-request-method": "GET" }],
  ]
  for (const attempt of attempts) {
    const project = projectOf(attempt("")[0])
    const [, method, headers] = attempt(project)
    const reply = await server.stream(`${project}/x`).ask(method, { headers: { ...BYTES, ...headers, ...LIMITED } })
    // The preflight succeeds, so that the page can read the 429 of the request itself.
    const [status, retryAfter] = method === "OPTIONS" ? [204, null] : [429, "60"]
    expect([method, reply.status, looked(project)]).toEqual([method, status, []])
    expect([reply.header("retry-after"), reply.header("cache-control")]).toEqual([retryAfter, "no-store"])
  }
  const listing = projectOf("own")
  const url = `${server.url}/v1/streams?prefix=${listing}/`
  const listed = await fetch(url, { headers: { ...LIMITED, ...bearer(makeToken(key, claims(listing))) } })
  expect([listed.status, looked(listing)]).toEqual([429, []])
  await listed.arrayBuffer()
})

test("a request that needs no lookup does not count against its address", async () => {
  const project = projectOf("own")
  const token = bearer(makeToken(key, claims(project)))
  const stream = server.stream(`${project}/x`)
  await stream.ask("PUT", { headers: { ...BYTES, ...elsewhere(), ...token }, status: 201 })
  const before = limitsAsked().length
  expect((await stream.ask("GET", { headers: { ...LIMITED, ...token } })).status).toBe(200)
  const preflight = { origin: "https://app.example", "access-control-request-method": "GET", ...LIMITED }
  expect((await stream.ask("OPTIONS", { headers: preflight })).status).toBe(204)
  expect(limitsAsked().slice(before).filter((name) => name.startsWith("address"))).toEqual([])
  expect(looked(project)).toEqual(["kv"])
})

test("concurrent requests share one lookup", async () => {
  // For each kind: forged signatures, unknown keys, or the same token.
  for (const [kind, first, tokenOf, status] of [
    ["own", "kv", (project) => makeToken(key, claims(project)), 404],
    ["missing", "kv", (project, n) => makeToken(key, { ...claims(project), jti: n }), 401],
    ["jwks", "kv", (project) => publicToken(project), 404],
    ["jwks", "kv", (project, n) => forged(project, n), 401],
    ["jwks", "kv", (project, n) => publicToken(project, `made-up-${n}`), 401],
    ["jwks-fails", "kv", (project, n) => forged(project, n), 503],
  ]) {
    const project = projectOf(kind)
    const requests = numbers(CROWD).map((n) => () => read(project, bearer(tokenOf(project, n))))
    expect(await crowd(project, first, requests)).toEqual(Array(CROWD).fill(status))
    const lookups = kind.startsWith("jwks") ? ["kv", "fetch"] : ["kv"]
    expect([kind, looked(project)]).toEqual([kind, lookups])
    // The isolate caches the answer, also that a project does not exist.
    await Promise.all(requests.map((request) => request()))
    expect([kind, looked(project)]).toEqual([kind, lookups])
  }
})

test("concurrent preflights to a project share one lookup", async () => {
  const project = projectOf("own")
  const headers = { origin: "https://app.example", "access-control-request-method": "GET" }
  const ask = () => server.stream(`${project}/${unique()}`).ask("OPTIONS", { headers: { ...headers, ...elsewhere() } })
  expect(await crowd(project, "kv", Array(CROWD).fill(ask))).toEqual(Array(CROWD).fill(204))
  expect(looked(project)).toEqual(["kv"])
})

test("a client that disconnects does not cancel a lookup that others wait for", async () => {
  const project = projectOf("own")
  const token = bearer(makeToken(key, claims(project)))
  await control("hold")
  const leads = await HttpConnection.open(server.url)
  leads.begin("GET", `/v1/stream/${project}/x`, { ...token, ...elsewhere() })
  await server.log.until({ event: "kv", what: `project:${project}` })
  const address = elsewhere()
  const follows = read(project, { ...token, ...address })
  await server.log.until({ event: "limit", what: `address ${address["cf-connecting-ip"]}` })
  leads.reset()
  await control("release")
  expect((await follows).status).toBe(404)
  expect(looked(project)).toEqual(["kv"])
})

test("requests with an administrator's token are limited, whether it is valid or not", async () => {
  for (const token of ["a-guess-of-the-administrator", ADMIN_TOKEN]) {
    for (const [address, statuses] of [[LIMITED, [429]], [elsewhere(), [401, 501]]]) {
      const headers = { ...address, ...bearer(token) }
      const reply = await fetch(`${server.url}/v1/admin/orphans`, { method: "POST", headers })
      expect(statuses).toContain(reply.status)
      await reply.arrayBuffer()
    }
  }
})

test("the other form of a signature counts as the same token", async () => {
  const project = projectOf("jwks")
  const token = publicToken(project)
  const [head, body, signature] = token.split(".")
  const bytes = Buffer.from(signature, "base64url")
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const other = (order - BigInt(`0x${bytes.subarray(32).toString("hex")}`)).toString(16).padStart(64, "0")
  const second = `${head}.${body}.${Buffer.concat([bytes.subarray(0, 32), Buffer.from(other, "hex")]).toString("base64url")}`
  const counted = []
  for (const one of [token, second, token]) {
    const before = limitsAsked().length
    expect((await read(project, bearer(one))).status).toBe(404)
    counted.push(limitsAsked().slice(before).filter((name) => !name.startsWith("address")))
  }
  expect(new Set(counted.flat()).size).toBe(1)
  expect(counted.map((names) => names.length)).toEqual([1, 1, 1])
})

test("a server with a rate limit recommends none", () => {
  expect(server.log.matching({ operation: "configure" })).toEqual([])
})
