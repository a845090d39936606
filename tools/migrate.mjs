// Creates or updates the tables of the segment index, if wrangler.toml binds its database.

import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./setup.mjs"

const BINDING = "ADMIN_DB"

/**
 * Applies the migrations. Without the tables, the Worker logs failures and keeps serving.
 * @param {"--local" | "--remote"} where
 * @returns {boolean} false if it failed; wrangler has then printed why
 */
export function migrate(where) {
  const config = readFileSync(join(root, "wrangler.toml"), "utf8")
  if (!config.includes(`\nbinding = "${BINDING}"`)) return true
  const wrangler = join(root, "node_modules", ".bin", "wrangler")
  const { status } = spawnSync(wrangler, ["d1", "migrations", "apply", BINDING, where], {
    cwd: root,
    // No stdin: with a terminal, wrangler would ask for confirmation.
    stdio: ["ignore", where === "--local" ? "ignore" : "inherit", "inherit"],
  })
  return status === 0
}
