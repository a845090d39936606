// Tenants of one server: good tenants append and read, and hostile tenants take as much as they can.

import { HttpConnection } from "../platform/raw.mjs"
import { SseReader } from "../platform/readers.mjs"
import { BYTES, JSON_TYPE, LONG_MS, TEXT, numbers, producer } from "../platform/support.mjs"
import { tokenOf, withToken } from "./worlds.mjs"

const MIB = 2 ** 20
const rest = (millis) => new Promise((resolve) => setTimeout(resolve, millis))

/**
 * A stream of a project, requested with the project's token. Cloudflare names the client's address in a header, so each
 * tenant sends its own.
 */
class TenantStream {
  constructor(server, project, name, address) {
    this.stream = server.stream(`${project}/${name}`)
    this.headers = withToken(tokenOf(project), { "cf-connecting-ip": address })
  }

  ask(method, { headers = {}, ...others } = {}) {
    return this.stream.ask(method, { headers: { ...this.headers, ...headers }, millis: LONG_MS, ...others })
  }
}

/** A good tenant's pause between two requests: the test measures latency, not throughput. */
const REST_MS = 10
/** One append in this many is large enough that the server counts its memory. */
const LARGE_EACH = 20
const LARGE = "x".repeat(200_000)

/** Appends, reads, and follows its own stream by long-poll and by SSE. */
export class GoodTenant {
  /** Requests whose responses were wrong. */
  wrong = []
  #stream
  #count = 0
  #polled = []
  #stops = false

  static async begin(server, project, address) {
    const tenant = new GoodTenant()
    tenant.#stream = new TenantStream(server, project, "log", address)
    await tenant.#stream.ask("PUT", { headers: JSON_TYPE, status: 201 })
    tenant.sse = await SseReader.open(tenant.#stream.stream, { headers: tenant.#stream.headers })
    tenant.polling = tenant.#poll()
    tenant.polling.catch(() => {})
    return tenant
  }

  /** Works for `millis` and returns the latencies in milliseconds of each small append and of its read. */
  async work(millis) {
    const latencies = { append: [], read: [] }
    const end = Date.now() + millis
    for (let round = 1; Date.now() < end; round += 1) {
      const n = this.#count
      const isLarge = round % LARGE_EACH === 0
      const body = JSON.stringify(isLarge ? { n, pad: LARGE } : { n })
      const [appended, appendMs] = await this.#timed("POST", { headers: { ...JSON_TYPE, ...producer(n) }, body })
      if (appended?.status === 200) this.#count += 1
      await rest(REST_MS)
      const offset = `0000000000000000_${`${n}`.padStart(16, "0")}`
      const [read, readMs] = await this.#timed("GET", { query: `?offset=${offset}` })
      const isRight = appended?.status === 200 && read?.text === `[${body}]`
      const described = () => [appended, read].map((reply) => reply && `${reply.status} ${reply.text.slice(0, 120)}`)
      if (!isRight) this.wrong.push(`an append of ${body.length} bytes, and a read of it: ${described().join(", ")}`)
      if (isRight && !isLarge) {
        latencies.append.push(appendMs)
        latencies.read.push(readMs)
      }
      await rest(REST_MS)
    }
    return latencies
  }

  async #timed(method, options) {
    const begin = performance.now()
    const reply = await this.#stream.ask(method, options)
    return [reply, performance.now() - begin]
  }

