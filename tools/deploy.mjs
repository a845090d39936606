// Deploys the checkout.

import { CONSOLE_FOLDER, buildConsole } from "./console.mjs"
import { deploy } from "./deploying.mjs"
import { checkout } from "./project.mjs"

// Wrangler looks for the folder before it builds.
await buildConsole(CONSOLE_FOLDER)
await deploy(checkout, process.argv.slice(2))
