// What the tests share: a server whose log lines can be awaited, requests that cannot hang, readers of live responses.

import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { compatibility, config, root } from "../deployed.mjs"
import { openUnless, startServer } from "../server.mjs"

export { root }

/** The binary that Miniflare runs, itself and not through a script: what is killed is workerd. */
const workerd = createRequire(import.meta.resolve("miniflare"))("workerd").default

/** How long anything may take that is expected to happen at once. */
export const SOON_MS = 10_000

/** For what moves many megabytes on a machine that has other things to do. */
export const LONG_MS = 60_000

/** Live readers stay until a test ends them, not until a timer does. */
export const PATIENT = { LONG_POLL_TIMEOUT_SECONDS: "120", SSE_LIFETIME_SECONDS: "120" }

export const BYTES = { "content-type": "application/octet-stream" }
export const JSON_TYPE = { "content-type": "application/json" }
export const TEXT = { "content-type": "text/plain; charset=utf-8" }
export const CLOSED = { "stream-closed": "true" }
export const START = "-1"

/** A path that no other test uses. */
export const unique = (name = "stream") => `${name}-${crypto.randomUUID()}`

let addresses = 0

/** From an address that no other request comes from: of one only so many strangers' reads reach objects. */
export function elsewhere() {
  addresses += 1
  return { "cf-connecting-ip": `10.${addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}` }
}

export const numbers = (count, from = 0) => Array.from({ length: count }, (_, index) => from + index)

export const producer = (seq, { id = "p", epoch = 0 } = {}) => ({
  "producer-id": id,
  "producer-epoch": `${epoch}`,
  "producer-seq": `${seq}`,
})

/** A folder that the system clears away. */
export const scratch = () => mkdtemp(join(tmpdir(), "streams-"))

