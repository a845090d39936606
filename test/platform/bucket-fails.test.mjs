// A bucket that fails, and an object that dies before it answers: the remaining work is done a minute later, without
// any request.
//
// These tests wait for a real minute, so all of them wait at the same time.

import { describe, expect, test } from "vitest"
import { Bucket } from "./bucket.mjs"
import { keyOf, messagesOf, offset } from "./segments.mjs"
import { JSON_TYPE, numbers, scratch, startWorkerd, unique } from "./support.mjs"

const MINUTE_MS = 60_000
/** Time for the alarm and its work. */
const PATIENCE_MS = MINUTE_MS + 30_000
const VARS = { SEGMENT_MAX_APPENDS: "3" }

describe.concurrent("unfinished work in the bucket", { timeout: PATIENCE_MS + 30_000 }, () => {
  const opened = async (onTestFinished) => {
    const bucket = await Bucket.open()
    onTestFinished(() => bucket.close())
    const folder = await scratch()
    const start = async () => {
      const server = await startWorkerd(folder, VARS, bucket)
      onTestFinished(() => server.kill())
      return server
    }
    return { bucket, start }
  }
  const append = async (stream, from, count) => {
    for (const n of numbers(count, from)) await stream.append(`${n}`, JSON_TYPE)
  }
  const requests = (server, stream) => server.log.matching({ event: "served", stream: stream.path }).length
  const minuteLater = ([first, ...others]) => {
    const last = others.at(-1)
    expect(last.at - first.at).toBeGreaterThan(MINUTE_MS - 2000)
  }

  test("after a failure, the alarm retries a rotation, and requests do not", async ({ onTestFinished }) => {
    const { bucket, start } = await opened(onTestFinished)
    const server = await start()
    const stream = server.stream(unique("fails"))
    await stream.create(JSON_TYPE)
    bucket.mood = "fails"
    await append(stream, 0, 3)
    const [{ cause }] = await server.log.until({ level: "error", operation: "put segment" })
    expect(cause).toContain(keyOf(stream, 0))
    // Other operations are not affected.
    await append(stream, 3, 4)
    expect(await messagesOf(stream)).toEqual(numbers(7))
    expect(bucket.commands.map(({ method }) => method)).toEqual(["put"])

    bucket.mood = "takes"
    const before = requests(server, stream)
    const rotated = await server.log.until({ event: "rotated", stream: stream.path }, 2, PATIENCE_MS)
    expect(rotated.map(({ segment }) => segment)).toEqual([0, 1])
    minuteLater(await bucket.until("put", 3))
    expect(requests(server, stream)).toBe(before)
    expect([...bucket.objects.keys()]).toEqual([keyOf(stream, 0), keyOf(stream, 1)])
    expect(await messagesOf(stream)).toEqual(numbers(7))
    expect(await messagesOf(stream, offset(1, 1))).toEqual(numbers(3, 4))
    expect(server.log.matching({ level: "error" })).toHaveLength(1)
  })

  test("after a crash, the alarm finishes a rotation", async ({ onTestFinished }) => {
    const { bucket, start } = await opened(onTestFinished)
    const before = await start()
    const path = unique("dies")
    await before.stream(path).create(JSON_TYPE)
    bucket.mood = "hangs"
    await append(before.stream(path), 0, 3)
    await bucket.until("put", 1)
    await before.kill()

    bucket.mood = "takes"
    const after = await start()
    await after.log.until({ event: "rotated", stream: path }, 1, PATIENCE_MS)
    minuteLater(await bucket.until("put", 2))
    const stream = after.stream(path)
    expect(requests(after, stream)).toBe(0)
    expect([...bucket.objects.keys()]).toEqual([keyOf(stream, 0)])
    expect(await messagesOf(stream)).toEqual(numbers(3))
  })

  test("after a failure, the alarm repeats the deletion of segments", async ({ onTestFinished }) => {
    const { bucket, start } = await opened(onTestFinished)
    const server = await start()
    const stream = server.stream(unique("deleted"))
    await stream.create(JSON_TYPE)
    await append(stream, 0, 6)
    await server.log.until({ event: "rotated", stream: stream.path }, 2)
    bucket.mood = "fails"
    await stream.delete()
    await server.log.until({ level: "error", operation: "delete segments" })
    expect(bucket.objects.size).toBe(2)

    bucket.mood = "takes"
    const before = requests(server, stream)
    await server.log.until({ event: "collected", stream: stream.path }, 1, PATIENCE_MS)
    expect(bucket.objects.size).toBe(0)
    expect(await bucket.until("delete", 2)).toHaveLength(2)
    expect(requests(server, stream)).toBe(before)
  })
})
