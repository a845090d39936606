// Builds and packs the package, installs it with npm, and makes the release: once for all test files.

import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import build from "../build.mjs"
import { root } from "../deployed.mjs"

/** The digests of all files of a folder, by their paths in it. */
export function digests(folder) {
  const digest = (file) => createHash("sha256").update(readFileSync(join(folder, file))).digest("hex")
  return Object.fromEntries(filesOf(folder).map((file) => [file, digest(file)]))
}

/** The files of a folder, or the file. */
function filesOf(path) {
  if (!statSync(path).isDirectory()) return [""]
  const all = /** @type {string[]} */ (readdirSync(path, { recursive: true }))
  return all.filter((file) => statSync(join(path, file)).isFile()).toSorted()
}

/** What the build makes, if it is there and newer than all its sources. */
function currentBuild() {
  try {
    const built = statSync(join(root, "build/bundled.json")).mtimeMs
    const sources = ["src", "tools", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "pnpm-lock.yaml"].map((path) => join(root, path))
    const times = sources.flatMap((path) => filesOf(path).map((file) => statSync(join(path, file)).mtimeMs))
    return times.every((time) => time < built) ? digests(join(root, "build")) : undefined
  } catch {
    return undefined
  }
}

/** Packs into a new folder, from what is built. @returns {string} the tarball */
export function pack(folder) {
  mkdirSync(folder)
  // The scripts of the package would build it again.
  execFileSync("pnpm", ["--config.ignore-scripts=true", "pack", "--pack-destination", folder], { cwd: root })
  return join(folder, readdirSync(folder)[0])
}

/** Everything that the tests write is in one folder. */
export default function setup({ provide }) {
  const before = currentBuild()
  build()
  for (const tool of ["licenses.mjs", "release.mjs"]) {
    execFileSync(process.execPath, [join(root, "tools", tool)], { stdio: ["ignore", "ignore", "inherit"] })
  }
  const folder = mkdtempSync(join(tmpdir(), "package-"))
  const tarball = pack(join(folder, "packed"))
  const installed = join(folder, "installed")
  mkdirSync(installed)
  const npm = ["install", "--offline", "--no-audit", "--no-fund", "--legacy-peer-deps", tarball]
  const env = { ...process.env, npm_config_cache: join(folder, "npm") }
  execFileSync("npm", npm, { cwd: installed, env, stdio: ["ignore", "ignore", "inherit"] })
  provide("before", before)
  provide("folder", folder)
  provide("tarball", tarball)
  provide("installed", installed)
  return () => rmSync(folder, { recursive: true, maxRetries: 10 })
}
