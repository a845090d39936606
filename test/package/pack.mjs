// Packs the package, installs it with npm, and makes the release: once for all test files.

import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "../deployed.mjs"

/** Packs into a new folder, from what is built. @returns {string} the tarball */
export function pack(folder) {
  mkdirSync(folder)
  // The scripts of the package would build it again.
  execFileSync("pnpm", ["--config.ignore-scripts=true", "pack", "--pack-destination", folder], { cwd: root })
  return join(folder, readdirSync(folder)[0])
}

/** Everything that the tests write is in one folder. */
export default function setup({ provide }) {
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
  provide("folder", folder)
  provide("tarball", tarball)
  provide("installed", installed)
  return () => rmSync(folder, { recursive: true })
}
