// `pnpm dev` with a fake wrangler. `pnpm dev` restarts wrangler only if wrangler's own helper socket collides, exits as
// wrangler exits, and explains what to install if something is missing.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { delimiter, join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { SOON_MS, root, scratch, within } from "./support.mjs"

const inUse = (address) => `Address already in use (${address}). Please check that you are not already running a server.`
const COLLISION = inUse("socket direct:1:default")

/** What the fake wrangler does at each start. It repeats the last act. */
const ACTS = {
  collides: { says: COLLISION, ends: 1 },
  collidesElsewhere: { says: inUse("127.0.0.1:9229"), ends: 1 },
  isBeatenToThePort: { says: inUse("127.0.0.1:PORT"), ends: 1 },
  fails: { says: "Address already in use", ends: 3 },
  warns: { says: COLLISION, ends: 0 },
  serves: { waits: true },
  // The first response is not the worker's, and each takes longer than the pause of `pnpm dev` between two requests.
  servesSlowly: { waits: true, answers: ["<h1>503</h1>", '{"mode":"token"}'] },
}

const FAKE_WRANGLER = `
const { appendFileSync, readFileSync } = require("node:fs")
appendFileSync("starts", process.argv.slice(2).join(" ") + "\\n")
const acts = JSON.parse(process.env.ACTS)
const start = readFileSync("starts", "utf8").split("\\n").length - 1
const { says, ends, waits, answers } = acts[Math.min(start, acts.length) - 1]
if (says) console.error(says.replace("PORT", process.env.PORT))
if (!waits) process.exit(ends)
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {
  // A wrangler that is stopped during a collision prints this, too.
  console.error(${JSON.stringify(COLLISION)})
  process.exit(signal === "SIGINT" ? 7 : 8)
})
console.log("Ready")
if (answers) {
  const server = require("node:http").createServer((request, response) => {
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    setTimeout(() => response.end(answer), 1200)
  })
  server.listen(Number(process.env.PORT), "127.0.0.1")
}
setInterval(() => {}, 1000)
`

/** A checkout with the real tools, in which everything else is fake. */
async function checkout({ rustup = "echo wasm32-unknown-unknown" } = {}) {
  const folder = await scratch()
  const bins = { "bin/rustup": rustup, ".tools/bin/wasm-bindgen": `echo "wasm-bindgen ${await wasmBindgenVersion()}"` }
  for (const [path, command] of Object.entries(bins)) {
    await mkdir(join(folder, path, ".."), { recursive: true })
    if (command) await writeFile(join(folder, path), `#!/bin/sh\n${command}\n`, { mode: 0o755 })
  }
  await cp(join(root, "tools"), join(folder, "tools"), { recursive: true })
  await cp(join(root, "Cargo.lock"), join(folder, "Cargo.lock"))
  await writeFile(join(folder, "wrangler.toml"), "")
  // The console is built before wrangler starts.
  await symlink(join(root, "src"), join(folder, "src"))
  await mkdir(join(folder, "node_modules"))
  await symlink(join(root, "node_modules/esbuild"), join(folder, "node_modules/esbuild"))
  const wrangler = join(folder, "node_modules/wrangler")
  await mkdir(wrangler, { recursive: true })
  await writeFile(join(wrangler, "package.json"), '{ "version": "0.0.0", "bin": { "wrangler": "fake.cjs" } }')
  await writeFile(join(wrangler, "fake.cjs"), FAKE_WRANGLER)
  return folder
}

const wasmBindgenVersion = async () =>
  /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(await readFile(join(root, "Cargo.lock"), "utf8"))[1]

/** A port that is free, or taken if `isTaken`. */
async function somePort({ isTaken = false } = {}) {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  if (isTaken) onTestFinished(() => server.close())
  else server.close()
  return `${port}`
}

/** Sends a signal to `pnpm dev` once it serves. */
const whenReady = (signal) => (child, said) => said.includes("Ready") && child.kill(signal)