  async #poll() {
    let offset = "-1"
    while (!this.#stops) {
      const { status, text, next } = await this.#stream.ask("GET", { query: `?offset=${offset}&live=long-poll` })
      if (status === 200) this.#polled.push(...JSON.parse(text))
      else if (status !== 204) this.wrong.push(`long-poll: ${status} ${text.slice(0, 120)}`)
      offset = next ?? offset
    }
  }

  /** Ends the tenant and returns the numbers that it appended and the numbers that each of its readers received. */
  async end() {
    const numbersOf = (messages) => messages.map(({ n }) => n)
    await this.sse.untilMessages(this.#count, LONG_MS)
    this.#stops = true
    await this.polling
    await this.sse.close()
    return { appended: numbers(this.#count), polled: numbersOf(this.#polled), sse: numbersOf(this.sse.messages) }
  }
}

/**
 * The interval of a hostile tenant's requests. All of them use a tenth of a core, so they slow down others only by the
 * memory that they occupy and the requests that wait for it.
 */
const TICK_MS = 100
/** Appends per tick. */
const APPENDS = 5
/** Stalled connections of each kind. */
const STALLED = 25
/** The part of an upload that is sent: most send little, and some nearly the maximum. */
const UPLOAD_BYTES = (index) => (index < 4 ? 9 * MIB : 400_000)
const UPLOAD_MAX_BYTES = 16 * MIB
/** The size of the response that a slow reader does not read. */
const LARGE_STREAM_MIB = 8
/** Readers that read everything. */
const READERS = 5

const BODIES = ["[".repeat(5000), `{"a":${"\n".repeat(100_000)}1}`, "\xff".repeat(1000), "[]", '"\\ud800"', `[${"1,".repeat(5000)}1]`]

/** Reads slowly, uploads slowly, floods, sends nonsense, requests made-up names, and listens. */
export class HostileTenant {
  #connections = []
  #readers = []
  #ticks = 0

  constructor(server, project, subnet) {
    Object.assign(this, { server, project })
    // Each connection has an address of its own.
    this.address = () => `${subnet}.${this.#connections.length >> 8}.${this.#connections.length & 255}`
    this.stream = (name) => new TenantStream(server, project, name, this.address())
  }

  /** Creates the tenant's streams, which is not part of the attack. */
  async prepare() {
    await this.stream("flood").ask("PUT", { headers: TEXT, status: 201 })
    await this.stream("json").ask("PUT", { headers: JSON_TYPE, status: 201 })
    await this.stream("large").ask("PUT", { headers: BYTES, status: 201 })
    for (const part of numbers(LARGE_STREAM_MIB)) {
      await this.stream("large").ask("POST", { headers: BYTES, body: Buffer.alloc(MIB, part), status: 204 })
    }
  }

  /** Resolves once all stalling connections have stalled. */
  async attack() {
    for (const index of numbers(STALLED)) {
      await this.#stall(UPLOAD_BYTES(index))
      await this.#slow("?offset=-1")
      await this.#slow("?offset=-1&live=sse")
    }
    for (const _ of numbers(READERS)) {
      const { stream, headers } = this.stream("flood")
      this.#readers.push(await SseReader.open(stream, { headers }))
    }
    this.timer = setInterval(() => this.#tick(), TICK_MS)
  }

  async #open(method, name, query, headers, body = "") {
    const tenant = this.stream(name)
    const connection = await HttpConnection.open(this.server.url)
    this.#connections.push(connection)
    connection.begin(method, `/v1/stream/${tenant.stream.path}${query}`, { ...tenant.headers, ...headers })
    // The system has accepted the bytes, so the server has received most of them.
    await new Promise((resolve) => connection.socket.write(body, "latin1", resolve))
    return connection
  }

  /** An upload that stops before its end. */
  #stall(bytes) {
    return this.#open("POST", "large", "", { ...BYTES, "content-length": UPLOAD_MAX_BYTES }, "x".repeat(bytes))
  }

  /** A response that the client stops reading once it has begun. */
  async #slow(query) {
    const connection = await this.#open("GET", "large", query, {})
    await connection.find("a head", (text) => text.includes("\r\n\r\n"), LONG_MS)
    connection.socket.pause()
  }

  #tick() {
    this.#ticks += 1
    const ask = (name, method, options) => this.stream(name).ask(method, options).catch(() => {})
    for (const _ of numbers(APPENDS)) ask("flood", "POST", { headers: TEXT, body: "flood" })
    ask("json", "POST", { headers: JSON_TYPE, body: Buffer.from(BODIES[this.#ticks % BODIES.length], "latin1") })
    ask(`made-up-${this.#ticks}`, "GET")
    // A refused attacker retries.
    if (this.#ticks % 2 === 0) this.#stall(UPLOAD_BYTES(this.#ticks)).catch(() => {})
    if (this.#ticks % 10 === 0) this.#slow("?offset=-1").catch(() => {})
  }

  async end() {
    clearInterval(this.timer)
    for (const connection of this.#connections) connection.close()
    await Promise.all(this.#readers.map((reader) => reader.close()))
  }
}
