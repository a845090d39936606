// A real cache in front of the worker: nginx, which keeps what `Cache-Control` lets it keep and collapses equal requests.

import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const HOST = "127.0.0.1"

/** Debian puts it where not every PATH leads. */
const nginx = ["nginx", "/usr/sbin/nginx"].find((command) => spawnSync(command, ["-v"]).status === 0)

/** Whether there is an nginx on this machine. */
export const isInstalled = nginx !== undefined

/** @param {string} origin what it stands in front of */
export async function startNginx(origin) {
  const folder = mkdtempSync(join(tmpdir(), "cdn-"))
  const port = await freePort()
  writeFileSync(join(folder, "nginx.conf"), configOf({ folder, port, origin: new URL(origin).host }))
  const child = spawn(nginx, ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: ["ignore", "inherit", "inherit"] })
  const exited = once(child, "exit")
  await listening(port, exited)
  return {
    url: `http://${HOST}:${port}`,
    /** What was asked for a path so far, and what became of it. */
    requests: (path) => requestsOf(join(folder, "access.log")).filter(({ uri }) => uri.startsWith(`/v1/stream/${path}`)),
    stop: async () => {
      child.kill("SIGTERM")
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** @typedef {{ method: string, status: number, cache: string, uri: string }} Seen */

/** @returns {Seen[]} */
function requestsOf(file) {
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean)
  return lines.map((line) => {
    const [method, status, cache, uri] = line.split(" ")
    return { method, status: Number(status), cache, uri }
  })
}

/** What README.md tells people to write, and what a test needs besides. */
const configOf = ({ folder, port, origin }) => `
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
  log_format seen "$request_method $status $upstream_cache_status $request_uri";
  access_log ${folder}/access.log seen;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  proxy_cache_path ${folder}/cache keys_zone=streams:16m max_size=256m;
  upstream streams { server ${origin}; keepalive 256; }
  server {
    listen ${HOST}:${port} backlog=4096;
    keepalive_requests 1000000;
    location / {
      proxy_pass http://streams;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache streams;
      proxy_cache_key $request_uri;
      # One request asks, all others wait for what it gets: longer than a long-poll takes.
      proxy_cache_lock on;
      proxy_cache_lock_age 30s;
      proxy_cache_lock_timeout 30s;
      proxy_read_timeout 90s;
    }
  }
}
`

async function freePort() {
  const server = createServer().listen(0, HOST)
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  return port
}

/** Until it takes connections, which nothing tells but trying. */
async function listening(port, exited) {
  let ended = false
  exited.then(() => (ended = true))
  for (;;) {
    if (ended) throw new Error("nginx ended before it listened")
    const socket = connect(port, HOST)
    try {
      await once(socket, "connect")
      return
    } catch {
      await sleep(10)
    } finally {
      socket.destroy()
    }
  }
}
