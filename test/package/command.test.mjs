// The other commands of the packed package, without Rust: `init`, `dev`, and what they say if something is wrong.

import { once } from "node:events"
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { expect, inject, test } from "vitest"
import { bundle, command, install, newFolder, root, run, userEnv } from "./support.mjs"

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  return `${port}`
}

/** Runs `dev` in a folder, creates a stream as its output says, and stops it. Returns what the stream contains, without and with a token. */
async function tryDev(folder) {
  const PORT = await freePort()
  let tried
  const onSaid = (child, said) => {
    if (!said.includes("curl -N") || tried) return
    const url = `http://127.0.0.1:${PORT}/v1/stream/my-project/first`
    const token = { authorization: "Bearer a-token-for-development" }
    tried = Promise.all([tryStream(url), readStream(url, token)]).finally(() => child.kill("SIGINT"))
  }
  const ended = await command(folder, ["dev", "--port", PORT], { env: { PORT: "1" }, onSaid })
  expect(ended.said).toContain(`Serving http://127.0.0.1:${PORT}.`)
  const [read, known] = await tried
  return { ...ended, read, known }
}

async function tryStream(url) {
  const headers = { "content-type": "application/json" }
  await fetch(url, { method: "PUT", headers })
  await fetch(url, { method: "POST", headers, body: '{"text":"Hello"}' })
  return readStream(url)
}

async function readStream(url, headers = {}) {
  const response = await fetch(`${url}?offset=-1`, { headers })
  return { status: response.status, text: await response.text() }
}

test("dev serves in an empty folder, and keeps what is stored", async () => {
  const folder = await newFolder()
  await install(folder, "wrangler")
  const first = await tryDev(folder)
  expect(first.read).toEqual({ status: 200, text: '[{"text":"Hello"}]' })
  expect(first.said).toContain("Mode: open (requests from this machine may do everything)")
  expect(first.said).toMatch(/^Console: http:/mu)
  await writeFile(join(folder, ".dev.vars"), "AUTH_TOKEN=a-token-for-development")
  const guarded = await tryDev(folder)
  expect([guarded.read.status, guarded.said]).toEqual([401, expect.stringContaining("Mode: token")])
  expect(guarded.known.text).toBe('[{"text":"Hello"}]')
  const left = (await readdir(folder)).filter((name) => !["node_modules", "package.json", "package-lock.json", ".config", ".cache", ".local"].includes(name))
  expect(left.toSorted()).toEqual([".dev.vars", ".wrangler"])
})

test("init writes a project that wrangler bundles and dev serves, and never overwrites one", async () => {
  const folder = await newFolder()
  await install(folder, "wrangler")
  const { code, said } = await command(folder, ["init", "my/project"])
  expect([code, said]).toEqual([0, expect.stringContaining("cd my/project")])
  const project = join(folder, "my/project")
  expect((await readdir(project)).toSorted()).toEqual([".dev.vars.example", ".gitignore", "package.json", "src", "wrangler.toml"])
  const config = await readFile(join(project, "wrangler.toml"), "utf8")
  expect(config).not.toMatch(/^\[build\]/mu)
  expect(JSON.parse(await readFile(join(project, "package.json"), "utf8")).dependencies).toEqual({ "durable-streams-cloudflare": `file:${inject("tarball")}` })
  expect(config).toMatch(/^name = "project"$[^]*^bucket_name = "project-segments"$[^]*^database_name = "project-admin"$/mu)

  const again = await command(folder, ["init", "my/project"])
  expect([again.code, again.errors]).toEqual([1, expect.stringContaining("wrangler.toml, src/index.js, package.json, .dev.vars.example, .gitignore in")])
  await mkdir(join(folder, "half/src"), { recursive: true })
  await writeFile(join(folder, "half/src/index.js"), "mine")
  expect((await command(folder, ["init", "half"])).code).toBe(1)
  expect(await readdir(join(folder, "half"))).toEqual(["src"])

  for (const wrong of [["a", "b"], ["a", "--force"], ["--force"], [""]]) {
    const { code, errors } = await command(folder, ["init", ...wrong])
    expect([wrong, code, errors]).toEqual([wrong, 1, expect.stringContaining("init takes one folder")])
  }
  const inFile = await command(folder, ["init", "package.json/a"])
  expect([inFile.code, inFile.errors]).toEqual([1, expect.stringMatching(/^The project cannot be written into .*package\.json\/a \(ENOTDIR[^\n]*\n$/u)])
  expect((await command(folder, ["init", "it's mine"])).said).toContain("cd 'it'\\''s mine'\n")
  const nameIn = async (path) => JSON.parse(await readFile(join(folder, path, "package.json"), "utf8")).name
  expect(await nameIn("it's mine")).toBe("it-s-mine")
  for (const [path, name] of [["Café_2.", "cafe-2"], ["日本", "my-streams"], ["a".repeat(80), "a".repeat(54)]]) {
    await command(folder, ["init", path])
    expect(await nameIn(path)).toBe(name)
  }

  await install(project, "wrangler")
  const rehearsed = await command(project, ["deploy", "--dry-run"])
  expect([rehearsed.code, rehearsed.said]).toEqual([0, expect.stringMatching(/\[2\/6\] R2: create the bucket project-segments,[^]*env\.STREAMS/u)])
  expect((await readdir(await bundle(project))).filter((name) => name.endsWith(".wasm"))).toHaveLength(1)
  expect((await tryDev(project)).read.status).toBe(200)
})

test("says what is wrong", async () => {
  const folder = await newFolder()
  await install(folder)
  const without = await command(folder, ["deploy", "--dry-run"])
  expect([without.code, without.errors]).toEqual([1, "Wrangler is not installed. Install it: npm install --save-dev wrangler\n"])
  const unknown = await command(folder, ["start"])
  expect([unknown.code, unknown.errors]).toEqual([1, expect.stringMatching(/^There is no command "start"\.[^]*deploy --dry-run/u)])
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
  expect((await command(folder, ["--version"])).said).toBe(`${version}\n`)
  expect((await command(folder, ["dev", "--help"])).said).toContain("--port 9000")
  for (const [args, PORT] of [[[], "abc"], [["--port=0"], ""], [["--port"], ""], [["--port", "65536"], ""], [[], "8e3"]]) {
    const { code, errors } = await command(folder, ["dev", ...args], { env: { PORT } })
    expect([code, errors]).toEqual([1, expect.stringMatching(/^"(abc|0||65536|8e3)" is no port from 1 to 65535; choose another port: PORT=9000 npx/u)])
  }

  const port = createServer().listen(0, "127.0.0.1")
  await once(port, "listening")
  const taken = await command(folder, ["dev"], { env: { PORT: `${port.address().port}` } })
  port.close()
  expect(taken.errors.trim()).toMatch(/is in use\. Stop the program that listens on it, or choose another port: PORT=9000 npx durable-streams-cloudflare dev$/u)

  // An old Node, as far as the command can see.
  const old = join(folder, "old.mjs")
  await writeFile(old, 'Object.defineProperty(process.versions, "node", { value: "20.11.1" })')
  const bin = join(folder, "node_modules/.bin/durable-streams-cloudflare")
  const { code, errors } = await run(process.execPath, ["--import", old, bin, "dev"], { cwd: folder, env: userEnv(folder) })
  expect([code, errors]).toEqual([1, expect.stringContaining("This needs Node 22.12 or newer, and this Node is v")])
})
