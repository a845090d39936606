// Runs the official conformance suite through its programmatic entry point.

import { runConformanceTests } from "@durable-streams/server-conformance-tests"
import { inject } from "vitest"
import { guardedFetch } from "./guarded.mjs"

// The suite sends no tokens, so this fetch adds one to each request.
const guard = inject("guard")
if (guard) globalThis.fetch = guardedFetch(globalThis.fetch, guard)

// Subscriptions are optional in the protocol, and the server does not have them yet.
runConformanceTests({ baseUrl: inject("baseUrl"), subscriptions: false })
