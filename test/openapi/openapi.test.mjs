// The description at /openapi.json is valid OpenAPI, and Schemathesis finds no response of the server outside it.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { Validator } from "@seriousme/openapi-schema-validator"
import { beforeAll, describe, expect, test } from "vitest"
import { JSON_TYPE, TEXT, scratch } from "../platform/support.mjs"
import { installPython, isInstalled, requirePython } from "../python.mjs"
import { startServer } from "../server.mjs"
import { AUTH_TOKEN, bearer, inSeconds, makeToken, secretKey } from "../tokens.mjs"

/** Live responses end soon, because Schemathesis reads each to its end. */
const SOON = { LONG_POLL_TIMEOUT_SECONDS: "1", SSE_LIFETIME_SECONDS: "1", ALLOW_LOCAL_WEBHOOKS: "1" }
const ADMIN_TOKEN = "the-token-of-the-administrator"

/** How long Schemathesis sends requests to each server. */
const SECONDS = Number(process.env.SECONDS ?? 45)
const SEED = process.env.SEED ?? "1"

/** What each response must agree with. Requests that violate the description must be refused. */
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "negative_data_rejection",
  "unsupported_method",
  "allow_header_conformance",
]

/** Fewer than there are. */
const OPERATIONS = 60

describe("the description", () => {
  test("is valid OpenAPI 3.1, and needs no token", async () => {
    const { url, dispose } = await startServer({ vars: { AUTH_TOKEN } })
    try {
      const response = await fetch(`${url}/openapi.json`)
      expect(response.status).toBe(200)
      expect(response.headers.get("content-type")).toBe("application/json")
      const description = await response.json()
      expect(description.openapi).toMatch(/^3\.1\./u)
      expect(await new Validator().validate(description)).toEqual({ valid: true })
      const head = await fetch(`${url}/openapi.json`, { method: "HEAD" })
      expect([head.status, await head.text()]).toEqual([200, ""])
    } finally {
      await dispose()
    }
  })

  test("is not valid if a part of it is wrong", async () => {
    const broken = { openapi: "3.1.0", info: { title: "x", version: "1" }, paths: { "/a": { get: { responses: { 200: {} } } } } }
    expect((await new Validator().validate(broken)).valid).toBe(false)
  })
})

requirePython("the tests with Schemathesis")

/** Streams and subscriptions of the names in hooks.py, below a path. */
async function populate(url, root, headers) {
  const send = async (method, path, type, body) => {
    const response = await fetch(`${url}/v1/stream/${path}`, { method, headers: { ...headers, ...type }, body })
    expect(response.ok, `${method} ${path}: ${response.status} ${await response.text()}`).toBe(true)
  }
  const subscriptions = `${root}__ds/subscriptions`
  await send("PUT", `${root}json`, JSON_TYPE, '[{"a":1},[2],"three"]')
  await send("PUT", `${root}text`, TEXT, "text")
  await send("PUT", `${root}bytes`, {}, "bytes")
  await send("PUT", `${root}closed`, { ...JSON_TYPE, "stream-closed": "true" }, "[1]")
  await send("PUT", `${root}wakes`, JSON_TYPE)
  const webhook = { type: "webhook", streams: ["text"], webhook: { url: "http://127.0.0.1:9/hook" } }
  await send("PUT", `${subscriptions}/webhook`, JSON_TYPE, JSON.stringify(webhook))
  const pull = { type: "pull-wake", pattern: "json", wake_stream: "wakes" }
  await send("PUT", `${subscriptions}/pull`, JSON_TYPE, JSON.stringify(pull))
  await send("POST", `${root}json`, JSON_TYPE, '{"more":true}')
}

/** Runs Schemathesis against a server: its status, its text, and the number of its requests. */
async function report(folder, url, root, authorization, excluded = []) {
  const args = [
    ...["--no-color", "run", `${url}/openapi.json`, "--checks", CHECKS.join(","), "--continue-on-failure"],
    // Every preflight succeeds, also for a path that no stream can have.
    ...["--exclude-method", "OPTIONS", ...excluded],
    ...["--max-time", `${SECONDS}`, "--seed", SEED, "--request-timeout", "20"],
    ...["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"],
    ...["--header", `Authorization: ${authorization}`],
  ]
  const hooks = join(import.meta.dirname, "hooks.py")
  const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1", SCHEMATHESIS_HOOKS: hooks, ROOT: root }
  const child = spawn("python3", ["-m", "schemathesis.cli", ...args], { env, cwd: await scratch(), stdio: ["ignore", "pipe", "pipe"] })
  const said = []
  for (const output of [child.stdout, child.stderr]) output.on("data", (part) => said.push(part))
  const [code] = await once(child, "close")
  const text = Buffer.concat(said).toString()
  return { code, text, cases: Number(text.match(/(\d+) generated/u)?.[1]) }
}

describe.skipIf(!isInstalled)("Schemathesis", () => {
  const key = secretKey()
  const token = makeToken(key, { sub: "project", exp: inSeconds(3600) })
  const servers = [
    // In open mode a token has no meaning, except for the administrator's requests.
    { name: "an open server", vars: { ADMIN_TOKEN }, root: "", headers: bearer(ADMIN_TOKEN) },
    {
      ...{ name: "a project", root: "project/", headers: bearer(token) },
      vars: { PROJECT_KEYS: JSON.stringify({ project: { keys: [key] } }) },
      // Without ADMIN_TOKEN these URLs do not exist.
      excluded: ["--exclude-path", "/metrics", "--exclude-path", "/v1/admin/orphans"],
    },
  ]
  let folder
  beforeAll(() => {
    folder = installPython("schemathesis", join(import.meta.dirname, "requirements.txt"))
  })

  test.each(servers)("finds no response of $name outside the description", async ({ vars, root, headers, excluded }) => {
    const server = await startServer({ vars: { ...SOON, ...vars } })
    try {
      await populate(server.url, root, headers)
      const { code, text, cases } = await report(folder, server.url, root, headers.authorization, excluded)
      expect(code, text).toBe(0)
      // Otherwise it has tested less than one request of each operation.
      expect(cases).toBeGreaterThan(OPERATIONS)
    } finally {
      await server.dispose()
    }
  }, (SECONDS + 120) * 1000)
})
