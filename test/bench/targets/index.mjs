// The targets: the servers that are measured. Each starts as a process of its own.

import { fork } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compatibility, config, root } from "../../deployed.mjs"
import { stopperOf } from "./child.mjs"
import { startWorkerd } from "./workerd.mjs"

/**
 * @typedef {object} Process a running server
 * @property {string} host
 * @property {number} port
 * @property {string} prefix the prefix of a stream's path
 * @property {number} [pid] absent if the benchmark did not start it
 * @property {number} [spawnedAt]
 * @property {() => Promise<void>} stop
 *
 * @typedef {{ name: string, start: () => Promise<Process>, files?: string[] }} Target
 */

/** The target with which all others are compared. */
export const FLOOR = "floor"
export const OURS = "ours"

/**
 * A build of this server.
 * @param {string} name
 * @param {string} folder as `pnpm build` writes it
 * @returns {Target}
 */
export function built(name, folder) {
  const files = [join(folder, "index.js"), join(folder, "index_bg.wasm")]
  const worker = {
    files,
    className: "StreamObject",
    ...compatibility,
    // Long enough that no live response ends by itself during a measurement; nothing else depends on these variables.
    vars: { ...config.vars, ALLOW_OPEN: "1", LONG_POLL_TIMEOUT_SECONDS: "60", SSE_LIFETIME_SECONDS: "600" },
    bucket: config.r2_buckets[0]?.binding,
  }
  return { name, files, start: () => startWorkerd(worker) }
}

/** @type {Target} */
const floor = {
  name: FLOOR,
  files: [join(import.meta.dirname, "../floor/worker.js")],
  start: () =>
    startWorkerd({
      files: floor.files,
      className: "FloorObject",
      // Only our worker needs the compatibility flags.
      compatibilityDate: compatibility.compatibilityDate,
    }),
}

/** @type {Target} */
const reference = {
  name: "reference",
  start: async () => {
    const folder = mkdtempSync(join(tmpdir(), "bench-reference-"))
    const spawnedAt = performance.now()
    const child = fork(join(import.meta.dirname, "reference-server.mjs"), [folder], {
      // The reference server logs each slow append.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    })
    const stop = stopperOf(child, folder)
    const port = await new Promise((resolve, reject) => {
      child.once("message", (message) => resolve(message.port))
      child.once("exit", (code) => reject(new Error(`the reference server ended with ${code}`)))
    })
    child.disconnect()
    return { host: "127.0.0.1", port, prefix: "/v1/stream", pid: child.pid, spawnedAt, stop }
  },
}

/**
 * A server that is already running.
 * @param {string} name
 * @param {string} url the prefix of its streams' URLs
 * @returns {Target}
 */
export function external(name, url) {
  const { hostname, port, pathname, protocol } = new URL(url)
  if (protocol !== "http:") throw new Error(`--target ${name}: the URL must be http`)
  const server = { host: hostname, port: Number(port || 80), prefix: pathname.replace(/\/$/, ""), stop: async () => {} }
  return { name, start: async () => server }
}

/** @type {Target[]} */
export const targets = [floor, built(OURS, join(root, "build")), reference]
