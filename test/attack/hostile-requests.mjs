// A seeded generator of hostile requests: a valid request with one or more parts changed by an attacker.

import * as hostile from "./hostile-values.mjs"
import { Random } from "../random.mjs"

/** Few enough streams that the objects themselves do not dominate the server's memory. */
const POOL = 40

/**
 * Requests after which new streams are used: attackers close and delete streams, and closed streams refuse every append
 * alike.
 */
const GENERATION = 1000
export const generationOf = (number) => Math.floor(number / GENERATION)

/**
 * The same text with the stream names of one generation. Streams in the pool are recreated by the attack itself, so
 * their names stay.
 */
export const inGeneration = (text, generation) => text.replaceAll(/mallory\/(?!__|pool-)/gu, `mallory/${generation}/`)

const TYPES = { json: "application/json", text: "text/plain", bytes: "application/octet-stream" }
const VALUES = { json: ['{"a":1}', "[1,2,3]", '"x"', "[[1]]", "1"], text: ["text", "line\nline"], bytes: ["bytes", "\x00\xff"] }

/** The streams that a request may name, with their content types. */
export const STREAMS = {
  json: TYPES.json,
  text: TYPES.text,
  bytes: TYPES.bytes,
  closed: TYPES.json,
  gone: TYPES.json,
  sequenced: TYPES.text,
  large: TYPES.bytes,
}

const request = (method, name, { headers = [], query = [], body } = {}) => ({
  method,
  path: `mallory/${name}`,
  query,
  headers: [["host", "localhost"], ...headers],
  body,
  version: "HTTP/1.1",
  isLive: false,
})

const kindOf = (random) => random.pick(["json", "text", "bytes"])

function append(random, number) {
  const name = random.weighted([[20, kindOf(random)], [1, "closed"], [1, "gone"], [1, "nothing"], [2, "sequenced"]])
  const type = STREAMS[name] ?? TYPES.text
  const kind = Object.keys(TYPES).find((kind) => TYPES[kind] === type)
  const headers = [["content-type", type]]
  if (name === "sequenced") headers.push(["stream-seq", `${number}`.padStart(10, "0")])
  if (random.chance(0.05)) headers.push(["stream-expected-offset", random.pick(hostile.OFFSETS)])
  return request("POST", name, { headers, body: random.pick(VALUES[kind]) })
}

function appendOnce(random, number) {
  const headers = [["content-type", TYPES.text], ["producer-id", random.chance(0.5) ? `p${number}` : "shared"]]
  headers.push(["producer-epoch", `${random.weighted([[8, 5], [1, 4], [1, 6]])}`])
  headers.push(["producer-seq", `${random.weighted([[6, 0], [2, 1], [1, 900]])}`])
  return request("POST", "text", { headers, body: "once" })
}

const create = (random) => {
  const kind = kindOf(random)
  const headers = [["content-type", TYPES[kind]]]
  const options = [["stream-ttl", "1"], ["stream-ttl", "3600"], ["stream-retention", "3600"], ["stream-closed", "true"]]
  if (random.chance(0.2)) headers.push(random.pick(options))
  return request("PUT", `pool-${random.below(POOL)}`, { headers, body: random.chance(0.5) ? random.pick(VALUES[kind]) : undefined })
}

const fork = (random) => {
  const headers = [["stream-forked-from", `/v1/stream/mallory/${random.pick(["json", "text", "pool-1", "nothing", "gone"])}`]]
  if (random.chance(0.3)) headers.push(["stream-fork-offset", random.pick(hostile.OFFSETS)])
  if (random.chance(0.2)) headers.push(["content-type", TYPES.bytes])
  return request("PUT", `pool-${random.below(POOL)}`, { headers })
}

const anyName = (random) => random.weighted([[9, random.pick(Object.keys(STREAMS))], [3, `pool-${random.below(POOL)}`], [1, "nothing"]])

function read(random) {
  const query = random.chance(0.9) ? [["offset", random.weighted([[3, "now"], [1, "-1"], [1, random.pick(hostile.OFFSETS.slice(0, 7))]])]] : []
  return request("GET", anyName(random), { query })
}

