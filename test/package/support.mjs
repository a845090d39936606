// Shared by the tests of the package: a user's folder with the installed package, and a PATH without Rust.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, readFile, readdir, symlink, writeFile } from "node:fs/promises"
import { basename, delimiter, dirname, join } from "node:path"
import { Miniflare, convertV4MiniflareOptions } from "miniflare"
import { inject, onTestFinished } from "vitest"
import { compatibility, root } from "../deployed.mjs"

export { root }

const PACKAGE = "durable-streams-cloudflare"

/** The environment of a user: no Rust, no account, and nothing of this checkout. */
export function userEnv(home, more = {}) {
  const PATH = [dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter)
  return { PATH, HOME: home, NO_COLOR: "1", CI: "1", WRANGLER_SEND_METRICS: "false", ...more }
}

/** A new folder. */
export const newFolder = () => mkdtemp(join(inject("folder"), "user-"))

/** Copies what npm has installed into a folder, and links other packages of the checkout there. */
export async function install(folder, ...others) {
  await cp(inject("installed"), folder, { recursive: true, verbatimSymlinks: true, force: false })
  for (const name of others) await symlink(join(root, "node_modules", name), join(folder, "node_modules", name))
}

/** A program that does not end is stopped before the test gives up, so that it stops what it has started. */
const PATIENCE_MS = 120_000

/** Runs a program to its end. @returns {Promise<{ code: number | null, said: string, errors: string }>} */
export async function run(command, args, { cwd, env, onSaid = (_child, _said) => {} }) {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS })
  let [said, errors] = ["", ""]
  child.stdout.on("data", (bytes) => {
    said += bytes
    onSaid(child, said)
  })
  child.stderr.on("data", (bytes) => (errors += bytes))
  const [code] = await once(child, "close")
  return { code, said, errors }
}

/** Runs the package's command in a folder. */
export function command(folder, args, options = {}) {
  const bin = join(folder, "node_modules/.bin", PACKAGE)
  return run(process.execPath, [bin, ...args], { cwd: folder, env: userEnv(folder, options.env), onSaid: options.onSaid })
}

/** Has wrangler bundle a Worker, as a deployment does. @returns {Promise<string>} the folder of the bundle */
export async function bundle(folder) {
  const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js")
  const { code, said, errors } = await run(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", "dist"], { cwd: folder, env: userEnv(folder) })
  if (code !== 0) throw new Error(`${said}\n${errors}`)
  return join(folder, "dist")
}

/** The modules of a bundle, the main one first. */
export async function modulesOf(dist) {
  const files = (await readdir(dist)).filter((file) => /\.(js|wasm)$/u.test(file)).toSorted((file) => (file.endsWith(".js") ? -1 : 1))
  return files.map((file) => ({ type: /** @type {const} */ (file.endsWith(".js") ? "ESModule" : "CompiledWasm"), path: join(dist, file) }))
}

/**
 * Serves a bundled Worker with the server's bindings, on a free port of 127.0.0.1.
 * @param {string} dist
 * @param {object} [options] more of a Miniflare worker: `bindings`, `serviceBindings`
 * @param {object[]} [others] more Workers
 */
export async function serve(dist, options = {}, others = []) {
  const mf = new Miniflare(
    convertV4MiniflareOptions({
      ...{ host: "127.0.0.1", port: 0, cf: false },
      workers: [{ name: "app", ...(await workerOf(dist)), ...options }, ...others],
    }),
  )
  onTestFinished(() => mf.dispose())
  return (await mf.ready).origin
}

/** A Worker of a bundle, for `serve`. */
export async function workerOf(dist) {
  return {
    ...compatibility,
    rootPath: dist,
    modules: await modulesOf(dist),
    durableObjects: { STREAMS: { className: "StreamObject", useSQLite: true } },
    r2Buckets: { SEGMENTS: `segments-${basename(dirname(dist))}` },
  }
}

/** The code blocks of docs/library.md, by language. */
export async function blocksOfLibrary() {
  const text = await readFile(join(root, "docs/library.md"), "utf8")
  const blocks = [...text.matchAll(/```(toml|js worker)\n([^]*?)```/gu)]
  const of = (language) => blocks.filter(([, found]) => found === language).map(([, , code]) => code)
  const [mounted, plain, guarded, hono, bound] = of("js worker")
  return { config: of("toml")[0], mounted, plain, guarded, hono, bound }
}

/** An application with the code of a block, installed and bundled. Without `config`, it has that of the page. */
export async function application(code, { packages = [], config = undefined } = {}) {
  config ??= (await blocksOfLibrary()).config
  const folder = await newFolder()
  await mkdir(join(folder, "src"))
  await writeFile(join(folder, "wrangler.toml"), config)
  await writeFile(join(folder, "src/index.js"), code)
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }')
  await install(folder, ...packages)
  return bundle(folder)
}
