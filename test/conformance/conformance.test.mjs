// The official suite, through its programmatic entry.

import { runConformanceTests } from "@durable-streams/server-conformance-tests"
import { inject } from "vitest"

// Subscriptions are optional in the protocol and are not here yet.
runConformanceTests({ baseUrl: inject("baseUrl"), subscriptions: false })
