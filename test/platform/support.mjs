// Shared by the tests: servers whose log lines can be awaited, requests that cannot hang, and readers of live
// responses.

import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { compatibility, config, root } from "../deployed.mjs"
import { openUnless, startServer } from "../server.mjs"

export { root }

/** The binary that Miniflare runs, not its script, so that a kill reaches workerd itself. */
const workerd = createRequire(import.meta.resolve("miniflare"))("workerd").default

/** Time limit for what is expected to happen at once. */
export const SOON_MS = 10_000

/** Time limit for tests that move many megabytes on a busy machine. */
export const LONG_MS = 60_000

/** Live readers stay until a test ends them, and not until a timeout. */
export const PATIENT = { LONG_POLL_TIMEOUT_SECONDS: "120", SSE_LIFETIME_SECONDS: "120" }

export const BYTES = { "content-type": "application/octet-stream" }
export const JSON_TYPE = { "content-type": "application/json" }
export const TEXT = { "content-type": "text/plain; charset=utf-8" }
export const CLOSED = { "stream-closed": "true" }
export const START = "-1"

/** A path that no other test uses. */
export const unique = (name = "stream") => `${name}-${crypto.randomUUID()}`

let addresses = 0

/**
 * An address that no other request uses: only a limited number of one address's requests without a token reach objects.
 */
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

/** A folder that the system removes later. */
export const scratch = () => mkdtemp(join(tmpdir(), "streams-"))

/** Fails instead of hanging. `what` may be a function, which is called at the timeout. */
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

/** Lets tests wait until a changing state is as expected. */
export class Watch {
  #looks = new Set()

  changed() {
    for (const look of this.#looks) look()
  }

  /** The first truthy result of `probe`, which may also throw. */
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

/** The lines that a worker logged, which tests can await. Warnings and errors are printed, too. */
export class Log {
  lines = []
  /** Warnings and errors, from the worker and from the platform. */
  trouble = []
  #watch = new Watch()

  /** Receives a line from the worker, and stores it if it is one of the worker's JSON lines. */
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

  /** The lines with these fields, once there are `count`. A line may arrive after the response it belongs to. */
  until(fields, count = 1, millis = SOON_MS) {
    const enough = () => {
      const found = this.matching(fields)
      return found.length >= count && found
    }
    return this.#watch.until(`${count} lines ${JSON.stringify(fields)}`, enough, millis)
  }
}

/** A server that logs debug lines, with clients for its streams. */
export async function start({ vars = {}, ...others } = {}) {
  const log = new Log()
  const server = await startServer({ ...others, vars: { LOG_LEVEL: "debug", ...vars }, onLog: log.take })
  return { ...server, log, stream: (path) => new Stream(server.url, path) }
}

/** One stream, as a plain HTTP client sees it. */
export class Stream {
  constructor(origin, path = unique()) {
    this.path = path
    this.url = `${origin}/v1/stream/${path}`
  }

  /** Sends a request, and reads its body unless the response is live. */
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

  append(body, headers = BYTES, millis = SOON_MS) {
    return this.ask("POST", { headers, body, status: [200, 204], millis })
  }

  read(offset = START, query = "") {
    return this.ask("GET", { query: `?offset=${offset}${query}`, status: 200 })
  }

  /** All chunks, from an offset to the tail. */
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
 * The built worker on plain workerd, as a child process that can be killed. The same folder restores its streams. There
 * is no proxy in front, unlike Miniflare's, so the worker sees each URL, body and disconnect as the client made it. It
 * has no bucket unless one is given. A `world` is the text of a module: the worker's fetches go to it, and its
 * entrypoints `Registry` and `Limit` are the bindings of these names. An entrypoint `Streams` replaces all objects. A
 * `front` is the file of a module that replaces the worker, and imports the built one as `./index.js`.
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
  // A front may use AsyncLocalStorage to attribute work to requests.
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
    /** The same server on a Unix socket, for which the system buffers little. A TCP socket may buffer megabytes. */
    unixPath,
    stream: (path) => new Stream(url, path),
  }
}

/** Runs `config.capnp` of a folder, and waits until these sockets listen. */
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
    /** Kills the process at once, without a shutdown. */
    async kill() {
      child.kill("SIGKILL")
      await exited
    },
  }
}

/** Parses a line of workerd's structured log. Any other line is an error in workerd's own words. */
function parseLogLine(line) {
  try {
    return JSON.parse(line)
  } catch {
    return { level: "error", message: line }
  }
}

/** The code blocks of README.md and docs/ that contain these words. */
export async function documentExamples(words) {
  const docs = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"))
  const pages = ["README.md", ...docs.map((name) => join("docs", name))]
  const texts = await Promise.all(pages.map((page) => readFile(join(root, page), "utf8")))
  const blocks = texts.flatMap((text) => [...text.matchAll(/^```[^\n]*\n(.*?)^```$/gmsu)].map(([, code]) => code))
  return blocks.filter((code) => code.includes(words))
}

/** The only code block of README.md and docs/ that contains these words. */
export async function documentExample(words) {
  const found = await documentExamples(words)
  if (found.length !== 1) throw new Error(`${found.length} code blocks of README.md and docs/ have ${words}`)
  return found[0]
}

/** The resident memory of a process. */
export function residentBytes(pid) {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", `${pid}`], { encoding: "utf8" })) * 1024
}
