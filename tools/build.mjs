// Builds the worker for release: build/index.js and build/index_bg.wasm. With `--counters`, one that counts what
// Cloudflare bills, for `pnpm cost`: into target/counters, which nothing deploys.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
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
  ...["--out-dir", scratch, "--out-name", "index", "--target", "module", "--no-typescript"],
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

// workerd gives the module itself to a plain import.
const glue = join(scratch, "index.js")
writeFileSync(glue, readFileSync(glue, "utf8").replace("import source ", "import "))
// What Rust imports is in a folder that wasm-bindgen has named; worker.js must share it, not have another of its own.
const [snippets] = readdirSync(join(scratch, "snippets"))
for (const file of ["worker.js", "rehearsal.js", "group_commit.js"]) {
  const text = readFileSync(join(root, "src/cloudflare/js", file), "utf8")
  writeFileSync(join(scratch, file), text.replace(/"\.\/(respond|calls|collapse|budget|receiving|sending|stalls)\.js"/g, `"./snippets/${snippets}/src/cloudflare/js/$1.js"`))
}
run(bin("esbuild"), [
  join(scratch, "worker.js"),
  ...["--bundle", "--format=esm", "--minify", `--outfile=${join(scratch, "bundle.js")}`, "--log-level=warning"],
  ...["--external:./index_bg.wasm", "--external:cloudflare:*", `--define:COUNTERS=${counters}`],
])

mkdirSync(out, { recursive: true })
renameSync(wasm, join(out, "index_bg.wasm"))
renameSync(join(scratch, "bundle.js"), join(out, "index.js"))
rmSync(scratch, { recursive: true })
