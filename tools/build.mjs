// Builds the worker for release: build/index.js and build/index_bg.wasm.

import { join } from "node:path"
import { ensureCargoTools, ensureToolchain, root, run } from "./setup.mjs"

ensureToolchain()
const { wasmBindgen, workerBuild } = ensureCargoTools()

// worker-build would download these three by itself; the lockfiles pin them instead.
const bin = (name) => join(root, "node_modules", ".bin", name)
run(workerBuild, ["--release", "--", "--locked"], {
  WASM_BINDGEN_BIN: wasmBindgen,
  WASM_OPT_BIN: bin("wasm-opt"),
  ESBUILD_BIN: bin("esbuild"),
})
