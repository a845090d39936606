// The worker that counts, in a plain workerd process of its own, deployed as wrangler.toml says.

import { join } from "node:path"
import { compatibility, config, root } from "../deployed.mjs"
import { startWorkerd } from "../bench/targets/workerd.mjs"

const built = join(root, "target/counters")

/** How long an SSE response lives, as deployed. */
export const SSE_LIFETIME_SECONDS = Number(config.vars.SSE_LIFETIME_SECONDS)

/** @param {Record<string, string>} vars that replace those of wrangler.toml */
export function startCountingServer(vars = {}) {
  return startWorkerd({
    files: [join(built, "index.js"), join(built, "index_bg.wasm")],
    className: "StreamObject",
    ...compatibility,
    // All readers meet in one isolate here, and their reads would be collapsed: on Cloudflare they are spread over many.
    vars: { ...config.vars, ALLOW_OPEN: "1", EDGE_CACHE: "off", ...vars },
    bucket: config.r2_buckets[0]?.binding,
  })
}

/**
 * What the server counted so far, by name.
 * @param {import("../bench/targets/index.mjs").Process} server
 * @returns {Promise<Record<string, number>>}
 */
export async function readCounters({ host, port }) {
  const response = await fetch(`http://${host}:${port}/counters`, { signal: AbortSignal.timeout(10_000) })
  if (!response.ok) throw new Error(`no counters (${response.status}): is this the build that has them?`)
  return response.json()
}
