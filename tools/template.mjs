// The configuration for a user's project, made from this project's wrangler.toml.

import { readFileSync } from "node:fs"
import { join } from "node:path"

const SOURCE = join(import.meta.dirname, "..", "wrangler.toml")

/**
 * @param {{ main: string, migrations: string, files: string }} paths the entry point, the folder of the migrations, and the
 * folder of `build`, as the configuration names them
 * @param {string} [name] the name of the Worker, if it is another one. Its bucket and database are named after it, because
 * two Workers must not share them
 */
export function wranglerToml({ main, migrations, files }, name) {
  let text = readFileSync(SOURCE, "utf8")
  if (name !== undefined) {
    text = replaced(text, /^name = "durable-streams"$/mu, `name = "${name}"`)
    text = replaced(text, /^bucket_name = .*$/mu, `bucket_name = "${name}-segments"`)
    text = replaced(text, /^database_name = .*$/mu, `database_name = "${name}-admin"`)
  }
  text = replaced(text, /^main = .*$/mu, `main = ${JSON.stringify(main)}`)
  // The package is built.
  text = replaced(text, /^\[build\]\n(?:[^[\n].*\n)*\n/mu, "")
  text = replaced(text, /^(database_name = .*)$/mu, `$1\nmigrations_dir = ${JSON.stringify(migrations)}`)
  return replaced(text, /^directory = .*$/mu, `directory = ${JSON.stringify(`${files}/build/console`)}`)
}

/** @param {string} text @param {RegExp} found @param {string} by */
function replaced(text, found, by) {
  if (!found.test(text)) throw new Error(`wrangler.toml has no ${found}`)
  return text.replace(found, by)
}
