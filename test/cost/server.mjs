// Starts the worker that counts in a plain workerd process of its own, with the variables of wrangler.toml.

import { join } from "node:path"
import { compatibility, config, root } from "../deployed.mjs"
import { startWorkerd } from "../bench/targets/workerd.mjs"

const built = join(root, "target/counters")

/** The deployed lifetime of an SSE response. */
export const SSE_LIFETIME_SECONDS = Number(config.vars.SSE_LIFETIME_SECONDS)

/**
 * @param {Record<string, string>} vars values that replace those of wrangler.toml
 * @param {{ reachesThisMachine?: boolean }} [options]
 */
export function startCountingServer(vars = {}, { reachesThisMachine } = {}) {
  return startWorkerd({
    files: [join(built, "index.js"), join(built, "index_bg.wasm")],
    className: "StreamObject",
    ...compatibility,
    // Here all readers share one isolate, which would collapse their reads. On Cloudflare they are spread over many
    // isolates.
    vars: { ...config.vars, ALLOW_OPEN: "1", EDGE_CACHE: "off", ...vars },
    bucket: config.r2_buckets[0]?.binding,
    reachesThisMachine,
  })
}

/**
 * The server's counts so far, by name.
 * @param {import("../bench/targets/index.mjs").Process} server
 * @returns {Promise<Record<string, number>>}
 */
export async function readCounters({ host, port }) {
  const response = await fetch(`http://${host}:${port}/counters`, { signal: AbortSignal.timeout(10_000) })
  if (!response.ok) throw new Error(`no counters (${response.status}): the server must run the build with counters`)
  return response.json()
}