const live = (mode) => (random) => {
  const offset = random.weighted([[1, "-1"], [2, "now"]])
  const made = request("GET", random.pick(["json", "text", "bytes", "closed", "pool-2"]), { query: [["offset", offset], ["live", mode]] })
  return { ...made, isLive: true }
}

const elsewhere = (random) => ({
  ...request("GET", "", { query: random.chance(0.5) ? [["prefix", "mallory/"], ["limit", random.pick(["1", "100", ...hostile.NUMBERS])]] : [] }),
  path: random.pick(["/v1/streams", "/health", "/v1/admin/orphans", "__registry__", "mallory/__registry__", "__ds/subscriptions/x"]),
  method: random.pick(["GET", "GET", "GET", "POST", "PUT", "HEAD"]),
})

/** What clients do, with weights. */
const OPERATIONS = [
  [28, append],
  [8, appendOnce],
  [25, read],
  [9, create],
  [4, fork],
  [6, (random) => request("HEAD", anyName(random))],
  [3, (random) => request("DELETE", `pool-${random.below(POOL)}`)],
  [2, (random) => request("POST", `pool-${random.below(POOL)}`, { headers: [["stream-closed", "true"]] })],
  [3, (random) => request("OPTIONS", anyName(random), { headers: [["origin", "https://x.example"], ["access-control-request-method", "PUT"]] })],
  [2, live("long-poll")],
  [2, live("sse")],
  [5, elsewhere],
]

const spliced = (random, list, one) => list.splice(random.below(list.length + 1), 0, one)

function attackHeader(random, made) {
  const name = random.pick(hostile.HEADERS)
  const others = made.headers.filter(([other]) => other !== name)
  made.headers = random.chance(0.7) ? others : made.headers
  const value = hostile.headerValue(random, name)
  for (let times = random.chance(0.15) ? 2 : 1; times > 0; times -= 1) spliced(random, made.headers, [name, value])
}

function attackHeaderForm(random, made) {
  const odd = [
    ...[["", "x"], [" leading", "x"], ["x ", "x"], ["x\x00", "x"], ["x\xff", "x"], ["x(", "x"], ["x", "a\r\n folded"], ["x", "a\rb"], ["x", "a\x00b"]],
    ...[["x", "a\nset-cookie: x"], ["producer-id", "p\r\n q"], ["x".repeat(9000), "x"], ["x", "y".repeat(20_000)], ["x", "y".repeat(200_000)]],
  ]
  if (random.chance(0.7)) return void spliced(random, made.headers, random.pick(odd))
  for (let count = random.pick([50, 500, 3000]); count > 0; count -= 1) made.headers.push([`x-${count}`, "y"])
}

function attackHost(random, made) {
  made.headers = made.headers.filter(([name]) => name !== "host")
  for (let times = random.weighted([[1, 0], [8, 1], [1, 2]]); times > 0; times -= 1) made.headers.push(["host", random.pick(hostile.HOSTS)])
}

function attackQuery(random, made) {
  const name = random.chance(0.9) ? random.pick(hostile.PARAMETERS) : random.pick(["x", "", "OFFSET", "offset%00", "offset[]"])
  const value = hostile.parameterValue(random, name)
  if (random.chance(0.5)) made.query = made.query.filter(([other]) => other !== name)
  spliced(random, made.query, [name, value])
  if (random.chance(0.1)) made.query.push(["x", "y".repeat(random.pick([1000, 8000, 30_000]))])
}

function attackBody(random, made) {
  made.body = random.chance(0.985) ? hostile.body(random) : hostile.largeBody(random)
  if (made.body.length > 2 ** 17) made.path = "mallory/large"
  if (made.method === "POST" && random.chance(0.1)) made.headers = made.headers.filter(([name]) => name !== "content-type")
}

function attackPath(random, made) {
  made.path = random.pick(hostile.PATHS)
}

