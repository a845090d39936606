// The official suite, through its programmatic entry.

import { runConformanceTests } from "@durable-streams/server-conformance-tests"
import { inject } from "vitest"
import { guardedFetch } from "./guarded.mjs"

// The suite knows nothing of tokens: what it sends is given one on the way.
const guard = inject("guard")
if (guard) globalThis.fetch = guardedFetch(globalThis.fetch, guard)

// A project's webhooks have callbacks in the project, and the suite compares their URLs with those of its own requests.
runConformanceTests({ baseUrl: inject("baseUrl"), subscriptions: guard?.project === undefined })
