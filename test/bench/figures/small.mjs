// Small requests: reading the last message, and creating a stream.

import { closedLoop, p50 } from "../client/load.mjs"
import { append, countMessages, create, expectStatus, freshPath, openConnections, request } from "../client/streams.mjs"
import { JSON_TYPE, jsonMessage } from "./payloads.mjs"

const tailRead = {
  name: "tail-read",
  group: "tail-read",
  figures: [{ name: "tail-read", title: "Read of the last message, p50", unit: "ms", better: "lower" }],
  run: async (server, plan) => {
    const connections = await openConnections(server, 1)
    const path = await create(connections[0], server, JSON_TYPE)
    let last
    for (let count = 0; count < 99; count += 1) {
      last = await append(connections[0], server, path, JSON_TYPE, jsonMessage(100))
    }
    await append(connections[0], server, path, JSON_TYPE, jsonMessage(100))
    const read = request(server, "GET", `${path}?offset=${last}`)
    const check = (answer) => {
      expectStatus(answer, 200)
      if (countMessages(answer.parts) !== 1) throw new Error(`expected one message: ${answer.body}`)
    }
    const { latencies } = await closedLoop({ connections, plan, next: () => read, check })
    connections[0].close()
    return { "tail-read": { "100 B JSON": p50(latencies) } }
  },
}

const creation = {
  name: "create",
  group: "create",
  figures: [{ name: "create", title: "Create a stream, p50", unit: "ms", better: "lower" }],
  run: async (server, plan) => {
    const connections = await openConnections(server, 1)
    const next = () => request(server, "PUT", freshPath(), { "Content-Type": JSON_TYPE })
    const check = (answer) => expectStatus(answer, 201)
    const { latencies } = await closedLoop({ connections, plan, next, check })
    connections[0].close()
    return { create: { "empty JSON stream": p50(latencies) } }
  },
}

export const measurements = [tailRead, creation]
