// Orphans on workerd: `pnpm admin:orphans` as a process, against a bucket with objects that no stream references.

import { execFile } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { callAll } from "../../src/cloudflare/js/calls.js"
import { AUTH_TOKEN, bearer } from "../tokens.mjs"
import { bucketOf, keyOf, keysOf, messagesOf, rotated } from "./segments.mjs"
import { CLOSED, JSON_TYPE, LONG_MS, SOON_MS, numbers, root, start, unique } from "./support.mjs"

const ADMIN_TOKEN = "the-token-of-these-tests"
const PATH = "/v1/admin/orphans"

/** Runs the command and returns its exit code and output. */
const command = (url, args = [], token = ADMIN_TOKEN) =>
  new Promise((resolve) => {
    const script = join(root, "tools/admin-orphans.mjs")
    const { ADMIN_TOKEN: _, ...env } = process.env
    const options = { env: token === null ? env : { ...env, ADMIN_TOKEN: token }, timeout: SOON_MS }
    execFile(process.execPath, [script, "--url", url, ...args], options, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr }),
    )
  })

const reportOf = async (url, args) => {
  const { code, stdout, stderr } = await command(url, ["--json", ...args])
  return { code, stderr, ...JSON.parse(stdout) }
}

const keyIn = (path, incarnation, readSeq) =>
  `${Buffer.from(path).toString("base64url")}/${incarnation}/${`${readSeq}`.padStart(16, "0")}`

/** All keys of the bucket. */
const everything = async (server) => {
  const { objects, truncated } = await (await bucketOf(server)).list()
  if (truncated) throw new Error("more objects than one page lists")
  return objects.map(({ key }) => key)
}

const ask = (server, { method = "POST", query = "", authorization } = {}) =>
  fetch(`${server.url}${PATH}${query}`, { method, headers: authorization ? { authorization } : {} })

