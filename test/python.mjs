// Installs Python packages in a folder of the checkout.

import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { root } from "./deployed.mjs"

/** Exits with 0 if Python has the version that the packages need, and has pip. */
const HAS_PIP = "import sys, pip; sys.exit(sys.version_info < (3, 10))"

/** Whether this machine has such a Python. */
export const isInstalled = spawnSync("python3", ["-c", HAS_PIP]).status === 0

/** Says aloud that tests are left out. In CI, fails instead. @param {string} tests what does not run */
export function requirePython(tests) {
  if (isInstalled) return
  const missing = `Python 3.10 or newer with pip is not installed (Debian: apt-get install python3-pip), so ${tests} do not run.`
  if (process.env.CI) throw new Error(missing)
  console.error(`SKIPPED: ${missing}`)
}

/**
 * Installs the packages of a requirements file once, and returns their folder.
 * @param {string} name the name of the folder in `.tools`
 * @param {string} requirements the file, with each package in one version
 */
export function installPython(name, requirements) {
  const tools = join(root, ".tools")
  const [folder, unfinished] = [join(tools, name), join(tools, `${name}-unfinished`)]
  const version = spawnSync("python3", ["--version"], { encoding: "utf8" }).stdout
  const wanted = `${version}${readFileSync(requirements, "utf8")}`
  const installed = join(folder, "installed.txt")
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) return folder
  for (const old of [folder, unfinished]) rmSync(old, { recursive: true, force: true })
  mkdirSync(tools, { recursive: true })
  const options = ["--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps", "--only-binary=:all:"]
  const args = ["-m", "pip", "install", ...options, "--target", unfinished, "--requirement", requirements]
  const { status, stderr } = spawnSync("python3", args, { encoding: "utf8" })
  if (status !== 0) {
    const hint = "the first run needs network access, or a reachable mirror in pip's configuration"
    const reason = stderr.trim().split("\n").slice(-5).join("\n")
    throw new Error(`pip could not install ${relative(root, requirements)}: ${hint}.\n${reason}`)
  }
  writeFileSync(join(unfinished, "installed.txt"), wanted)
  renameSync(unfinished, folder)
  return folder
}
