// Runs a worker in a plain workerd process: without a development proxy or an inspector, with its objects on the local
// disk.

import { spawn } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { stopperOf } from "./child.mjs"

const require = createRequire(import.meta.url)

/** workerd's own binary: the package's `bin` is a Node script that would add a process. */
const workerd = require("workerd").default

const bucketFile = join(import.meta.dirname, "bucket.js")

/**
 * @typedef {object} WorkerOptions
 * @property {string[]} files the modules, the entry first
 * @property {string} className of the Durable Object bound as STREAMS
 * @property {string} compatibilityDate
 * @property {string[]} [compatibilityFlags]
 * @property {Record<string, string>} [vars]
 * @property {string} [bucket] the name of an R2 binding
 * @property {boolean} [reachesThisMachine] whether the worker may send requests to this machine
 *
 * @param {WorkerOptions} worker
 * @returns {Promise<import("./index.mjs").Process>}
 */
export async function startWorkerd(worker) {
  // R2 is a remote service, so its stand-in is a process of its own: it uses none of the measured CPU time and memory.
  const bucket = worker.bucket ? await serve((folder) => bucketConfig(worker, folder)) : undefined
  const main = await serve((folder) => mainConfig(worker, folder, bucket))
  const stop = async () => {
    await main.stop()
    await bucket?.stop()
  }
  return { ...main, host: HOST, prefix: "/v1/stream", stop }
}

const HOST = "127.0.0.1"

/** Starts workerd with a configuration made for an empty folder. @param {(folder: string) => string} configOf */
async function serve(configOf) {
  const folder = mkdtempSync(join(tmpdir(), "bench-workerd-"))
  const config = `using Workerd = import "/workerd/workerd.capnp";\n\n${configOf(folder)}`
  writeFileSync(join(folder, "config.capnp"), config)
  const spawnedAt = performance.now()
  const child = spawn(workerd, ["serve", "--experimental", "--control-fd=3", join(folder, "config.capnp")], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  })
  const stop = stopperOf(child, folder)
  const port = await listening(child)
  return { port, pid: child.pid, spawnedAt, stop }
}

/** The port, which workerd writes to its control pipe once it listens. */
function listening(child) {
  return new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`workerd ended with ${code} before it listened`)))
    let text = ""
    child.stdio[3].on("data", (bytes) => {
      text += bytes
      const port = /"port":(\d+)/.exec(text)?.[1]
      if (port) resolve(Number(port))
    })
  })
}

/** @param {WorkerOptions} worker @param {string} folder @param {{ port: number }} [bucket] */
function mainConfig(worker, folder, bucket) {
  const { files, className, compatibilityDate, compatibilityFlags = [], vars = {}, reachesThisMachine } = worker
  const objects = join(folder, "objects")
  mkdirSync(objects)
  const modules = files.map((file) => {
    const name = basename(file)
    copyFileSync(file, join(folder, name))
    const kind = name.endsWith(".wasm") ? "wasm" : "esModule"
    return `(name = "${name}", ${kind} = embed "${name}")`
  })
  const bindings = Object.entries(vars).map(([name, value]) => `(name = "${name}", text = ${JSON.stringify(value)})`)
  bindings.push(`(name = "STREAMS", durableObjectNamespace = "${className}")`)
  if (bucket) bindings.push(`(name = "${worker.bucket}", r2Bucket = "bucket")`)
  const remote = bucket ? `(name = "bucket", external = (address = "${HOST}:${bucket.port}", http = ())),` : ""
  const internet = reachesThisMachine ? `(name = "internet", network = (allow = ["public", "private"])),` : ""
  return `const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    ${internet}
    ${remote}
    (name = "objects", disk = (path = "${objects}", writable = true)),
  ],
  sockets = [(name = "http", address = "${HOST}:0", http = (), service = "main")],
);

const main :Workerd.Worker = (
  modules = [${modules.join(", ")}],
  compatibilityDate = "${compatibilityDate}",
  compatibilityFlags = ${JSON.stringify(compatibilityFlags)},
  bindings = [${bindings.join(", ")}],
  durableObjectNamespaces = [(className = "${className}", uniqueKey = "bench", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
);
`
}

/** @param {WorkerOptions} worker @param {string} folder */
function bucketConfig({ compatibilityDate }, folder) {
  copyFileSync(bucketFile, join(folder, basename(bucketFile)))
  return `const config :Workerd.Config = (
  services = [(name = "bucket", worker = .bucket)],
  sockets = [(name = "http", address = "${HOST}:0", http = (), service = "bucket")],
);

const bucket :Workerd.Worker = (
  modules = [(name = "bucket.js", esModule = embed "bucket.js")],
  compatibilityDate = "${compatibilityDate}",
);
`
}
