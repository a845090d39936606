// Rotation over crashes and over much data: fifty SIGKILLs during rotation, and a stream larger than an object's
// memory.

import { createHash, randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { expect, onTestFinished, test } from "vitest"
import { SseReader } from "./readers.mjs"
import { keys, keysOf, messagesOf, rotated, startKnown } from "./segments.mjs"
import { CLOSED, JSON_TYPE, LONG_MS, PATIENT, SOON_MS, numbers, scratch, unique, within } from "./support.mjs"

const MIB = 2 ** 20

test("every acknowledged append is stored once and in order after fifty SIGKILLs", { timeout: 180_000 }, async () => {
  const [kills, persistTo, path] = [50, await scratch(), unique("killed")]
  const vars = { ...PATIENT, SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" }
  const acknowledged = []
  let n = 0
  const body = () => JSON.stringify({ n, filler: "x".repeat(4096) })

  let server = await startKnown({ vars, persistTo })
  onTestFinished(() => server.dispose())
  await server.stream(path).create(JSON_TYPE)
  for (const round of numbers(kills)) {
    const { log } = server
    const stream = server.stream(path)
    const line = (event, count) => log.until({ event, stream: path }, count, LONG_MS)
    const acks = Promise.withResolvers()
    const count = 1 + Math.floor(round / 5)
    /** The moment of the kill. The writer continues until it notices. */
    const moment = [
      () => acks.promise,
      () => line("rotated", count),
      // An append has been served, perhaps one that seals. Its response and its effects are in flight.
      () => line("served", 2 + count),
      () => line("loaded", 1),
      // No event: some moment during an append.
      () => acks.promise.then(() => new Promise((resolve) => setTimeout(resolve, count % 4))),
    ][round % 5]()
    const run = (async () => {
      for (let here = 1; ; here += 1, n += 1) {
        try {
          await stream.append(body(), JSON_TYPE)
        } catch (error) {
          // fetch throws this when the connection breaks. A refusal would be another error.
          if (error instanceof TypeError) return
          throw error
        }
        acknowledged.push(n)
        if (here === 2 + count) acks.resolve()
      }
    })()
    await Promise.race([moment, run])
    await server.kill()
    await within(SOON_MS, "the writer notices", run)
    // This append may be stored or not, so it is not retried.
    n += 1
    server = await startKnown({ vars, persistTo })
  }
  await server.stream(path).append(JSON.stringify({ n }), { ...JSON_TYPE, ...CLOSED })
  acknowledged.push(n)

  const numbersOf = (messages) => messages.map((message) => message.n)
  const stored = numbersOf(await messagesOf(server.stream(path)))
  expect(stored).toEqual([...new Set(stored)].sort((a, b) => a - b))
  const there = new Set(stored)
  expect(acknowledged.filter((number) => !there.has(number))).toEqual([])
  expect(stored.length - acknowledged.length).toBeLessThanOrEqual(kills)
  const reader = await SseReader.open(server.stream(path))
  await reader.untilEnd(LONG_MS)
  expect(numbersOf(reader.messages)).toEqual(stored)
  await server.kill()
  // Each message is a chunk of its own.
  server = await startKnown({ vars: { ...vars, CHUNK_MAX_BYTES: "1024" }, persistTo })
  const stream = server.stream(path)
  expect(numbersOf(await messagesOf(stream))).toEqual(stored)

  // The bucket has one object per segment and no other, even after repeated uploads, and a delete removes them all.
  const { next } = await stream.ask("HEAD", { status: 200 })
  const [readSeq, position] = next.split("_").map(Number)
  const segments = readSeq + (position > 0 ? 1 : 0)
  expect(segments).toBeGreaterThan(kills)
  while ((await keysOf(server, stream)).length < segments);
  expect(await keysOf(server, stream)).toEqual(keys(stream, segments))
  await stream.delete()
  await server.log.until({ event: "collected", stream: path }, Math.ceil(segments / 100))
  expect(await keysOf(server, stream)).toEqual([])
})

test("200 MB are written and read in bounded memory", { timeout: 120_000 }, async () => {
  // The edge's cache is in this process, too, and would hold everything that is read.
  const server = await startKnown({ vars: { EDGE_CACHE: "off" }, persistTo: await scratch() })
  onTestFinished(() => server.dispose())
  const resident = async () =>
    Number(/VmRSS:\s+(\d+)/u.exec(await readFile(`/proc/${server.pid}/status`, "utf8"))[1]) / 1024
  const stream = server.stream(unique("large"))
  await stream.create()
  const before = await resident()
  let most = before
  const [written, read] = [createHash("sha256"), createHash("sha256")]
  let mostOfHalf
  for (const n of numbers(200)) {
    const bytes = randomBytes(MIB)
    written.update(bytes)
    await stream.append(bytes)
    most = Math.max(most, await resident())
    if (n === 99) mostOfHalf = most
  }
  await rotated(server, stream, 50)
  // During an upload a segment is in memory several times: in wasm, in JavaScript, and in the local bucket. Garbage
  // also waits to be collected. If the stream itself stayed in memory, the second half would add 100 MB.
  expect(most - mostOfHalf).toBeLessThan(100)
  let [readBytes, mostOfHalfRead] = [0, undefined]
  for (let chunk; chunk?.header("stream-up-to-date") !== "true"; ) {
    chunk = await stream.read(chunk?.next)
    read.update(chunk.bytes)
    readBytes += chunk.bytes.length
    most = Math.max(most, await resident())
    if (readBytes > 100 * MIB) mostOfHalfRead ??= most
  }
  expect(read.digest("hex")).toBe(written.digest("hex"))
  // If everything that is read stayed in memory, the second half of the reads would add 100 MB, too.
  expect(most - mostOfHalfRead).toBeLessThan(50)
  expect(most - before).toBeLessThan(400)
})
