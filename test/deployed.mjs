// The deployment's configuration from wrangler.toml. Tests and benchmarks read it here, so that they run what is deployed.

import { join } from "node:path"
import { unstable_readConfig as readConfig } from "wrangler"

/** The folder of the checkout. */
export const root = join(import.meta.dirname, "..")

export const config = readConfig({ config: join(root, "wrangler.toml") })

/** The compatibility date and flags, for a workerd without wrangler. */
export const compatibility = {
  compatibilityDate: config.compatibility_date,
  compatibilityFlags: config.compatibility_flags,
}
