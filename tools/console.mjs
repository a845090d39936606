// Builds the console (src/console) into build/console: a page, and a script, a style sheet and an icon that it names.

import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { build } from "esbuild"
import { root } from "./project.mjs"

/** The folder of the assets that wrangler.toml names. */
export const CONSOLE_FOLDER = join(root, "build/console")

const source = join(root, "src/console")

/**
 * Builds the files. Their names contain a hash of their content, so concurrent builds write the same files.
 * @param {string} out the folder, whose other files are removed
 * @returns {Promise<string[]>} the bundled paths
 */
export async function buildConsole(out) {
  const scratch = join(root, "target", `console-${process.pid}`)
  const { metafile } = await build({
    entryPoints: { app: join(source, "main.tsx"), icon: join(source, "icon.svg") },
    outdir: scratch,
    entryNames: "[name]-[hash]",
    ...{ bundle: true, format: "esm", minify: true, metafile: true, logLevel: "warning", target: "es2023" },
    ...{ jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
    loader: { ".svg": "copy" },
  })
  const names = Object.keys(metafile.outputs).map((path) => basename(path))
  const named = (end) => `/console/${names.find((name) => name.endsWith(end))}`
  const page = readFileSync(join(source, "index.html"), "utf8")
    .replace("app.js", named(".js"))
    .replace("app.css", named(".css"))
    .replace("icon.svg", named(".svg"))
  writeFileSync(join(scratch, "index.html"), page)

  mkdirSync(out, { recursive: true })
  for (const name of [...names, "index.html"]) renameSync(join(scratch, name), join(out, name))
  for (const name of readdirSync(out)) {
    if (![...names, "index.html"].includes(name)) rmSync(join(out, name), { recursive: true })
  }
  rmSync(scratch, { recursive: true })
  return Object.keys(metafile.inputs)
}

// Run as a script: builds only the console, which takes a fraction of a second.
if (import.meta.main) await buildConsole(CONSOLE_FOLDER)
