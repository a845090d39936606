// Deploys the worker, and makes the tables of its index of segments. That comes second: the deploy makes the database.

import { join } from "node:path"
import { migrate } from "./migrate.mjs"
import { root, run } from "./setup.mjs"

const args = process.argv.slice(2)
run(join(root, "node_modules", ".bin", "wrangler"), ["deploy", ...args])
if (!args.includes("--dry-run") && !migrate("--remote")) process.exitCode = 1
