// Starts the built Worker in workerd on a free port of 127.0.0.1, with the bindings of wrangler.toml.

import { dirname, join } from "node:path"
import { Miniflare, convertV4MiniflareOptions } from "miniflare"
import { unstable_getMiniflareWorkerOptions as workerOptionsOf } from "wrangler"
import { config, root } from "./deployed.mjs"

/**
 * @typedef {{ timestamp: number, level: string, message: string }} LogLine a line of the Worker's console
 *
 * @param {object} [options]
 * @param {Record<string, string>} [options.vars] variables that replace those of wrangler.toml
 * @param {boolean | string} [options.registry] whether to bind a KV namespace of projects, or the name of its binding
 * @param {boolean} [options.mirrors] whether to bind the segment index; the test creates its tables
 * @param {object} [options.ratelimits] rate limits by their bindings
 * @param {(request: Request) => Response | Promise<Response>} [options.outboundService] answers the Worker's own requests
 * @param {string} [options.persistTo] a folder for the storage of objects and buckets (default: in memory)
 * @param {boolean} [options.hasConsole] whether to serve the console (default: no, because each request then takes a detour)
 * @param {string} [options.build] the folder of another build to run
 * @param {(line: LogLine) => void} [options.onLog] receives each line of the log (default: prints warnings and errors)
 * @returns {Promise<{ url: string, mf: Miniflare, dispose: () => Promise<void> }>}
 */
export async function startServer(options = {}) {
  const { vars = {}, registry = false, mirrors = false, ratelimits, outboundService, persistTo, hasConsole = false, build } = options
  const { onLog = printTrouble } = options
  const { workerOptions, main: own } = workerOptionsOf(config)
  const main = build ? join(build, "index.js") : own
  // Miniflare does not know wrangler's rules for modules; the build is just these two files.
  const { modulesRules: _, d1Databases, assets, ...bindingsAndDate } = workerOptions
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
      // A test without an access mode runs in open mode for every host name. `.dev.vars` is ignored: it is the developer's.
      bindings: { ...config.vars, ...(registry ? {} : openUnless(vars)), ...vars },
      kvNamespaces: registry ? { [registry === true ? "PROJECTS" : registry]: "projects" } : undefined,
      ratelimits,
      outboundService,
      assets: hasConsole ? assets : undefined,
      host: "127.0.0.1",
      port: 0,
      // Otherwise Miniflare fetches a `Request.cf` from the internet.
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

/** The variable for open mode, unless `vars` has an access mode. @param {Record<string, string>} vars */
export function openUnless(vars) {
  const isGuarded = ["AUTH_TOKEN", "PROJECT_KEYS", "ALLOW_OPEN"].some((name) => name in vars)
  return isGuarded ? {} : { ALLOW_OPEN: "1" }
}
