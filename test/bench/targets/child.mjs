// Server processes and their folders: none remains after the benchmark, however it ends.

import { rmSync } from "node:fs"

/** @type {Map<import("node:child_process").ChildProcess, string>} */
const alive = new Map()

/** Registers a process and its folder, and returns the function that ends and removes them. */
export function stopperOf(child, folder) {
  alive.set(child, folder)
  return async () => {
    if (!alive.has(child)) return
    const exited = new Promise((resolve) => child.once("exit", resolve))
    if (child.exitCode === null && child.signalCode === null && child.kill("SIGKILL")) await exited
    remove(child, folder)
  }
}

function remove(child, folder) {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  alive.delete(child)
}

process.on("exit", () => {
  for (const [child, folder] of alive) {
    child.kill("SIGKILL")
    remove(child, folder)
  }
})
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1))
