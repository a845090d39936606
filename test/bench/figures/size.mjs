// The size of the WebAssembly module, which is uploaded and which every new isolate loads.

import { readFileSync } from "node:fs"
import { gzipSync } from "node:zlib"

export const figures = [{ name: "wasm-size", title: "Size of the wasm module", unit: "kB", better: "lower" }]

async function run(_server, _plan, target) {
  const file = target.files?.find((name) => name.endsWith(".wasm"))
  if (!file) return {}
  const bytes = readFileSync(file)
  return { "wasm-size": { raw: bytes.length / 1000, gzip: gzipSync(bytes, { level: 9 }).length / 1000 } }
}

export const measurements = [{ name: "wasm-size", group: "wasm-size", figures, run }]
