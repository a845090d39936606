// The official suite, through its programmatic entry.

import { runConformanceTests } from "@durable-streams/server-conformance-tests"
import { inject } from "vitest"
import { guardedFetch } from "./guarded.mjs"

// The suite knows nothing of tokens: what it sends is given one on the way.
const guard = inject("guard")
if (guard) globalThis.fetch = guardedFetch(globalThis.fetch, guard)

runConformanceTests({ baseUrl: inject("baseUrl"), subscriptions: true })
