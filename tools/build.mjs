// Builds the worker for release: build/index.js and build/index_bg.wasm. With `--counters`, one that counts what
// Cloudflare bills, for `pnpm cost`: into target/counters, which nothing deploys.

import { join } from "node:path"
import { parseArgs } from "node:util"
import { ensureCargoTools, ensureToolchain, root, run } from "./setup.mjs"

const { counters } = parseArgs({ options: { counters: { type: "boolean" } } }).values

ensureToolchain()
const { wasmBindgen, workerBuild } = ensureCargoTools()

// worker-build would download these three by itself; the lockfiles pin them instead.
const bin = (name) => join(root, "node_modules", ".bin", name)
const variant = counters ? ["--out-dir", "target/counters", "--", "--locked", "--features", "counters"] : ["--", "--locked"]
run(workerBuild, ["--release", ...variant], {
  WASM_BINDGEN_BIN: wasmBindgen,
  WASM_OPT_BIN: bin("wasm-opt"),
  ESBUILD_BIN: bin("esbuild"),
})
