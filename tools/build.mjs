// Builds the Worker for release into build/: index.js to deploy, library.js to import, index_bg.wasm for both, and the console.
// With `--counters` it builds a Worker that counts billed events, for `pnpm cost`, into target/counters, which is never deployed.
// The same sources give the same bytes, wherever the checkout is.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { build } from "esbuild"
import { CONSOLE_FOLDER, buildConsole } from "./console.mjs"
import { root } from "./project.mjs"
import { RUST_FLAGS, ensureToolchain, ensureWasmBindgen, run } from "./setup.mjs"

const TARGET = "wasm32-unknown-unknown"
const { counters } = parseArgs({ options: { counters: { type: "boolean", default: false } } }).values
const out = join(root, counters ? "target/counters" : "build")
/** Each running build has its own folder, so concurrent builds do not collide, and `build` never has a partial one. */
const scratch = join(root, "target", `worker-${process.pid}`)
const bin = (name) => join(root, "node_modules", ".bin", name)

ensureToolchain()
const wasmBindgen = ensureWasmBindgen()

const features = counters ? ["--features", "counters"] : []
run("cargo", ["build", "--release", "--locked", "--lib", "--target", TARGET, ...features], { env: RUST_FLAGS })

const compiled = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), TARGET, "release/durable_streams.wasm")
mkdirSync(scratch, { recursive: true })
run(wasmBindgen, [
  compiled,
  ...["--out-dir", scratch, "--out-name", "index", "--target", "module"],
  // After a panic, worker.js gives the module new memory.
  "--experimental-reset-state-function",
])

const wasm = join(scratch, "out", "index_bg.wasm")
mkdirSync(join(scratch, "out"))
run(bin("wasm-opt"), [
  ...[join(scratch, "index_bg.wasm"), "-o", wasm, "-O3", "--debuginfo", "--one-caller-inline-max-function-size=500"],
  // Only the features that rustc and wasm-bindgen use: with all features, binaryen's output is not readable for workerd.
  ...["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types"].map(
    (feature) => `--enable-${feature}`,
  ),
])

checkDeclared()

// In workerd, a plain import yields the module itself.
const glue = join(scratch, "index.js")
writeFileSync(glue, readFileSync(glue, "utf8").replace("import source ", "import "))
const bundled = [...(await bundle("worker.js", "index.js")), ...(await bundle("library.js", "library.js"))]

mkdirSync(out, { recursive: true })
for (const made of ["index_bg.wasm", "index.js", "library.js"]) renameSync(join(scratch, "out", made), join(out, made))
rmSync(scratch, { recursive: true })
if (!counters) {
  bundled.push(...(await buildConsole(CONSOLE_FOLDER)))
  writeFileSync(join(out, "bundled.json"), `${JSON.stringify(packagesOf(bundled), undefined, 2)}\n`)
}

/** The folders of the npm packages in the bundles, for tools/licenses.mjs. @param {string[]} inputs the bundled paths */
function packagesOf(inputs) {
  const folders = inputs.map((path) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/u.exec(path)?.[0]).filter((folder) => folder !== undefined)
  return [...new Set(folders)].toSorted()
}

/** Bundles an entry point of src/cloudflare/js. @returns {Promise<string[]>} the bundled paths */
async function bundle(entry, outfile) {
  const { metafile } = await build({
    entryPoints: [join(root, "src/cloudflare/js", entry)],
    outfile: join(scratch, "out", outfile),
    ...{ bundle: true, format: "esm", minify: true, metafile: true, logLevel: "warning" },
    external: ["./index_bg.wasm", "cloudflare:*"],
    define: { COUNTERS: `${counters}` },
    plugins: [{ name: "one of each", setup: resolveOnce }],
  })
  assertOneOfEach(Object.keys(metafile.inputs))
  return Object.keys(metafile.inputs)
}

/** Checks that `index.d.ts` in the sources, against which worker.js is type-checked, matches the generated module. */
function checkDeclared() {
  const declared = join(root, "src/cloudflare/js/index.js")
  const check = `import * as made from "./index.js"\nexport const declared: typeof import("${declared}") = made\n`
  writeFileSync(join(scratch, "declared.ts"), check)
  const config = { extends: join(root, "jsconfig.json"), include: ["declared.ts"] }
  writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify(config))
  const failed = "src/cloudflare/js/index.d.ts does not match the generated module: correct it there."
  run(bin("tsc"), ["-p", scratch], { failed })
}

/**
 * Resolves wasm-bindgen's copies of imported files to the files in `src`, so that the module and worker.js share one instance
 * of each. Resolves `index.js` to the glue that was just built.
 * @param {import("esbuild").PluginBuild} bundler
 */
function resolveOnce({ onResolve }) {
  onResolve({ filter: /\/snippets\/[^/]+\/src\// }, ({ path }) => ({ path: join(root, path.slice(path.indexOf("/src/"))) }))
  onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: glue }))
}

/** Fails if a file is bundled twice: it would have two states, such as two budgets. @param {string[]} inputs the bundled paths */
function assertOneOfEach(inputs) {
  const files = inputs.map((path) => path.match(/src\/cloudflare\/js\/.+/)?.[0]).filter((file) => file !== undefined)
  const twice = files.filter((file, at) => files.indexOf(file) !== at)
  if (twice.length > 0) throw new Error(`these files were bundled twice, so their state would exist twice: ${twice.join(", ")}`)
}