function attackToken(random, made, world) {
  const name = random.pick(["authorization", "cookie", "token", "token"])
  const token = random.pick(world.hostileTokens)
  if (random.chance(0.6)) made.path = random.pick(world.otherPaths)
  if (random.chance(0.8)) made.headers = made.headers.filter(([other]) => other !== "authorization")
  if (name === "token") made.query.push(["token", token])
  else made.headers.push([name, name === "cookie" ? `stream-token=${token}` : `${random.pick(["Bearer", "bearer", "Bearer  "])} ${token}`])
}

const ATTACKS = [
  [30, attackHeader],
  [5, attackHeaderForm],
  [7, attackHost],
  [12, attackQuery],
  [18, attackBody],
  [7, attackPath],
  [10, attackToken],
  [14, (random, made) => (made.framing = random.pick(Object.keys(FRAMINGS)))],
  [3, (random, made) => (made.method = random.pick(hostile.METHODS))],
  [2, (random, made) => (made.version = random.pick(hostile.VERSIONS))],
  [2, (random, made) => (made.target = random.pick(hostile.TARGETS))],
  [4, (random, made) => (made.cut = random.next())],
  [3, (random, made) => (made.repeats = 1 + random.below(8))],
  [4, (random, made) => (made.pieces = 2 + random.below(20))],
]

const hex = (body) => body.length.toString(16)
const chunked = (body, sizes) => {
  const chunks = []
  for (let at = 0; at < body.length; ) {
    const chunk = body.slice(at, at + Math.max(1, sizes(at)))
    chunks.push(`${hex(chunk)}\r\n${chunk}\r\n`)
    at += chunk.length
  }
  return chunks.join("")
}
const CHUNKED = [["transfer-encoding", "chunked"]]
const length = (value) => [["content-length", `${value}`]]

/**
 * How a body is framed: its headers and its bytes. With `isOdd`, servers may disagree about where the body ends, so the
 * client closes its side and the server answers or closes.
 */
const FRAMINGS = {
  length: (body) => ({ headers: length(body.length), bytes: body }),
  none: (body) => ({ headers: [], bytes: body, isOdd: true }),
  "odd chunks": (body, random) => ({ headers: CHUNKED, bytes: `${chunked(body, () => random.below(body.length))}0\r\n\r\n` }),
  "chunks of a byte": (body) => ({ headers: CHUNKED, bytes: `${chunked(body.slice(0, 3000), () => 1)}0\r\n\r\n` }),
  "a chunk with zeros": (body) => ({ headers: CHUNKED, bytes: `000${hex(body).toUpperCase()}\r\n${body}\r\n000\r\n\r\n`, isOdd: !body }),
  "an extension": (body) => ({ headers: CHUNKED, bytes: `${hex(body)};x="y\t"\r\n${body}\r\n0;z\r\n\r\n`, isOdd: true }),
  "a giant extension": (body) => ({ headers: CHUNKED, bytes: `${hex(body)};${"x".repeat(20_000)}\r\n${body}\r\n0\r\n\r\n`, isOdd: true }),
  trailers: (body) => ({ headers: CHUNKED, bytes: `${hex(body)}\r\n${body}\r\n0\r\nstream-closed: true\r\ncontent-length: 1\r\n\r\n`, isOdd: true }),
  "a hostile chunk size": (body, random) => {
    const size = random.pick(["-1", "+1", "0x1", "ffffffffffffffff", "10000000000000000", "g", "", " 1", "1 ", "f".repeat(5000), "7fffffff"])
    return { headers: CHUNKED, bytes: `${size}\r\n${body}\r\n0\r\n\r\n`, isOdd: true }
  },
  "a chunk too short": (body) => ({ headers: CHUNKED, bytes: `${hex(`${body}xx`)}\r\n${body}\r\n0\r\n\r\n`, isOdd: true }),
  "a chunk too long": (body) => ({ headers: CHUNKED, bytes: `1\r\n${body}xx\r\n0\r\n\r\n`, isOdd: true }),
  "line feeds only": (body) => ({ headers: CHUNKED, bytes: `${hex(body)}\n${body}\n0\n\n`, isOdd: true }),
  "both, chunked": (body) => ({ headers: [...CHUNKED, ...length(body.length)], bytes: `${hex(body)}\r\n${body}\r\n0\r\n\r\n`, isOdd: true }),
  "both, by length": (body) => ({ headers: [...length(body.length + 5), ...CHUNKED], bytes: `0\r\n\r\n${body}`, isOdd: true }),
  smuggled: (body, random, target) => {
    const bytes = `0\r\n\r\nDELETE ${target} HTTP/1.1\r\nhost: x\r\n\r\n`
    return { headers: [...length(bytes.length), ...CHUNKED], bytes: `${bytes}${body}`, isOdd: true }
  },
  "a hostile encoding": (body, random) => {
    const value = random.pick(["gzip, chunked", "chunked, chunked", "xchunked", "CHUNKED", "chunked\x0b", "identity", "", "chunked;q=1", "gzip"])
    return { headers: [["transfer-encoding", value]], bytes: `${hex(body)}\r\n${body}\r\n0\r\n\r\n`, isOdd: true }
  },
  "too long a length": (body, random) => ({ headers: length(body.length + 1 + random.below(2 ** random.below(40))), bytes: body, isOdd: true }),
  "too short a length": (body) => ({ headers: length(body.length >> 1), bytes: body, isOdd: true }),
  "two lengths": (body, random) => ({ headers: [...length(body.length), ...length(random.below(9))], bytes: body, isOdd: true }),
  "a hostile length": (body, random) => {
    const value = random.pick([...hostile.NUMBERS, `${body.length}, ${body.length}`, `0${body.length}`, `${body.length} x`])
    return { headers: [["content-length", value]], bytes: body, isOdd: true }
  },
}

