// The packed library in other Workers: the examples of docs/library.md, bundled by wrangler, on workerd.

import { execFileSync } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { Receiver } from "../platform/receiver.mjs"
import { SseReader } from "../platform/readers.mjs"
import { bearer } from "../tokens.mjs"
import { application, blocksOfLibrary, newFolder, root, serve, workerOf } from "./support.mjs"

const JSON_TYPE = { "content-type": "application/json" }
const OPEN = { bindings: { ALLOW_OPEN: "1" } }
const TOKEN = "a-token-of-the-server"

const blocks = await blocksOfLibrary()

/** Creates a stream, appends, reads, and follows it. Returns the response to the creation. */
async function expectStream(url, headers = {}) {
  const created = await fetch(url, { method: "PUT", headers: { ...JSON_TYPE, ...headers } })
  expect(created.status).toBe(201)
  expect(created.headers.get("location")).toBe(url)
  const append = (n) => fetch(url, { method: "POST", headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify({ n }) })
  expect((await append(1)).status).toBe(204)
  const read = await fetch(`${url}?offset=-1`, { headers })
  expect(await read.json()).toEqual([{ n: 1 }])
  const reader = await SseReader.open({ url, path: url }, { headers })
  await reader.untilAtTail()
  await append(2)
  await reader.untilMessages(2)
  expect(reader.messages).toEqual([{ n: 1 }, { n: 2 }])
  await reader.close()
  return { created, read }
}

describe("a Worker with the library", () => {
  test("serves streams below its own path, next to its own routes", async () => {
    const lines = blocks.mounted.trim().split("\n")
    expect(lines.length).toBeLessThan(10)
    const url = await serve(await application(blocks.mounted), OPEN)
    expect(await (await fetch(`${url}/other`)).text()).toBe("My application")
    await expectStream(`${url}/streams/my-project/chat/42`)

    const fork = { method: "PUT", headers: { ...JSON_TYPE, "stream-forked-from": "/streams/my-project/chat/42" } }
    expect((await fetch(`${url}/streams/my-project/fork`, fork)).status).toBe(201)
    expect(await (await fetch(`${url}/streams/my-project/fork?offset=-1`)).json()).toEqual([{ n: 1 }, { n: 2 }])
  })

  test("measures requests below its own path as those of the server", async () => {
    const code = blocks.mounted.replaceAll("/streams", "/api/s").replace("export default {", `const points = []
      const METRICS = { writeDataPoint: ({ blobs }) => points.push(blobs.slice(0, 4).join(" ")) }
      export default {`)
    const measured = code
      .replace("streams.fetch(request, env, context)", "streams.fetch(request, { ...env, METRICS }, context)")
      .replace(`"My application"`, "JSON.stringify(points)")
    const url = await serve(await application(measured), { bindings: { ...OPEN.bindings, METRICS_SAMPLE: "1" } })
    await expectStream(`${url}/api/s/my-project/measured`)
    const points = async () => (await (await fetch(`${url}/points`)).json()).filter((point) => point.startsWith("request"))
    const all = ["stream PUT 201", "stream POST 204", "stream GET 200", "sse GET 200", "stream POST 204"]
    await expect.poll(points).toEqual(all.map((point) => `request ${point}`))
  })

  test("is the server itself, without options", async () => {
    const url = await serve(await application(blocks.plain), { bindings: { AUTH_TOKEN: TOKEN } })
    const stream = `${url}/v1/stream/my-project/a`
    expect((await fetch(stream, { method: "PUT" })).status).toBe(401)
    await expectStream(stream, bearer(TOKEN))
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ mode: "token", status: "ok" })
  })

  test("under Hono, with a rule of the application", async () => {
    const url = await serve(await application(blocks.hono, { packages: ["hono"] }))
    expect(await (await fetch(url)).text()).toBe("My application")
    const stream = `${url}/streams/my-project/a`
    expect((await fetch(stream, { method: "PUT" })).status).toBe(401)
    await expectStream(stream, { "x-key": "the key of my app" })
  })

  test("is called by another Worker through a service binding", async () => {
    const server = { name: "durable-streams", ...(await workerOf(await application(blocks.plain))), bindings: { AUTH_TOKEN: TOKEN } }
    const front = await application(blocks.bound, { config: `name = "front"\nmain = "src/index.js"\ncompatibility_date = "2026-10-01"` })
    const options = { durableObjects: {}, serviceBindings: { STREAMS_SERVER: "durable-streams" } }
    const frontWith = async (bindings) => `${await serve(front, { ...options, bindings }, [server])}/v1/stream/my-project/a`
    const known = { "x-key": "a-key-of-a-client" }
    const stream = await frontWith({ AUTH_TOKEN: TOKEN, CLIENT_KEY: known["x-key"] })
    await expectStream(stream, known)
    for (const headers of [{}, { "x-key": "" }, { "x-key": "a-guess" }]) expect((await fetch(stream, { headers })).status).toBe(401)
    for (const headers of [{}, { "x-key": "" }, { "x-key": "undefined" }]) expect((await fetch(await frontWith({ AUTH_TOKEN: TOKEN }), { headers })).status).toBe(401)
    const wrong = await frontWith({ AUTH_TOKEN: "another-token-of-no-one", CLIENT_KEY: known["x-key"] })
    expect(await (await fetch(wrong, { headers: known })).json()).toMatchObject({ error: { code: "unauthorized" } })
  })
})

