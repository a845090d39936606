#!/usr/bin/env node
// The command of the npm package. An old Node must be able to read this file, so everything else is imported later.

const NODE_MIN = [22, 12]

const [major, minor] = process.versions.node.split(".").map(Number)
if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
  console.error(`This needs Node ${NODE_MIN.join(".")} or newer, and this Node is ${process.version}. Install a newer one, and run this again.`)
  process.exit(1)
}
const { main } = await import("./commands.mjs")
await main(process.argv.slice(2))
