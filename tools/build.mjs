// Builds the worker for release: build/index.js and build/index_bg.wasm. With `--counters`, one that counts what
// Cloudflare bills, for `pnpm cost`: into target/counters, which nothing deploys.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { build } from "esbuild"
import { ensureToolchain, ensureWasmBindgen, root, run } from "./setup.mjs"

const TARGET = "wasm32-unknown-unknown"
const { counters } = parseArgs({ options: { counters: { type: "boolean", default: false } } }).values
const out = join(root, counters ? "target/counters" : "build")
/** A folder of its own for each build that runs: two at once do not meet, and `build` is never half of one. */
const scratch = join(root, "target", `worker-${process.pid}`)
const bin = (name) => join(root, "node_modules", ".bin", name)

ensureToolchain()
const wasmBindgen = ensureWasmBindgen()

const features = counters ? ["--features", "counters"] : []
run("cargo", ["build", "--release", "--locked", "--lib", "--target", TARGET, ...features])

const compiled = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), TARGET, "release/durable_streams.wasm")
mkdirSync(scratch, { recursive: true })
run(wasmBindgen, [
  compiled,
  ...["--out-dir", scratch, "--out-name", "index", "--target", "module"],
  // After a panic, worker.js begins anew with fresh memory.
  "--experimental-reset-state-function",
])

const wasm = join(scratch, "index_bg.wasm")
run(bin("wasm-opt"), [
  ...[wasm, "-o", wasm, "-O3", "--debuginfo", "--one-caller-inline-max-function-size=500"],
  // What rustc and wasm-bindgen use, named one by one: with all features on, binaryen writes what workerd cannot read.
  ...["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types"].map(
    (feature) => `--enable-${feature}`,
  ),
])

checkDeclared()

// workerd gives the module itself to a plain import.
const glue = join(scratch, "index.js")
writeFileSync(glue, readFileSync(glue, "utf8").replace("import source ", "import "))
const { metafile } = await build({
  entryPoints: [join(root, "src/cloudflare/js/worker.js")],
  outfile: join(scratch, "bundle.js"),
  ...{ bundle: true, format: "esm", minify: true, metafile: true, logLevel: "warning" },
  external: ["./index_bg.wasm", "cloudflare:*"],
  define: { COUNTERS: `${counters}` },
  plugins: [{ name: "one of each", setup: resolveOnce }],
})
assertOneOfEach(Object.keys(metafile.inputs))

mkdirSync(out, { recursive: true })
renameSync(wasm, join(out, "index_bg.wasm"))
renameSync(join(scratch, "bundle.js"), join(out, "index.js"))
rmSync(scratch, { recursive: true })

/** What worker.js is type-checked against (`index.d.ts`, in the sources) has to be what was made. */
function checkDeclared() {
  const declared = join(root, "src/cloudflare/js/index.js")
  const check = `import * as made from "./index.js"\nexport const declared: typeof import("${declared}") = made\n`
  writeFileSync(join(scratch, "declared.ts"), check)
  const config = { extends: join(root, "jsconfig.json"), include: ["declared.ts"] }
  writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify(config))
  const failed = "src/cloudflare/js/index.d.ts declares what the module does not have: change it there."
  run(bin("tsc"), ["-p", scratch], { failed })
}

/**
 * wasm-bindgen copies each file that Rust imports. Resolves such a copy to the file in `src`, so that the module and worker.js
 * share one instance of it, and the module's glue to what was just built.
 * @param {import("esbuild").PluginBuild} bundler
 */
function resolveOnce({ onResolve }) {
  onResolve({ filter: /\/snippets\/[^/]+\/src\// }, ({ path }) => ({ path: join(root, path.slice(path.indexOf("/src/"))) }))
  onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: glue }))
}

/** A file that is bundled twice has two states: two budgets, say. @param {string[]} inputs paths of what was bundled */
function assertOneOfEach(inputs) {
  const files = inputs.map((path) => path.match(/src\/cloudflare\/js\/.+/)?.[0]).filter((file) => file !== undefined)
  const twice = files.filter((file, at) => files.indexOf(file) !== at)
  if (twice.length > 0) throw new Error(`bundled twice, so with two states: ${twice.join(", ")}`)
}
