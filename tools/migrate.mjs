// Creates or updates the tables of the segment index, if the project binds its database.

import { readFileSync } from "node:fs"
import { dataArgs, wrangler } from "./project.mjs"

/** The line that binds the database, in TOML or JSON. */
const BINDING = /^[^#/\n]*\bbinding"?\s*[=:]\s*"ADMIN_DB"/mu

/**
 * Applies the migrations. Without the tables, the Worker logs failures and keeps serving.
 * @param {import("./project.mjs").Project} project
 * @param {"--local" | "--remote"} where
 * @param {string[]} [args] more arguments for wrangler
 * @returns {{ ok: boolean, said: string }} what wrangler said, which explains a failure
 */
export function migrate(project, where, args = []) {
  if (!BINDING.test(readFileSync(project.config, "utf8"))) return { ok: true, said: "" }
  const data = where === "--local" ? dataArgs(project) : []
  return wrangler(project, ["d1", "migrations", "apply", "ADMIN_DB", where, ...data, ...args])
}
