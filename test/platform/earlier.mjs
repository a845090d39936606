// Global set-up of the tests on workerd: the build that `deployment.test.mjs` runs next to this one. It is made once, from the
// repository's history, in about a minute: the dependencies are those that this build has compiled already. That comes before all
// tests because both builds put the module in the same place, and a test of `pnpm dev` builds, too.

import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { root } from "../deployed.mjs"

/** The last commit before objects had one typed call. */
const COMMIT = "171c05328c10bbd42f3214896c3b2d7a8c085bce"

/** Where `index.js` and `index_bg.wasm` of that build are. */
export const earlierBuild = join(root, "target/earlier", COMMIT)

export default function setup() {
  if (existsSync(join(earlierBuild, "index.js"))) return
  const sources = join(root, "target/earlier", `sources-${process.pid}`)
  mkdirSync(sources, { recursive: true })
  try {
    execFileSync("tar", ["-x"], { cwd: sources, input: archive() })
    for (const shared of ["node_modules", ".tools"]) symlinkSync(join(root, shared), join(sources, shared))
    const env = { ...process.env, CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? join(root, "target") }
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
