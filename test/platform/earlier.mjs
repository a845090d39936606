// Global setup of the tests on workerd: makes the earlier build that `deployment.test.mjs` runs next to this one. It is
// built once from the repository's history, which takes about a minute, because this build has compiled the same
// dependencies already. It runs before all tests, because both builds write the module to the same place, and a test of
// `pnpm dev` builds, too.

import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { RUST_FLAGS } from "../../tools/setup.mjs"
import { root } from "../deployed.mjs"

/** The last commit before calls between objects had types. */
const COMMIT = "171c05328c10bbd42f3214896c3b2d7a8c085bce"

/** The folder of that build's `index.js` and `index_bg.wasm`. */
export const earlierBuild = join(root, "target/earlier", COMMIT)

export default function setup() {
  if (existsSync(join(earlierBuild, "index.js"))) return
  const sources = join(root, "target/earlier", `sources-${process.pid}`)
  mkdirSync(sources, { recursive: true })
  try {
    execFileSync("tar", ["-x"], { cwd: sources, input: archive() })
    for (const shared of ["node_modules", ".tools"]) symlinkSync(join(root, shared), join(sources, shared))
    // With other flags, cargo would compile the dependencies again.
    const env = { ...process.env, ...RUST_FLAGS, CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? join(root, "target") }
    execFileSync("node", [join(sources, "tools/build.mjs")], { cwd: sources, env, stdio: "inherit" })
    renameSync(join(sources, "build"), earlierBuild)
  } finally {
    rmSync(sources, { recursive: true })
  }
}

function archive() {
  try {
    return execFileSync("git", ["archive", COMMIT], { cwd: root, maxBuffer: 2 ** 30 })
  } catch (cause) {
    throw new Error(`the tests build commit ${COMMIT}: get the whole history (git fetch --unshallow)`, { cause })
  }
}
