// Puts in place, once, what building the worker needs beyond npm packages: the Rust toolchain and wasm-bindgen.

import { spawnSync } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import { join } from "node:path"

/** The checkout. */
export const root = join(import.meta.dirname, "..")

/** Where the tool lives: in the checkout, so that nothing is installed globally. */
const tools = join(root, ".tools")
const scratch = join(tools, "target")

/** Runs a command in the checkout with its output shown, and ends this process with its status if it fails. */
export function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  })
  if (error) throw new Error(`cannot run ${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

/** What a command prints, or "" if it cannot be run. */
function output(command, args) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8" }).stdout ?? ""
}

/** The version of a crate in Cargo.lock: its tool must be of the same one. */
function lockedVersion(crate) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8")
  const entry = lock.match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`))
  if (!entry) throw new Error(`Cargo.lock has no crate ${crate}`)
  return entry[1]
}

/** The compiler of rust-toolchain.toml with its wasm target; rustup may be set not to fetch it by itself. */
export function ensureToolchain() {
  const installed = output("rustup", ["target", "list", "--installed"])
  if (installed.includes("wasm32-unknown-unknown")) return
  console.log("Installing the Rust toolchain of rust-toolchain.toml (once; under a minute) ...")
  run("rustup", ["toolchain", "install", "--no-self-update"])
}

/** The path of wasm-bindgen's command. */
export function ensureWasmBindgen() {
  const path = join(tools, "bin", "wasm-bindgen")
  const version = lockedVersion("wasm-bindgen")
  if (output(path, ["--version"]).trim().split(" ").at(-1) === version) return path
  console.log(`Building wasm-bindgen-cli ${version} into .tools (once; 1 to 2 minutes) ...`)
  // Unoptimised is built in a third of the time, and runs for half a second.
  const args = ["install", "--debug", "--locked", "--root", tools, "--target-dir", scratch, "--bin", "wasm-bindgen"]
  run("cargo", [...args, `wasm-bindgen-cli@${version}`], { CARGO_PROFILE_DEV_DEBUG: "none" })
  rmSync(scratch, { recursive: true })
  return path
}

// By itself: what `cargo` needs, for the scripts that call it directly.
if (import.meta.main) ensureToolchain()
