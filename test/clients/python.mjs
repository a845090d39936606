// Installs the Python client in a folder of the checkout.

import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../platform/support.mjs"

const REQUIREMENTS = join(import.meta.dirname, "python", "requirements.txt")

/** Exits with 0 if Python has the version that the client needs, and has pip. */
const HAS_PIP = "import sys, pip; sys.exit(sys.version_info < (3, 10))"

/** Whether this machine has such a Python. */
export const isInstalled = spawnSync("python3", ["-c", HAS_PIP]).status === 0

if (!isInstalled) {
  const missing = "Python 3.10 or newer with pip is not installed (Debian: apt-get install python3-pip), so the tests of the Python client do not run."
  if (process.env.CI) throw new Error(missing)
  console.error(`SKIPPED: ${missing}`)
}

/** Installs the client once and returns its folder. */
export function installPythonClient() {
  const tools = join(root, ".tools")
  const [folder, unfinished] = [join(tools, "python"), join(tools, "python-unfinished")]
  const version = spawnSync("python3", ["--version"], { encoding: "utf8" }).stdout
  const wanted = `${version}${readFileSync(REQUIREMENTS, "utf8")}`
  const installed = join(folder, "installed.txt")
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) return folder
  for (const old of [folder, unfinished]) rmSync(old, { recursive: true, force: true })
  mkdirSync(tools, { recursive: true })
  const options = ["--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps", "--only-binary=:all:"]
  const args = ["-m", "pip", "install", ...options, "--target", unfinished, "--requirement", REQUIREMENTS]
  const { status, stderr } = spawnSync("python3", args, { encoding: "utf8" })
  if (status !== 0) {
    const hint = "the first run needs network access, or a reachable mirror in pip's configuration"
    throw new Error(`pip could not install test/clients/python/requirements.txt: ${hint}.\n${stderr.trim().split("\n").slice(-5).join("\n")}`)
  }
  writeFileSync(join(unfinished, "installed.txt"), wanted)
  renameSync(unfinished, folder)
  return folder
}
