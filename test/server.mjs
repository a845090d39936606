// Starts the built worker in workerd on a free port of 127.0.0.1, with the bindings of wrangler.toml.

import { dirname, join } from "node:path"
import { Miniflare, convertV4MiniflareOptions } from "miniflare"
import { unstable_getMiniflareWorkerOptions as workerOptionsOf } from "wrangler"
import { config, root } from "./deployed.mjs"

/**
 * @typedef {{ timestamp: number, level: string, message: string }} LogLine what the worker wrote to its console
 *
 * @param {object} [options]
 * @param {Record<string, string>} [options.vars] variables that replace those of wrangler.toml
 * @param {boolean | string} [options.registry] whether there is a KV namespace of projects, or the name of its binding
 * @param {boolean} [options.mirrors] whether the index of segments is bound; its tables are for the test to make
 * @param {object} [options.ratelimits] limits by their bindings
 * @param {(request: Request) => Response | Promise<Response>} [options.outboundService] the world outside
 * @param {string} [options.persistTo] a folder for what objects and buckets hold; in memory without it
 * @param {string} [options.build] the folder of another build, to run that
 * @param {(line: LogLine) => void} [options.onLog] told of each line; without it, warnings and errors are printed
 * @returns {Promise<{ url: string, mf: Miniflare, dispose: () => Promise<void> }>}
 */
export async function startServer(options = {}) {
  const { vars = {}, registry = false, mirrors = false, ratelimits, outboundService, persistTo, build } = options
  const { onLog = printTrouble } = options
  const { workerOptions, main: own } = workerOptionsOf(config)
  const main = build ? join(build, "index.js") : own
  // Rules for finding modules are wrangler's own; the build is just these two files.
  const { modulesRules: _, d1Databases, ...bindingsAndDate } = workerOptions
  const mf = new Miniflare(
    convertV4MiniflareOptions({
      ...bindingsAndDate,
      d1Databases: mirrors ? d1Databases : {},
      name: config.name,
      rootPath: build ?? root,
      modules: [
        { type: "ESModule", path: main },
        { type: "CompiledWasm", path: join(dirname(main), "index_bg.wasm") },
      ],
      // Tests say for themselves who may do what; those that do not are open, whatever name they ask for. A `.dev.vars` is the
      // developer's own.
      bindings: { ...config.vars, ...(registry ? {} : openUnless(vars)), ...vars },
      kvNamespaces: registry ? { [registry === true ? "PROJECTS" : registry]: "projects" } : undefined,
      ratelimits,
      outboundService,
      host: "127.0.0.1",
      port: 0,
      // Otherwise Miniflare asks the internet for a `Request.cf`.
      cf: false,
      resourcePersistencePath: persistTo,
      handleStructuredLogs: onLog,
    }),
  )
  const url = (await mf.ready).origin
  return { url, mf, dispose: () => mf.dispose() }
}

/** @param {LogLine} line */
function printTrouble({ level, message }) {
  if (level === "warn" || level === "error") console.error(message)
}

/** What opens a server whose variables do not guard it. @param {Record<string, string>} vars */
export function openUnless(vars) {
  const isGuarded = ["AUTH_TOKEN", "PROJECT_KEYS", "ALLOW_OPEN"].some((name) => name in vars)
  return isGuarded ? {} : { ALLOW_OPEN: "1" }
}
