// Figures that need a new process: the first request, and memory after many streams.

import { p50 } from "../client/load.mjs"
import { atRest, residentMb } from "../client/process.mjs"
import { append, create, openConnections } from "../client/streams.mjs"
import { JSON_TYPE, jsonMessage } from "./payloads.mjs"

const WRITERS = 32

const firstRequest = {
  name: "first-request",
  group: "first-request",
  figures: [
    { name: "first-request", title: "First request to a process that has just started", unit: "ms", better: "lower" },
    { name: "start", title: "Start of the process to its first answer", unit: "ms", better: "lower" },
  ],
  run: async (_server, plan, target) => {
    const first = []
    const sinceStart = []
    while (first.length < plan.starts) {
      const measured = await inFreshProcess(target, async (server) => {
        const [connection] = await openConnections(server, 1)
        await create(connection, server, JSON_TYPE)
        sinceStart.push(performance.now() - server.spawnedAt)
      })
      if (!measured) return {}
      // A server listens before it has loaded its modules. Loading is part of the start, and not of the first request.
      await inFreshProcess(target, async (server) => {
        const [connection] = await openConnections(server, 1)
        await atRest(server)
        const begin = performance.now()
        await create(connection, server, JSON_TYPE)
        first.push(performance.now() - begin)
      })
    }
    return { "first-request": { create: p50(first) }, start: { create: p50(sinceStart) } }
  },
}

const memory = {
  name: "memory",
  group: "memory",
  figures: [{ name: "memory", title: "Resident memory of the process", unit: "MB", better: "lower" }],
  run: async (_server, plan, target) => {
    let numbers = {}
    await inFreshProcess(target, async (server) => {
      const connections = await openConnections(server, WRITERS)
      await createAndAppend(connections[0], server)
      const withOne = residentMb(server.pid)
      const share = Math.ceil(plan.streams / WRITERS)
      const createShare = async (connection) => {
        for (let count = 0; count < share; count += 1) await createAndAppend(connection, server)
      }
      await Promise.all(connections.map(createShare))
      const title = `${plan.streams.toLocaleString("en")} streams`
      numbers = { memory: { "1 stream": withOne, [title]: residentMb(server.pid) } }
    })
    return numbers
  },
}

/** Runs `use` with a newly started server. Returns false if the benchmark does not start the server itself. */
async function inFreshProcess(target, use) {
  const server = await target.start()
  try {
    if (server.pid === undefined) return false
    await use(server)
    return true
  } finally {
    await server.stop()
  }
}

async function createAndAppend(connection, server) {
  const path = await create(connection, server, JSON_TYPE)
  await append(connection, server, path, JSON_TYPE, jsonMessage(100))
}

export const measurements = [firstRequest, memory]
