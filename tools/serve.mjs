// Serves a project on 127.0.0.1 (port 8787, or PORT) with `wrangler dev`.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { constants } from "node:os"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { configArgs, dataArgs, endWith, wranglerOf } from "./project.mjs"

/** How often to start wrangler if its helper socket collides. */
const STARTS_MAX = 5

const HOST = "127.0.0.1"
let port = process.env.PORT || "8787"

/** @param {import("./project.mjs").Project} project */
const anotherPort = ({ command }) => `choose another port: PORT=9000 ${command} dev`
const portInUse = (project) =>
  `Port ${port} of ${HOST} is in use. Stop the program that listens on it, or ${anotherPort(project)}`

/**
 * Reads the port from the arguments, and exits with advice if it is not available.
 * @param {import("./project.mjs").Project} project
 * @param {string[]} args
 * @returns {Promise<string[]>} the other arguments
 */
export async function expectPort(project, args) {
  const at = args.findIndex((arg) => arg === "--port" || arg.startsWith("--port="))
  const isNext = args[at] === "--port"
  if (at >= 0) port = (isNext ? args[at + 1] : args[at].slice("--port=".length)) ?? ""
  if (!/^\d{1,5}$/u.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    endWith(`${JSON.stringify(port)} is no port from 1 to 65535; ${anotherPort(project)}`)
  }
  await expectFree(project)
  return at < 0 ? args : args.toSpliced(at, isNext ? 2 : 1)
}

/** @param {import("./project.mjs").Project} project */
async function expectFree(project) {
  const probe = createServer()
  try {
    const listening = once(probe, "listening")
    probe.listen(Number(port), HOST)
    await listening
  } catch (error) {
    if (error.code === "EADDRINUSE") endWith(portInUse(project))
    endWith(`The server cannot listen on port ${port} (${error.message}): ${anotherPort(project)}`)
  }
  const closed = once(probe, "close")
  probe.close()
  await closed
}

/**
 * Serves until a signal or a failure, and exits as wrangler exits.
 * @param {import("./project.mjs").Project} project
 * @param {string[]} args passed to `wrangler dev`
 * @returns {Promise<never>}
 */
export async function serve(project, args) {
  let server
  let signalled = false
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      signalled = true
      server?.kill(signal)
    })
  }
  const { program } = wranglerOf(project)
  sayMode()
  for (let start = 1; ; start += 1) {
    const { status, taken } = await run(project, [program, "dev", ...devArgs(project), ...args], (child) => (server = child))
    if (taken === `${HOST}:${port}`) endWith(portInUse(project), status)
    // Wrangler chooses the port of its debugger's socket before it binds the port, so another wrangler may bind it first.
    const collided = taken !== undefined && status !== 0 && !signalled
    if (!collided) process.exit(status)
    const collision = `Wrangler's helper socket collided with another program's socket (${taken})`
    if (start === STARTS_MAX) endWith(`${collision} ${start} times. Stop other wranglers, and run this again.`, status)
    console.error(`${collision}. Starting wrangler again (${start + 1} of ${STARTS_MAX}) ...`)
  }
}

/** @param {import("./project.mjs").Project} project */
function devArgs(project) {
  // Wrangler looks for this file next to its configuration.
  const secrets = join(project.folder, ".dev.vars")
  const secretsArgs = project.isWritten && existsSync(secrets) ? ["--env-file", secrets] : []
  return ["--local", "--ip", HOST, "--port", port, ...configArgs(project), ...dataArgs(project), ...secretsArgs]
}

/**
 * Runs wrangler until it exits.
 * @returns {Promise<{ status: number, taken?: string }>} its exit status, and the address that it reported as in use
 */
async function run({ folder, packages }, args, onStart) {
  const env = { ...colours(), ...process.env }
  const server = spawn(process.execPath, args, { cwd: folder, stdio: ["inherit", "inherit", "pipe"], env })
  onStart(server)
  let errors = ""
  server.stderr.on("data", (bytes) => {
    process.stderr.write(bytes)
    errors = `${errors}${bytes}`.slice(-10_000)
  })
  server.on("error", ({ message }) => endWith(`Wrangler cannot be started (${message}). Install the packages: ${packages}`))
  const [code, signal] = await once(server, "close")
  const status = code ?? 128 + constants.signals[signal]
  return { status, taken: /Address already in use \(([^)]+)\)/.exec(errors)?.[1] }
}

/** Turns wrangler's colours on for a terminal: wrangler itself sees only a pipe. */
function colours() {
  return process.stderr.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: "1" } : {}
}

/** Prints the access mode, the console's URL and what to try, as soon as the Worker answers. */
async function sayMode() {
  const url = `http://${HOST}:${port}`
  let health
  while (health === undefined) {
    await wait(500, undefined, { ref: false })
    const asked = fetch(`${url}/health`).then((response) => response.json())
    health = await asked.catch(() => undefined)
  }
  const { mode, error } = health
  if (error) return console.log(error.message)
  console.log(`Mode: ${mode}${mode === "open" ? " (requests from this machine may do everything)" : ""}`)
  const page = `${url}/console`
  const hasConsole = await fetch(page, { method: "HEAD" }).then(({ ok }) => ok, () => false)
  if (hasConsole) console.log(`Console: ${page}`)
  const token = mode === "open" ? "" : " -H 'Authorization: Bearer <token>'"
  console.log(`Serving ${url}. Try it in another terminal:
  S=${url}/v1/stream/my-project/first
  curl -X PUT $S${token} -H 'Content-Type: application/json'
  curl -X POST $S${token} -H 'Content-Type: application/json' -d '{"text":"Hello"}'
  curl -N "$S?offset=-1&live=sse"${token}`)
}
