// Installs what the build needs beyond npm packages: the Rust toolchain and wasm-bindgen. A second run changes nothing.

import { spawnSync } from "node:child_process"
import { readFileSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { checkout, endWith, root } from "./project.mjs"

/** The folder of wasm-bindgen, in the checkout so that nothing is installed globally. */
const tools = join(root, ".tools")
const scratch = join(tools, "target")

/** The folder of cargo, with the sources of the crates. */
const cargo = process.env.CARGO_HOME ?? join(homedir(), ".cargo")

/** An environment in which rustc replaces the folders of this machine in the messages of panics. */
export const RUST_FLAGS = {
  CARGO_ENCODED_RUSTFLAGS: [`--remap-path-prefix=${root}=.`, `--remap-path-prefix=${join(cargo, "registry/src")}=crates`].join("\u001f"),
}

/** The advice for a missing command. */
const INSTALL_RUST = "Install Rust with rustup (https://rustup.rs), open a new terminal, and run this again."
const INSTALL_PACKAGES = `Install the packages: ${checkout.packages}`

/**
 * Runs a command in the checkout and shows its output. Exits with the command's status if it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, failed?: string }} [options] `failed` is the advice to print if the command fails
 */
export function run(command, args, { env = {}, failed } = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  })
  const isRust = ["rustup", "cargo"].includes(command)
  if (error) endWith(`${command} cannot be run (${error.message}). ${isRust ? INSTALL_RUST : INSTALL_PACKAGES}`)
  if (status === 0) return
  if (failed) endWith(failed, status ?? 1)
  process.exit(status ?? 1)
}

/** The output of a command, or "" if it cannot be run. */
function output(command, args) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8" }).stdout ?? ""
}

/** The version of a crate in Cargo.lock, which its command-line tool must have, too. */
function lockedVersion(crate) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8")
  const entry = lock.match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`))
  if (!entry) throw new Error(`Cargo.lock has no crate ${crate}`)
  return entry[1]
}

/** Installs the toolchain of rust-toolchain.toml with its wasm target, because rustup may be configured not to do so itself. */
export function ensureToolchain() {
  const installed = output("rustup", ["target", "list", "--installed"])
  if (installed.includes("wasm32-unknown-unknown")) return
  console.log("Installing the Rust toolchain of rust-toolchain.toml (once; under a minute) ...")
  const failed = "The Rust toolchain was not installed. Rustup downloads it: check the network, and run this again."
  run("rustup", ["toolchain", "install", "--no-self-update"], { failed })
}

/** Builds wasm-bindgen's command if it is missing, and returns its path. */
export function ensureWasmBindgen() {
  const path = join(tools, "bin", "wasm-bindgen")
  const version = lockedVersion("wasm-bindgen")
  if (output(path, ["--version"]).trim().split(" ").at(-1) === version) return path
  console.log(`Building wasm-bindgen-cli ${version} into .tools (once; 1 to 2 minutes) ...`)
  // A debug build takes a third of the time, and runs in half a second.
  const args = ["install", "--debug", "--locked", "--root", tools, "--target-dir", scratch, "--bin", "wasm-bindgen"]
  run("cargo", [...args, `wasm-bindgen-cli@${version}`], {
    env: { CARGO_PROFILE_DEV_DEBUG: "none" },
    failed: "wasm-bindgen-cli could not be built. The build needs the network and a C compiler: check both, and run this again.",
  })
  rmSync(scratch, { recursive: true })
  return path
}

// Run as a script: installs what `cargo` needs, for package scripts that call it directly.
if (import.meta.main) ensureToolchain()
