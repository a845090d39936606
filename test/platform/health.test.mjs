// The worker starts and reports its version.

import { afterAll, beforeAll, expect, test } from "vitest"
import { startServer } from "../server.mjs"

let server

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server?.dispose())

test("GET /health is 200 JSON with a version", async () => {
  const response = await fetch(`${server.url}/health`)
  expect(response.status).toBe(200)
  expect(response.headers.get("content-type")).toMatch(/^application\/json/)
  expect((await response.json()).version).toMatch(/^\d+\.\d+\.\d+/)
})

test("the deployed build has no counters", async () => {
  const response = await fetch(`${server.url}/counters`)
  expect(response.status).toBe(404)
})
