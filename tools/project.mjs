// The folder that a command works on, and wrangler in it: the checkout, or a user's folder with the npm package.

import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { wranglerToml } from "./template.mjs"

/** The checkout, or the installed package. */
export const root = join(import.meta.dirname, "..")

/** The names that wrangler looks for, in its order. */
const CONFIGS = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"]

/** Exits with a sentence that says what to do. @returns {never} */
export function endWith(sentence, status = 1) {
  console.error(sentence)
  process.exit(status)
}

/**
 * @typedef {object} Project
 * @property {string} folder
 * @property {string} config the file that configures the Worker
 * @property {boolean} isWritten whether this program has written the file, because the folder has none
 * @property {string} command how to run a command in it, without the command's name
 * @property {string} packages how to install its packages
 */

/** The checkout. @type {Project} */
export const checkout = {
  folder: root,
  config: join(root, "wrangler.toml"),
  isWritten: false,
  command: "npx -y pnpm@10",
  packages: "npx -y pnpm@10 install",
}

/** The project in a user's folder. Without a configuration of its own, it is the server as it is. @returns {Project} */
export function projectIn(folder) {
  const own = CONFIGS.map((name) => join(folder, name)).find(existsSync)
  const config = own ?? join(folder, ".wrangler", "durable-streams", "wrangler.toml")
  const command = "npx durable-streams-cloudflare"
  return { folder, config, isWritten: !own, command, packages: "npm install --save-dev wrangler" }
}

/** Writes the configuration of a project that has none. A `dev` that runs there reloads if the file is written. @param {Project} project */
export function ensureConfig({ isWritten, config }) {
  if (!isWritten) return
  const text = wranglerToml({ main: join(root, "build/index.js"), migrations: join(root, "migrations"), files: root })
  if (existsSync(config) && readFileSync(config, "utf8") === text) return
  mkdirSync(dirname(config), { recursive: true })
  writeFileSync(config, text)
}

/** The program of the project's wrangler, or else of the one that was installed with this package. @param {Project} project */
export function wranglerOf({ folder, packages }) {
  for (const from of [folder, root]) {
    try {
      const manifest = createRequire(join(from, "package.json")).resolve("wrangler/package.json")
      const { bin } = JSON.parse(readFileSync(manifest, "utf8"))
      return { program: join(dirname(manifest), bin.wrangler), module: from }
    } catch {
      // It is not there.
    }
  }
  return endWith(`Wrangler is not installed. Install it: ${packages}`)
}

/** The arguments that name the project's configuration, if wrangler would not find it. @param {Project} project */
export const configArgs = ({ isWritten, config }) => (isWritten ? ["--config", config] : [])

/** The arguments that name the folder of local data, if wrangler would choose another one. @param {Project} project */
export const dataArgs = ({ isWritten, folder }) =>
  isWritten ? ["--persist-to", join(folder, ".wrangler", "state")] : []

/**
 * Runs wrangler to its end. Without `shows`, its output is returned and not shown, and it has no terminal, so it never asks.
 * @param {Project} project
 * @param {string[]} args
 * @param {{ shows?: boolean, input?: string, env?: Record<string, string> }} [options] `input` is what it reads
 */
export function wrangler(project, args, { shows = false, input, env = {} } = {}) {
  const own = shows ? "inherit" : "ignore"
  const stdio = [input === undefined ? own : "pipe", shows ? "inherit" : "pipe", shows ? "inherit" : "pipe"]
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [wranglerOf(project).program, ...args, ...configArgs(project)], {
    cwd: project.folder,
    encoding: "utf8",
    stdio: /** @type {any} */ (stdio),
    input,
    env: { ...process.env, ...env },
  })
  if (error) endWith(`Wrangler cannot be run (${error.message}).`)
  return { ok: status === 0, status: status ?? 1, stdout: stdout ?? "", said: `${stdout ?? ""}${stderr ?? ""}` }
}

/** The project's configuration, as wrangler reads it. @param {Project} project @param {string} [env] the name of an environment */
export async function configOf(project, env) {
  const path = createRequire(join(wranglerOf(project).module, "package.json")).resolve("wrangler")
  const { unstable_readConfig: read } = await import(pathToFileURL(path).href)
  return read({ config: project.config, env })
}