/** The bytes of a request, and whether servers may disagree about where it ends. */
function serialised(random, made, generation) {
  const prefix = random.weighted([[7, "/v1/stream/"], [2, "/streams/"], [1, "/v1/streams/"]])
  const path = made.path.startsWith("/") ? made.path : `${prefix}${made.path}`
  const query = made.query.map(([name, value]) => `${name}=${value}`).join("&")
  const target = inGeneration(made.target ?? `${path}${query && `?${query}`}`, generation)
  const framing = made.framing ?? (made.body === undefined ? undefined : "length")
  const { headers = [], bytes = "", isOdd = false } = framing ? FRAMINGS[framing](made.body ?? "", random, target) : {}
  const lines = [...made.headers, ...headers].map(([name, value]) => `${name}: ${inGeneration(value, generation)}\r\n`)
  return { bytes: `${made.method} ${target} ${made.version}\r\n${lines.join("")}\r\n${bytes}`, isOdd }
}

/**
 * Whether the request is well-formed enough that the server must answer it. Otherwise the server may close the
 * connection instead.
 */
const isPlain = (made) => made.version === "HTTP/1.1" && made.target === undefined && /^[A-Z]+$/u.test(made.method)

/**
 * Request `number` of a seed: the `pieces` to send one after the other, and the `ending`. With `wait` the server must
 * answer or close. With `finish` the client closes its side and the server must close. With `reset` the client resets
 * the connection.
 */
export function hostileRequest(seed, number, world) {
  const random = new Random(seed, number)
  const made = random.weighted(OPERATIONS)(random, number)
  if (world.token) made.headers.push(["authorization", `Bearer ${world.token}`])
  const attacks = random.weighted([[25, 0], [50, 1], [18, 2], [7, 3]])
  for (let count = attacks; count > 0; count -= 1) random.weighted(ATTACKS)(random, made, world)

  const { bytes, isOdd } = serialised(random, made, generationOf(number))
  const repeats = made.isLive || bytes.length > 10_000 ? 1 : (made.repeats ?? 1)
  const all = made.cut === undefined ? bytes.repeat(repeats) : bytes.slice(0, Math.floor(bytes.length * made.cut))
  const isWhole = made.cut === undefined && !isOdd && isPlain(made)
  const leaves = made.isLive && random.chance(0.7) ? "leave" : "wait"
  const ending = isWhole ? leaves : random.pick(["finish", "finish", "reset"])
  const pieces = []
  const size = Math.ceil(all.length / (made.pieces ?? 1)) || 1
  for (let at = 0; at < all.length; at += size) pieces.push(all.slice(at, at + size))
  return { number, method: made.method, pieces, ending, replies: repeats }
}