/** Fails instead of hanging; `what` may be a function, asked when it is too late. */
export async function within(millis, what, promise) {
  let timer
  const late = new Promise((_, reject) => {
    const fail = () => reject(new Error(`not within ${millis} ms: ${typeof what === "function" ? what() : what}`))
    timer = setTimeout(fail, millis)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** For what changes: lets tests wait until it is as they want it. */
export class Watch {
  #looks = new Set()

  changed() {
    for (const look of this.#looks) look()
  }

  /** What `probe` finds, as soon as it finds something; it may also throw. */
  async until(what, probe, millis = SOON_MS) {
    const found = Promise.withResolvers()
    const look = () => {
      try {
        const value = probe()
        if (value) found.resolve(value)
      } catch (error) {
        found.reject(error)
      }
    }
    this.#looks.add(look)
    look()
    try {
      return await within(millis, what, found.promise)
    } finally {
      this.#looks.delete(look)
    }
  }
}

/** The lines that a worker logged, which can be awaited. What is logged as a warning or an error is printed, too. */
export class Log {
  lines = []
  /** Warnings and errors, ours and the platform's. */
  trouble = []
  #watch = new Watch()

  /** Takes what the worker wrote, if it is one of our JSON lines. */
  take = ({ level, message }) => {
    if (level === "error" || level === "warn") {
      this.trouble.push(message)
      console.error(message)
    }
    if (!message.startsWith("{")) return
    this.lines.push(JSON.parse(message))
    this.#watch.changed()
  }

  /** The lines with these fields. */
  matching(fields) {
    return this.lines.filter((line) => Object.entries(fields).every(([name, value]) => line[name] === value))
  }

  /** The lines with these fields, once there are that many: a line may arrive after the response it belongs to. */
  until(fields, count = 1, millis = SOON_MS) {
    const enough = () => {
      const found = this.matching(fields)
      return found.length >= count && found
    }
    return this.#watch.until(`${count} lines ${JSON.stringify(fields)}`, enough, millis)
  }
}

/** A server with debug lines, and clients for its streams. */
export async function start({ vars = {}, ...others } = {}) {
  const log = new Log()
  const server = await startServer({ ...others, vars: { LOG_LEVEL: "debug", ...vars }, onLog: log.take })
  return { ...server, log, stream: (path) => new Stream(server.url, path) }
}

/** One stream as a plain HTTP client sees it. */
export class Stream {
  constructor(origin, path = unique()) {
    this.path = path
    this.url = `${origin}/v1/stream/${path}`
  }

  /** A request, with its body read unless it is live. */
  async ask(method, { body, headers, query = "", status, millis = SOON_MS } = {}) {
    const init = { method, body, headers, duplex: "half", signal: AbortSignal.timeout(millis) }
    const response = await fetch(`${this.url}${query}`, init)
    const bytes = Buffer.from(await response.arrayBuffer())
    const header = (name) => response.headers.get(name)
    const reply = { status: response.status, header, bytes, text: bytes.toString(), next: header("stream-next-offset") }
    if (status !== undefined && ![status].flat().includes(reply.status)) {
      throw new Error(`${method} ${this.path}${query}: ${reply.status}, not ${status}: ${reply.text.slice(0, 300)}`)
    }
    return reply
  }

  create(headers = BYTES, body = undefined) {
    return this.ask("PUT", { headers, body, status: 201 })
  }

  append(body, headers = BYTES) {
    return this.ask("POST", { headers, body, status: [200, 204] })
  }

  read(offset = START, query = "") {
    return this.ask("GET", { query: `?offset=${offset}${query}`, status: 200 })
  }

  /** All there is, chunk by chunk. */
  async readAll(offset = START) {
    const chunks = []
    for (;;) {
      const chunk = await this.read(offset)
      chunks.push(chunk)
      offset = chunk.next
      if (chunk.header("stream-up-to-date") === "true") return chunks
    }
  }

  delete() {
    return this.ask("DELETE", { status: 204 })
  }
}

/**
 * The built worker on plain workerd, as a process of ours that can be killed; the same folder brings it back. Nothing
 * stands in front of it, unlike Miniflare's proxy: it sees each URL, body and disconnection as the client made it. It has
 * no bucket for segments unless it is given one. A `world`, the text of a module, is what it fetches from, and its
 * entrypoints `Registry` and `Limit` are the bindings of these names; with an entrypoint `Streams` that is all there is of
 * objects. A `front`, the file of a module, is the worker instead, and imports the built one as `./index.js`.
 */
export async function startWorkerd(folder, vars = {}, bucket = undefined, world = undefined, front = undefined) {
  const disk = join(folder, "disk")
  const unixPath = join(folder, "socket")
  await rm(unixPath, { force: true })
  await mkdir(disk, { recursive: true })
  for (const file of ["index.js", "index_bg.wasm"]) await copyFile(join(root, "build", file), join(folder, file))
  const texts = Object.entries({ ...config.vars, ...openUnless(vars), LOG_LEVEL: "debug", ...vars }).map(
    ([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)}),`,
  )
  const bucketService = bucket ? `(name = "bucket", external = (address = "${bucket.address}", http = ())),` : ""
  const bucketBinding = bucket ? `(name = "SEGMENTS", r2Bucket = "bucket"),` : ""
  const worldService = world ? `(name = "world", worker = .world),` : ""
  const fromWorld = { PROJECTS: "Registry", REQUEST_LIMIT: "Limit", STREAMS: "Streams" }
  const given = Object.entries(fromWorld).filter(([, entrypoint]) => world?.includes(`class ${entrypoint} `))
  const worldBindings = given.map(
    ([name, entrypoint]) => `(name = "${name}", service = (name = "world", entrypoint = "${entrypoint}")),`,
  )
  const objects = worldBindings.join().includes("STREAMS") ? "" : `(name = "STREAMS", durableObjectNamespace = "StreamObject"),`
  const worldSocket = world ? `(name = "world", address = "127.0.0.1:0", http = (), service = "world"),` : ""
  if (world) await writeFile(join(folder, "world.js"), world)
  if (front) await copyFile(front, join(folder, "front.js"))
  const frontModule = front ? `(name = "front.js", esModule = embed "front.js"), ` : ""
  const { compatibilityDate, compatibilityFlags } = compatibility
  // A front may follow what is done on whose behalf.
  const flags = [...compatibilityFlags, ...(front ? ["nodejs_als"] : [])]
  await writeFile(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .streams),
    (name = "disk", disk = (path = ${JSON.stringify(disk)}, writable = true)),
    # Webhooks of tests are on this machine.
    (name = "internet", network = (allow = ["public", "private"])),
    ${bucketService}
    ${worldService}
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (), service = "main"),
    (name = "unix", address = ${JSON.stringify(`unix:${unixPath}`)}, http = (), service = "main"),
    ${worldSocket}
  ],
  logging = (structuredLogging = true),
);
const streams :Workerd.Worker = (
  modules = [${frontModule}(name = "index.js", esModule = embed "index.js"), (name = "index_bg.wasm", wasm = embed "index_bg.wasm")],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
  compatibilityFlags = ${JSON.stringify(flags)},
  durableObjectNamespaces = [(className = "StreamObject", uniqueKey = "streams", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [${objects} ${bucketBinding} ${worldBindings.join(" ")} ${texts.join(" ")}],
  ${world ? `globalOutbound = "world",` : ""}
);
${
  world
    ? `const world :Workerd.Worker = (
  modules = [(name = "world.js", esModule = embed "world.js")],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
);`
    : ""
}
`,
  )
  const { ports, ...server } = await runWorkerd(folder, world ? ["http", "world"] : ["http"])
  const url = `http://127.0.0.1:${ports.http}`
  return {
    ...server,
    url,
    worldUrl: `http://127.0.0.1:${ports.world}`,
    /** The same server, for connections of which the system buffers little: a TCP socket may take megabytes. */
    unixPath,
    stream: (path) => new Stream(url, path),
  }
}

/** Runs `config.capnp` of a folder, until these of its sockets listen. */
export async function runWorkerd(folder, sockets) {
  const args = ["serve", "--experimental", "--control-fd=3", join(folder, "config.capnp")]
  const child = spawn(workerd, args, { stdio: ["ignore", "pipe", "pipe", "pipe"] })
  const exited = once(child, "exit")
  const log = new Log()
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => log.take(parseLogLine(line)))
  }
  const listening = (async () => {
    const ports = {}
    for await (const line of createInterface({ input: child.stdio[3] })) {
      const { event, socket, port } = JSON.parse(line)
      if (event === "listen") ports[socket] = port
      if (sockets.every((name) => ports[name])) return ports
    }
    throw new Error("workerd ended before it listened")
  })()
  const ports = await within(SOON_MS, "workerd listens", listening)
  return {
    ports,
    log,
    pid: child.pid,
    /** At once, with nothing put in order. */
    async kill() {
      child.kill("SIGKILL")
      await exited
    },
  }
}

/** A line of workerd's structured log; what is none is trouble that workerd tells in its own words. */
function parseLogLine(line) {
  try {
    return JSON.parse(line)
  } catch {
    return { level: "error", message: line }
  }
}

/** The code block of README.md that contains these words. */
export async function readmeExample(words) {
  const readme = await readFile(join(root, "README.md"), "utf8")
  const blocks = [...readme.matchAll(/^```\w*\n(.*?)^```$/gmsu)].map(([, code]) => code)
  const found = blocks.filter((code) => code.includes(words))
  if (found.length !== 1) throw new Error(`${found.length} code blocks of README.md have ${words}`)
  return found[0]
}

/** What the process holds in memory. */
export function residentBytes(pid) {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", `${pid}`], { encoding: "utf8" })) * 1024
}
