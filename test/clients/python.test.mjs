// The Python client, PyPI's `durable-streams`, with and without asyncio. Each test is a function of python/job.py.

import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { LONG_MS, PATIENT, Watch, start } from "../platform/support.mjs"
import { installPython, isInstalled, requirePython } from "../python.mjs"

const job = join(import.meta.dirname, "python", "job.py")
const requirements = join(import.meta.dirname, "python", "requirements.txt")
const names = [...readFileSync(job, "utf8").matchAll(/^(?:async )?def (\w+)\(url(?:, short)?\):$/gmu)].map(([, name]) => name)

requirePython("the tests of the Python client")

describe.skipIf(!isInstalled)("the Python client", () => {
  const [done, watch] = [new Map(), new Watch()]
  let server, recycling, child
  beforeAll(async () => {
    const folder = installPython("python", requirements)
    server = await start({ vars: PATIENT })
    recycling = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "1", SSE_LIFETIME_SECONDS: "1" } })
    const origins = [server, recycling].map(({ url }) => `${url}/v1/stream`)
    const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" }
    child = spawn("python3", [job, ...origins, ...names], { env, stdio: ["ignore", "pipe", "inherit"] })
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { name, error } = JSON.parse(line)
      done.set(name, error)
      watch.changed()
    })
    child.on("exit", (code) => {
      for (const name of names) if (!done.has(name)) done.set(name, `Python exited with ${code} before this test finished`)
      watch.changed()
    })
  }, LONG_MS)
  afterAll(() => {
    child?.kill()
    return Promise.all([server, recycling].map((one) => one?.dispose()))
  })

  test.each(names)("%s", async (name) => {
    await watch.until(`an end of ${name}`, () => done.has(name), LONG_MS)
    expect(done.get(name)).toBeNull()
  }, LONG_MS)
})