describe("an application that decides about access", () => {
  const alice = { cookie: "session=alice" }
  let guarded
  beforeAll(async () => {
    guarded = await application(blocks.guarded)
  })

  test("allows and refuses requests, whatever the mode of the server would be", async () => {
    for (const bindings of [{}, { ALLOW_OPEN: "1" }, { AUTH_TOKEN: TOKEN }]) {
      const url = await serve(guarded, { bindings })
      const { read } = await expectStream(`${url}/streams/alice/a`, alice)
      expect(read.headers.get("cache-control")).toContain("private")
      expect(read.headers.get("access-control-allow-origin")).toBe(null)
      for (const headers of [{}, { cookie: "session=bob" }, bearer("guess"), bearer(TOKEN), { cookie: `stream-token=${TOKEN}` }]) {
        const refused = await fetch(`${url}/streams/alice/a`, { headers })
        const message = "The application does not allow this request: log in to it, or check its rules for this path."
        expect([refused.status, await refused.json()]).toEqual([401, { error: { code: "unauthorized", message } }])
      }
      expect((await fetch(`${url}/streams/alice/a?token=${TOKEN}`)).status).toBe(401)
      expect((await fetch(`${url}/streams/alice/a`, { method: "DELETE" })).status).toBe(401)
      expect((await fetch(`${url}/v1/stream/alice/a`, { headers: alice })).status).toBe(401)
      expect((await fetch(`${url}/v1/streams`, { headers: alice })).status).toBe(401)
      expect((await fetch(`${url}/streams/alice/a`, { method: "OPTIONS" })).status).toBe(204)
      expect((await fetch(`${url}/health`)).status).toBe(200)
    }
  })

  test("allows no request about all streams to a user whose name is reserved", async () => {
    for (const bindings of [{}, { ALLOW_OPEN: "1" }, { AUTH_TOKEN: TOKEN }]) {
      const url = await serve(guarded, { bindings })
      const send = async (method, path, session, headers = {}, body = undefined) => {
        const sent = { ...JSON_TYPE, cookie: `session=${session}`, ...headers }
        return (await fetch(`${url}/streams/${path}`, { method, headers: sent, body: body && JSON.stringify(body) })).status
      }
      const all = { type: "pull-wake", pattern: "**", wake_stream: "alice/a" }
      for (const name of ["__ds", "%5F%5Fds", "__d%73"]) {
        for (const session of ["__ds", "%5F%5Fds"]) {
          expect(await send("PUT", `${name}/subscriptions/s`, session, {}, all)).toBe(401)
          expect(await send("GET", `${name}/subscriptions`, session)).toBe(401)
          expect(await send("POST", `${name}/subscriptions/s/claim`, session, {}, { worker: "w" })).toBe(401)
        }
      }
    }
    const code = blocks.guarded.replace(/return user[^]*?\n/u, 'return new URL(request.url).pathname.split("/")[2] === user\n')
    const url = await serve(await application(code))
    for (const path of ["__registry__", "__registry__?offset=-1&live=sse"]) {
      expect((await fetch(`${url}/streams/${path}`, { headers: { cookie: "session=__registry__" } })).status).toBe(401)
    }
  })

  test("allows requests about all streams with the token of the server", async () => {
    const code = blocks.guarded.replace(/return user[^]*?\n/u, "return user === 'root' ? env.AUTH_TOKEN : true\n")
    const allowing = await application(code)
    const get = async (bindings, session) =>
      (await fetch(`${await serve(allowing, { bindings })}/streams/__ds/subscriptions`, { headers: { cookie: `session=${session}` } })).status
    expect(await get({ AUTH_TOKEN: TOKEN }, "root")).toBe(200)
    expect(await get({ AUTH_TOKEN: TOKEN }, "alice")).toBe(401)
    expect(await get({}, "root")).toBe(401)
  })

  test("also decides about the source of a fork", async () => {
    const url = await serve(guarded)
    await expectStream(`${url}/streams/alice/a`, alice)
    await expectStream(`${url}/streams/bob/b`, { cookie: "session=bob" })
    const fork = (source) => {
      const headers = { ...JSON_TYPE, ...alice, "stream-forked-from": source }
      return fetch(`${url}/streams/alice/fork-${crypto.randomUUID()}`, { method: "PUT", headers })
    }
    expect((await fork("/streams/alice/a")).status).toBe(201)
    for (const source of ["/streams/bob/b", "/v1/stream/bob/b", "/streams/%62ob/b", "//a/streams/bob/b"]) {
      expect([source, (await fork(source)).status]).toEqual([source, 401])
    }
    for (const source of ["/streams/bob/../alice/a", "/streams/alice/..%2Fbob/b", "/streams/alice/../bob/b"]) {
      expect([source, [400, 401].includes((await fork(source)).status)]).toEqual([source, true])
    }
  })

  // In `Stream-Forked-From`, ? and # are characters of the stream's path.
  test("sees the whole path of a fork's source", async () => {
    const code = blocks.guarded.replace(/return user[^]*?\n/u, "return ['/streams/public', '/streams/mine'].includes(new URL(request.url).pathname)\n")
    const url = await serve(await application(code))
    for (const path of ["public", "mine"]) await expectStream(`${url}/streams/${path}`)
    for (const source of ["/streams/public?secret", "/streams/public#secret", "/streams/public%3Fsecret"]) {
      const forked = await fetch(`${url}/streams/mine`, { method: "PUT", headers: { ...JSON_TYPE, "stream-forked-from": source } })
      expect([source, forked.status]).toEqual([source, 401])
    }
  })

  test("does not decide about callbacks, whose URLs are below its path and have tokens of their own", async () => {
    const code = blocks.guarded.replaceAll("/streams", "/api/s")
    const url = await serve(await application(code), { bindings: { ALLOW_LOCAL_WEBHOOKS: "1" } })
    const receiver = await Receiver.open()
    onTestFinished(() => receiver.close())
    const streams = `${url}/api/s/alice`
    await expectStream(`${streams}/watched`, alice)
    const send = (method, path, body, headers) => fetch(path, { method, headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(body) })
    const subscription = { type: "webhook", streams: ["watched"], webhook: { url: receiver.at("hook") } }
    expect((await send("PUT", `${streams}/__ds/subscriptions/s`, subscription, {})).status).toBe(401)
    const put = await send("PUT", `${streams}/__ds/subscriptions/s`, subscription, alice)
    expect([put.status, await put.text()]).toEqual([201, expect.stringContaining(`"${streams}/__ds/jwks.json"`)])
    expect((await fetch(`${streams}/__ds/jwks.json`)).status).toBe(200)

    await send("POST", `${streams}/watched`, 3, alice)
    const [{ body: delivery }] = await receiver.until("hook")
    expect(delivery.callback_url).toBe(`${streams}/__ds/subscriptions/s/callback`)
    const acks = delivery.streams.map(({ path, tail_offset: offset }) => ({ stream: path, offset }))
    const done = { wake_id: delivery.wake_id, generation: delivery.generation, acks, done: true }
    const called = await send("POST", delivery.callback_url, done, bearer(delivery.callback_token))
    expect([called.status, await called.json()]).toMatchObject([200, { ok: true }])
  })

  test("may answer itself, and may give a token to check", async () => {
    const code = blocks.guarded.replace(/authorize\([^]*?\n {2}\},/u, `async authorize(request) {
      const answer = request.headers.get("x-answer")
      if (answer === "throw") throw new Error("not decided")
      return answer === "response" ? Response.redirect("https://login.example/") : answer
    },`)
    const url = await serve(await application(code), { bindings: { AUTH_TOKEN: TOKEN } })
    const get = (answer) => fetch(`${url}/streams/a`, { redirect: "manual", headers: { "x-answer": answer, ...bearer(TOKEN) } })
    expect((await get("response")).headers.get("location")).toBe("https://login.example/")
    expect((await get(TOKEN)).status).toBe(404)
    expect((await get("no-token-of-the-server")).status).toBe(401)
    const failed = await get("throw")
    expect([failed.status, await failed.json()]).toMatchObject([500, { error: { code: "internal" } }])
    expect(failed.headers.get("x-request-id")).toMatch(/^[\w-]{16,}$/u)
  })
})

