// Builds the Worker, as the global set-up of the test runs that need it.

import { execFileSync } from "node:child_process"
import { join } from "node:path"

export default function setup() {
  execFileSync("node", [join(import.meta.dirname, "../tools/build.mjs")], { stdio: "inherit" })
}
