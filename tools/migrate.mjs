// Makes the tables of the index of segments, or brings them up to date, if wrangler.toml binds a database for it.

import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./setup.mjs"

const BINDING = "ADMIN_DB"

/**
 * Without them the worker says so in its log, and goes on.
 * @param {"--local" | "--remote"} where
 * @returns {boolean} whether all is well; otherwise wrangler has said what is not
 */
export function migrate(where) {
  const config = readFileSync(join(root, "wrangler.toml"), "utf8")
  if (!config.includes(`\nbinding = "${BINDING}"`)) return true
  const wrangler = join(root, "node_modules", ".bin", "wrangler")
  const { status } = spawnSync(wrangler, ["d1", "migrations", "apply", BINDING, where], {
    cwd: root,
    // It asks whether it may, if there is somebody to ask.
    stdio: ["ignore", where === "--local" ? "ignore" : "inherit", "inherit"],
  })
  return status === 0
}
