// Serves the checkout after all set-up, and rebuilds at each change. Arguments are passed to `wrangler dev`.

import { CONSOLE_FOLDER, buildConsole } from "./console.mjs"
import { migrate } from "./migrate.mjs"
import { checkout } from "./project.mjs"
import { expectPort, serve } from "./serve.mjs"
import { ensureToolchain, ensureWasmBindgen } from "./setup.mjs"

// Checked before the build, which takes a minute.
const args = await expectPort(checkout, process.argv.slice(2))
ensureToolchain()
ensureWasmBindgen()
// Wrangler looks for the folder before it builds.
await buildConsole(CONSOLE_FOLDER)
warn(migrate(checkout, "--local"))
console.log("Building the Worker, then serving it (the first build takes about a minute) ...")
await serve(checkout, args)

function warn({ ok, said }) {
  if (!ok) console.error(said)
}
