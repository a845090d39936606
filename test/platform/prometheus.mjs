// A Prometheus that scrapes the server with a bearer token, and promtool, which checks the text.

import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { LONG_MS, scratch } from "./support.mjs"

const runs = (command) => spawnSync(command, ["--version"]).status === 0

/** Whether Prometheus is installed on this machine, with promtool. */
export const isPrometheusInstalled = runs("prometheus") && runs("promtool")

if (!isPrometheusInstalled) {
  const missing = "Prometheus is not installed (Debian: apt-get install prometheus), so the test of a scrape does not run."
  if (process.env.CI) throw new Error(missing)
  console.error(`SKIPPED: ${missing}`)
}

/** What `promtool check metrics` finds wrong with a text; empty if nothing. @param {string} text */
export function problemsOf(text) {
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" })
  return status === 0 && stderr === "" ? "" : `status ${status}: ${stdout}${stderr}`
}

/** Starts a Prometheus that scrapes `/metrics` of a server each second. @param {string} origin @param {string} token */
export async function startPrometheus(origin, token) {
  const folder = await scratch()
  const port = await freePort()
  await writeFile(join(folder, "token"), token)
  await writeFile(
    join(folder, "prometheus.yml"),
    `scrape_configs:
  - job_name: durable-streams
    scrape_interval: 1s
    authorization: { credentials_file: token }
    static_configs: [{ targets: ["${new URL(origin).host}"] }]
`,
  )
  const args = [`--config.file=${join(folder, "prometheus.yml")}`, `--storage.tsdb.path=${join(folder, "data")}`]
  const child = spawn("prometheus", [...args, `--web.listen-address=127.0.0.1:${port}`, "--log.level=error"], {
    stdio: ["ignore", "inherit", "inherit"],
  })
  const exited = once(child, "exit")

  /** The values of a query's series; none while Prometheus starts. @param {string} query */
  async function values(query) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`)
      const { data } = await response.json()
      return data.result.map(({ value }) => Number(value[1]))
    } catch {
      return []
    }
  }

  return {
    values,
    /** Waits for values of a query. Prometheus has no event for a finished scrape. */
    async until(query, isThere) {
      const late = Date.now() + LONG_MS / 2
      for (;;) {
        const found = await values(query)
        if (isThere(found)) return found
        if (Date.now() > late) throw new Error(`${query} is ${JSON.stringify(found)}`)
        await sleep(100)
      }
    },
    async stop() {
      child.kill("SIGKILL")
      await exited
      await rm(folder, { recursive: true })
    },
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address())
  server.close()
  await once(server, "close")
  return port
}