describe("a server with a token", () => {
  let server
  beforeAll(async () => {
    // The registry would have segments, too.
    const vars = { REGISTRY_STREAM: "off", SEGMENT_MAX_APPENDS: "3", SEGMENT_MIN_BYTES: "1" }
    server = await start({ vars: { ADMIN_TOKEN, ...vars } })
  })
  afterAll(() => server?.dispose())

  const filled = async (path, count, last = {}) => {
    const stream = server.stream(path)
    await stream.create(JSON_TYPE)
    for (const n of numbers(count)) await stream.append(`${n}`, { ...JSON_TYPE, ...(n === count - 1 ? last : {}) })
    return stream
  }

  test("orphans are listed and deleted, and nothing else is", { timeout: LONG_MS }, async () => {
    const live = await filled(unique("live"), 8)
    await rotated(server, live, 2)
    const closed = await filled(unique("closed/\u00e9"), 4, CLOSED)
    await rotated(server, closed, 2)
    const again = await filled(unique("again"), 7)
    await rotated(server, again, 2)
    await again.delete()
    await server.log.until({ event: "collected", stream: again.path })
    await filled(again.path, 3)
    await rotated(server, again, 3)
    const ended = await filled(unique("ended"), 3)
    await rotated(server, ended, 1)
    await ended.delete()
    await server.log.until({ event: "collected", stream: ended.path })
    const streams = [live, closed, again]
    const contents = await Promise.all(streams.map((stream) => messagesOf(stream)))
    expect(contents).toEqual([numbers(8), numbers(4), numbers(3)])

    const bucket = await bucketOf(server)
    const known = await everything(server)
    expect(known).toHaveLength(5)
    const unborn = unique("never was")
    const orphans = [
      // An upload that was reported as failed and arrived after its stream had ended.
      keyIn(again.path, 1, 0),
      keyIn(ended.path, 1, 0),
      keyIn(live.path, 2, 0),
      // The storage of these streams does not exist, or is another one's.
      keyIn(unborn, 1, 0),
      keyIn(unborn, 3, 12),
      keyIn(unique(), 1, 1),
    ]
    for (const key of orphans) await bucket.put(key, `bytes of ${key}`)
    const foreign = ["README.txt", `${keyOf(live, 0)}.bak`, keyIn("a//b", 1, 0), keyIn("__ds/x", 1, 0), "\u001b[2J"]
    for (const key of foreign) await bucket.put(key, "not ours")
    const before = await everything(server)
    const expected = orphans.toSorted()

    const listed = await reportOf(server.url, [])
    expect(listed).toMatchObject({ code: 1, stderr: "", deleted: false, unchecked: [], checked: 11 })
    expect(listed.orphans.map(({ key }) => key).toSorted()).toEqual(expected)
    expect(listed.foreign.toSorted()).toEqual(foreign.toSorted())
    const one = listed.orphans.find(({ key }) => key === keyIn(unborn, 3, 12))
    expect(one).toEqual({
      ...{ key: keyIn(unborn, 3, 12), path: unborn, incarnation: 3, readSeq: 12, bytes: `bytes of ${one.key}`.length },
      uploaded: (await bucket.head(one.key)).uploaded.toISOString(),
    })
    expect(await everything(server)).toEqual(before)

    const table = await command(server.url)
    expect(table.code).toBe(1)
    for (const { path } of listed.orphans) expect(table.stdout).toContain(`  ${path} `)
    expect(table.stdout).toContain("\n11 segments checked, 6 orphans (")
    expect(table.stdout).toContain('  "README.txt"\n')
    // Control characters in a key do not reach the terminal.
    expect(table.stdout).not.toContain("\u001b")

    const deleted = await command(server.url, ["--delete"])
    expect(deleted).toMatchObject({ code: 0, stderr: "" })
    expect(deleted.stdout).toContain("11 segments checked, 6 orphans deleted (")
    expect(await everything(server)).toEqual(before.filter((key) => !orphans.includes(key)))
    expect(await reportOf(server.url, [])).toMatchObject({ code: 0, orphans: [], unchecked: [], checked: 5 })
    expect(await Promise.all(streams.map((stream) => messagesOf(stream)))).toEqual(contents)

    // An audit and a sweep leave nothing in the object of a stream that never existed.
    await server.stream(unborn).ask("GET", { status: 404 })
    for (const event of ["audited", "swept"]) {
      const lines = await server.log.until({ event, stream: unborn })
      expect(lines.map(({ rows_written }) => rows_written)).toEqual(lines.map(() => 0))
    }
    for (const key of foreign) await bucket.delete(key)
  })

  test("the audit covers more streams than a page has, and more segments than one listing", { timeout: LONG_MS }, async () => {
    const bucket = await bucketOf(server)
    const large = await filled(unique("large"), 1)
    const before = await everything(server)
    const orphans = [
      ...numbers(95).map(() => keyIn(unique(), 1, 0)),
      ...numbers(600).map((readSeq) => keyIn(large.path, 2, readSeq)),
    ]
    for (const some of numbers(14)) {
      await Promise.all(orphans.slice(some * 50, some * 50 + 50).map((key) => bucket.put(key, "x")))
    }
    const authorization = `Bearer ${ADMIN_TOKEN}`
    const first = await (await ask(server, { authorization })).json()
    expect(new Set(first.orphans.map(({ path }) => path)).size).toBeLessThanOrEqual(40)
    expect(first.cursor).toBe([...before, ...orphans].toSorted()[first.checked + first.foreign.length - 1])

    const listed = await reportOf(server.url, [])
    expect(listed.orphans.map(({ key }) => key)).toEqual(orphans.toSorted())
    expect(listed.checked).toBe(before.length + orphans.length)
    expect((await command(server.url, ["--delete"])).code).toBe(0)
    expect(await everything(server)).toEqual(before)
    // Rotation still works, so no earlier work is in flight.
    for (const n of [1, 2]) await large.append(`${n}`, JSON_TYPE)
    await rotated(server, large, 1)
    expect(await keysOf(server, large)).toEqual([keyOf(large, 0)])
  })

  test("a client without the administrator's token learns and deletes nothing", async () => {
    const key = keyIn(unique(), 1, 0)
    await (await bucketOf(server)).put(key, "x")
    const wrong = [undefined, "Bearer", `Bearer ${ADMIN_TOKEN}x`, "Bearer the", `Basic ${ADMIN_TOKEN}`, ADMIN_TOKEN]
    for (const authorization of wrong) {
      expect((await ask(server, { method: "OPTIONS", query: "?delete=true", authorization })).status).toBe(204)
      for (const method of ["POST", "GET", "DELETE"]) {
        const refused = await ask(server, { method, query: "?delete=true", authorization })
        expect(refused.status).toBe(401)
        expect(refused.headers.get("www-authenticate")).toMatch(/^Bearer\b/u)
        expect(refused.headers.get("cache-control")).toBe("no-store")
        expect(await refused.json()).toMatchObject({ error: { code: "unauthorized" } })
      }
    }
    const { code, stdout, stderr } = await command(server.url, ["--delete"], "another-of-sixteen")
    expect([code, stderr]).toEqual([2, expect.stringContaining("401: the server has another ADMIN_TOKEN")])
    expect(stdout).not.toContain(key)
    expect(await everything(server)).toContain(key)
    const answer = await ask(server, { authorization: `bearer  ${ADMIN_TOKEN}` })
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"])
    expect((await ask(server, { method: "GET", authorization: `Bearer ${ADMIN_TOKEN}` })).status).toBe(405)
    await (await bucketOf(server)).delete(key)
  })
})