/** Runs `pnpm dev` until it exits. */
async function dev(acts, { onSaid = () => {}, port, ...more } = {}) {
  const folder = await checkout(more)
  port ??= await somePort()
  const env = { ...process.env, PORT: port, ACTS: JSON.stringify(acts.map((act) => ACTS[act])) }
  const path = more.rustup === null ? [join(folder, "bin")] : [join(folder, "bin"), process.env.PATH]
  const child = spawn(process.execPath, [join(folder, "tools/dev.mjs")], { env: { ...env, PATH: path.join(delimiter) } })
  onTestFinished(() => child.kill("SIGKILL"))
  let [said, errors] = ["", ""]
  child.stdout.on("data", (bytes) => {
    said += bytes
    onSaid(child, said)
  })
  child.stderr.on("data", (bytes) => (errors += bytes))
  const [code, signal] = await within(SOON_MS, "dev ends", once(child, "close"))
  const starts = await readFile(join(folder, "starts"), "utf8").catch(() => "")
  return { code, signal, said, errors, port, starts: starts.split("\n").slice(0, -1) }
}

test("restarts wrangler when its helper socket collides, until it serves", async () => {
  for (const act of ["collides", "collidesElsewhere"]) {
    const { code, starts, errors, port } = await dev([act, act, "serves"], { onSaid: whenReady("SIGINT") })
    expect(starts).toEqual(Array(3).fill(`dev --local --ip 127.0.0.1 --port ${port}`))
    const again = [...errors.matchAll(/Starting wrangler again \((\d) of 5\)/g)]
    expect(again.map(([, start]) => start)).toEqual(["2", "3"])
    expect(code).toBe(7)
  }
})

test("gives up when the socket collides each time", async () => {
  const { code, starts, errors } = await dev(["collides"])
  expect([code, starts.length]).toEqual([1, 5])
  expect(errors).toContain("(socket direct:1:default) 5 times. Stop other wranglers, and run this again.")
})

test("does not restart wrangler after any other exit, and exits with the same code", async () => {
  for (const [act, status] of [["fails", 3], ["warns", 0], ["isBeatenToThePort", 1]]) {
    const { code, starts, errors, port } = await dev([act, "serves"])
    expect([act, code, starts.length]).toEqual([act, status, 1])
    expect(errors.includes(`Port ${port} of 127.0.0.1 is in use.`)).toBe(act === "isBeatenToThePort")
  }
})

test("forwards signals, and does not restart wrangler after one", async () => {
  for (const [signal, status] of [["SIGINT", 7], ["SIGTERM", 8]]) {
    const { code, starts } = await dev(["serves"], { onSaid: whenReady(signal) })
    expect([code, starts.length]).toEqual([status, 1])
  }
})

test("prints the mode once, when the worker answers", async () => {
  // Enough time for three more responses.
  const onSaid = (child, said) => said.includes("Serving") && setTimeout(() => child.kill("SIGINT"), 1500)
  const { said, code } = await dev(["servesSlowly"], { onSaid })
  expect(said.match(/^Mode: .*$/gmu)).toEqual(["Mode: token"])
  expect(said).toMatch(/^Console: http:\/\/127\.0\.0\.1:\d+\/console$/mu)
  expect(code).toBe(7)
})

test("says at once that the port is in use, and what to do", async () => {
  const port = await somePort({ isTaken: true })
  const { code, starts, errors } = await dev(["serves"], { port })
  expect([code, starts]).toEqual([1, []])
  expect(errors.trim()).toBe(
    `Port ${port} of 127.0.0.1 is in use. Stop the program that listens on it, or choose another port: PORT=9000 npx -y pnpm@10 dev`,
  )
})

test("says what to do about an invalid port", async () => {
  const { code, errors } = await dev(["serves"], { port: "http" })
  expect(code).toBe(1)
  expect(errors).toMatch(/^"http" is no port from 1 to 65535; choose another port: PORT=9000/)
})

test("says what to do without Rust, and without a network to install it", async () => {
  const without = await dev(["serves"], { rustup: null })
  expect([without.code, without.starts]).toEqual([1, []])
  expect(without.errors).toMatch(/^rustup cannot be run \(.*\)\. Install Rust with rustup \(https:\/\/rustup\.rs\)/)
  const offline = await dev(["serves"], { rustup: `[ "$1" = target ] || exit 9` })
  expect([offline.code, offline.starts]).toEqual([9, []])
  const advice = "Rustup downloads it: check the network, and run this again."
  expect(offline.errors.trim()).toBe(`The Rust toolchain was not installed. ${advice}`)
})
