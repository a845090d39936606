// The process of the official Node reference server, file-backed in the folder it is given; tells its parent the port.

import { DurableStreamTestServer, FileBackedStreamStore } from "@durable-streams/server"

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0, longPollTimeout: 60_000 })
// By itself it keeps 100 files open, and answers an append with 404 when one is closed under it: more streams than
// that are written here.
server.store = new FileBackedStreamStore({ dataDir: process.argv[2], maxFileHandles: 4096 })
const url = await server.start()
process.send({ port: Number(new URL(url).port) })
