// The process of the official Node reference server: it stores streams as files in the given folder, and sends its port
// to the parent process.

import { DurableStreamTestServer, FileBackedStreamStore } from "@durable-streams/server"

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0, longPollTimeout: 60_000 })
// The default store keeps 100 files open, and answers an append with 404 if its file is closed meanwhile. The benchmark
// writes more streams than that.
server.store = new FileBackedStreamStore({ dataDir: process.argv[2], maxFileHandles: 4096 })
const url = await server.start()
process.send({ port: Number(new URL(url).port) })