test("refuses wrong options, and a second call", async () => {
  const url = await serve(
    await application(`import { createStreams } from "durable-streams-cloudflare"
      export { StreamObject } from "durable-streams-cloudflare"
      const said = []
      for (const options of [{ basePath: "streams" }, { basePath: "/a?b" }, { authorize: true }, { basepath: "/a", authorise: () => true }, null, {}, {}]) {
        try { said.push(typeof createStreams(options).fetch) } catch (error) { said.push(error.message) }
      }
      export default { fetch: () => Response.json(said) }`),
  )
  expect(await (await fetch(url)).json()).toEqual([
    'createStreams: basePath must be a path such as "/streams", not "streams"',
    'createStreams: basePath must be a path such as "/streams", not "/a?b"',
    "createStreams: authorize must be a function of a request",
    "createStreams: there is no option basepath, authorise; the options are basePath and authorize",
    "createStreams: the options must be an object",
    "function",
    "createStreams: call it once, because everything in a Worker shares its options",
  ])
})

test("the examples have the declared types", async () => {
  const folder = await newFolder()
  const types = { compilerOptions: { strict: true, noEmit: true, noImplicitAny: false, checkJs: true, allowJs: true, target: "esnext", module: "esnext", moduleResolution: "bundler", skipLibCheck: true, types: [join(root, "node_modules/@cloudflare/workers-types")], paths: { "durable-streams-cloudflare": [join(root, "package/index.d.ts")], hono: [join(root, "node_modules/hono")] } } }
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ ...types, include: ["*.js"] }))
  for (const name of ["mounted", "plain", "guarded", "hono"]) await writeFile(join(folder, `${name}.js`), blocks[name])
  const tsc = () => execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8", stdio: "pipe" })
  tsc()
  await writeFile(join(folder, "wrong.js"), blocks.mounted.replace("basePath:", "base:"))
  expect(tsc).toThrow()
})
