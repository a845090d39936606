// Deploys the checkout.

import { deploy } from "./deploying.mjs"
import { checkout } from "./project.mjs"

await deploy(checkout, process.argv.slice(2))