test("writers of streams are not administrators, and administrators may not write streams", async () => {
  const server = await start({ vars: { AUTH_TOKEN, ADMIN_TOKEN } })
  onTestFinished(() => server.dispose())
  expect((await ask(server, bearer(AUTH_TOKEN))).status).toBe(401)
  expect(await reportOf(server.url, [])).toMatchObject({ code: 0, stderr: "", checked: 0 })
  await server.stream().ask("PUT", { headers: { ...JSON_TYPE, ...bearer(ADMIN_TOKEN) }, status: 401 })
})

test("a server without an administrator's token has no such route", async () => {
  for (const vars of [{}, { ADMIN_TOKEN: "" }, { ADMIN_TOKEN: "fifteen-letters" }]) {
    const server = await start({ vars })
    onTestFinished(() => server.dispose())
    const elsewhere = await fetch(`${server.url}/v1/admin/nothing`, { method: "POST" })
    for (const authorization of [undefined, "Bearer ", "Bearer fifteen-letters"]) {
      const answer = await ask(server, { query: "?delete=true", authorization })
      expect([answer.status, await answer.text()]).toEqual([404, await elsewhere.clone().text()])
    }
    const { code, stderr } = await command(server.url)
    expect([code, stderr]).toEqual([2, expect.stringContaining("404: the server has no ADMIN_TOKEN")])
  }
})

describe("the command", () => {
  /** A server that sends these responses, one after another. */
  const answering = async (...answers) => {
    const server = createServer((request, response) => {
      request.resume()
      const [status, body, headers] = answers.shift()
      response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body))
    }).listen(0, "127.0.0.1")
    onTestFinished(() => void server.close())
    await once(server, "listening")
    return `http://127.0.0.1:${server.address().port}`
  }
  const page = (fields) => ({ orphans: [], unchecked: [], foreign: [], checked: 0, cursor: null, ...fields })
  const stored = { key: "YQ/1/0", path: "a", incarnation: 1, readSeq: 0, bytes: 1, uploaded: "2030-01-01T00:00:00Z" }

  test("names what is missing or wrong in its environment and arguments", async () => {
    const lacks = async (text, ...given) => {
      const { code, stderr } = await command(...given)
      expect([code, stderr]).toEqual([2, expect.stringContaining(text)])
    }
    const url = await answering()
    await lacks("ADMIN_TOKEN is not set", url, [], null)
    await lacks("16 characters or more", url, [], "fifteen-letters")
    // Arguments are visible to other users.
    await lacks("Unknown option '--token'", url, ["--token", "x"])
    await lacks("Invalid URL", "nowhere")
    const help = await command(url, ["--help"], null)
    expect([help.code, help.stdout]).toEqual([0, expect.stringContaining("--delete")])
  })

  test("reports that the server is unreachable", async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const url = `http://127.0.0.1:${server.address().port}`
    server.close()
    await once(server, "close")
    const { code, stderr } = await command(url)
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${url} cannot be reached`)])
  })

  test("fails if a stream did not answer", async () => {
    const url = await answering([200, page({ unchecked: [stored], checked: 3 })])
    const { code, stdout, stderr } = await command(url, ["--delete"])
    expect([code, stderr]).toEqual([2, expect.stringContaining("run it again")])
    expect(stdout).toContain("3 segments checked, 0 orphans deleted (0 bytes), 1 unchecked")
  })

  test("prints the orphans that it found before a failure", async () => {
    const error = { error: { code: "internal", message: "The server failed." } }
    const url = await answering([200, page({ orphans: [stored], checked: 1, cursor: "YQ/1/0" })], [500, error])
    const { code, stdout, stderr } = await command(url)
    expect([code, stderr]).toEqual([2, expect.stringContaining("500: The server failed.")])
    expect(stdout).toContain("1 orphan (1 byte)")
  })

  test("does not send its token to another host", async () => {
    const elsewhere = await answering()
    const url = await answering([307, "", { location: `${elsewhere}${PATH}` }])
    expect((await command(url)).code).toBe(2)
  })
})

test("a stream that does not answer does not count as a stream without orphans", async () => {
  const failure = new Error("it is broken")
  const streams = {
    a: { asked: async (text) => `answer to ${text}` },
    b: { asked: () => Promise.reject(failure) },
    get c() {
      throw failure
    },
  }
  const namespace = { getByName: (path) => streams[path] }
  expect(await callAll(namespace, ["a", "b", "c"], ["1", "2", "3"])).toEqual(["answer to 1", failure, failure])
})
