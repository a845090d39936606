// How the worker is deployed. wrangler.toml says it; what is tested and measured takes it from here.

import { join } from "node:path"
import { unstable_readConfig as readConfig } from "wrangler"

/** The checkout. */
export const root = join(import.meta.dirname, "..")

export const config = readConfig({ config: join(root, "wrangler.toml") })

/** The compatibility date and flags, for a workerd that no wrangler configures. */
export const compatibility = {
  compatibilityDate: config.compatibility_date,
  compatibilityFlags: config.compatibility_flags,
}
