// Serves the worker on 127.0.0.1 (port 8787, or PORT), doing all set-up first.

import { spawn } from "node:child_process"
import { join } from "node:path"
import { migrate } from "./migrate.mjs"
import { ensureToolchain, ensureWasmBindgen, root } from "./setup.mjs"

ensureToolchain()
ensureWasmBindgen()
migrate("--local")
console.log("Building the worker, then serving it (the first build takes about a minute) ...")

const wrangler = join(root, "node_modules", ".bin", "wrangler")
const port = process.env.PORT || "8787"
const args = ["dev", "--local", "--ip", "127.0.0.1", "--port", port]
const server = spawn(wrangler, args, { cwd: root, stdio: "inherit" })
server.on("exit", (code) => process.exit(code ?? 0))
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill(signal))

/** Says who may do what, once the worker answers. */
const telling = setInterval(async () => {
  const health = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
  if (!health) return
  clearInterval(telling)
  const { mode, error } = await health.json()
  console.log(error ? error.message : `Mode: ${mode}${mode === "open" ? " (whoever reaches it may do everything)" : ""}`)
}, 500)
telling.unref()
