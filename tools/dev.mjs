// Serves the Worker on 127.0.0.1 (port 8787, or PORT) after all set-up. Arguments are passed to `wrangler dev`.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { constants } from "node:os"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { CONSOLE_FOLDER, buildConsole } from "./console.mjs"
import { migrate } from "./migrate.mjs"
import { INSTALL_PACKAGES, endWith, ensureToolchain, ensureWasmBindgen, root } from "./setup.mjs"

/** How often to start wrangler if its helper socket collides. */
const STARTS_MAX = 5

const HOST = "127.0.0.1"
const port = process.env.PORT || "8787"
const ANOTHER_PORT = "choose another port: PORT=9000 npx -y pnpm@10 dev"
const PORT_IN_USE = `Port ${port} of ${HOST} is in use. Stop the program that listens on it, or ${ANOTHER_PORT}`

// Checked before the build, which takes a minute.
await expectPort()
ensureToolchain()
ensureWasmBindgen()
// Wrangler looks for the folder before it builds.
await buildConsole(CONSOLE_FOLDER)
migrate("--local")
console.log("Building the Worker, then serving it (the first build takes about a minute) ...")

let server
let signalled = false
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    signalled = true
    server.kill(signal)
  })
}
sayMode()
for (let start = 1; ; start += 1) {
  const { status, taken } = await serve()
  if (taken === `${HOST}:${port}`) endWith(PORT_IN_USE, status)
  // Wrangler chooses the port of its debugger's socket before it binds the port, so another wrangler may bind it first.
  const collided = taken !== undefined && status !== 0 && !signalled
  if (!collided) process.exit(status)
  const collision = `Wrangler's helper socket collided with another program's socket (${taken})`
  if (start === STARTS_MAX) endWith(`${collision} ${start} times. Stop other wranglers, and run this again.`, status)
  console.error(`${collision}. Starting wrangler again (${start + 1} of ${STARTS_MAX}) ...`)
}

/**
 * Runs wrangler until it exits.
 * @returns {Promise<{ status: number, taken?: string }>} its exit status, and the address that it reported as in use
 */
async function serve() {
  const wrangler = join(root, "node_modules", ".bin", "wrangler")
  const args = ["dev", "--local", "--ip", HOST, "--port", port, ...process.argv.slice(2)]
  const env = { ...colours(), ...process.env }
  server = spawn(wrangler, args, { cwd: root, stdio: ["inherit", "inherit", "pipe"], env })
  let errors = ""
  server.stderr.on("data", (bytes) => {
    process.stderr.write(bytes)
    errors = `${errors}${bytes}`.slice(-10_000)
  })
  server.on("error", ({ message }) => endWith(`Wrangler cannot be started (${message}). ${INSTALL_PACKAGES}`))
  const [code, signal] = await once(server, "close")
  const status = code ?? 128 + constants.signals[signal]
  return { status, taken: /Address already in use \(([^)]+)\)/.exec(errors)?.[1] }
}

/** Turns wrangler's colours on for a terminal: wrangler itself sees only a pipe. */
function colours() {
  return process.stderr.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: "1" } : {}
}

/** Exits with advice if the port is not available. */
async function expectPort() {
  const probe = createServer()
  try {
    const listening = once(probe, "listening")
    probe.listen(Number(port), HOST)
    await listening
  } catch (error) {
    if (error.code === "EADDRINUSE") endWith(PORT_IN_USE)
    endWith(`The server cannot listen on port ${port} (${error.message}): ${ANOTHER_PORT}`)
  }
  const closed = once(probe, "close")
  probe.close()
  await closed
}

/** Prints the access mode, and the console's URL, as soon as the Worker answers. */
async function sayMode() {
  let health
  while (health === undefined) {
    await wait(500, undefined, { ref: false })
    const asked = fetch(`http://${HOST}:${port}/health`).then((response) => response.json())
    health = await asked.catch(() => undefined)
  }
  const { mode, error } = health
  console.log(error ? error.message : `Mode: ${mode}${mode === "open" ? " (requests from this machine may do everything)" : ""}`)
  const page = `http://${HOST}:${port}/console`
  const { ok } = await fetch(page).catch(() => ({ ok: false }))
  if (ok) console.log(`Console: ${page}`)
}
