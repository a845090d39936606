// Deploys the Worker, then creates the tables of the segment index. The order matters: the deployment creates the database.

import { join } from "node:path"
import { CONSOLE_FOLDER, buildConsole } from "./console.mjs"
import { migrate } from "./migrate.mjs"
import { root, run } from "./setup.mjs"

// Wrangler looks for the folder before it builds.
await buildConsole(CONSOLE_FOLDER)
const args = process.argv.slice(2)
run(join(root, "node_modules", ".bin", "wrangler"), ["deploy", ...args])
if (!args.includes("--dry-run") && !migrate("--remote")) process.exitCode = 1
