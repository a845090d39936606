// The process of the official Node reference server, file-backed in the folder it is given; prints its port.

import { DurableStreamTestServer } from "@durable-streams/server"

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0, dataDir: process.argv[2], longPollTimeout: 60_000 })
const url = await server.start()
process.send({ port: Number(new URL(url).port) })
