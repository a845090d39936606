// A real cache in front of the worker: nginx, which caches what `Cache-Control` allows and collapses identical
// requests.

import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { documentExample } from "../platform/support.mjs"

const HOST = "127.0.0.1"

/** Debian installs nginx in a folder that is not on every PATH. */
const nginx = ["nginx", "/usr/sbin/nginx"].find((command) => spawnSync(command, ["-v"]).status === 0)

/** Whether nginx is installed on this machine. */
export const isInstalled = nginx !== undefined

if (!isInstalled) {
  const missing = "nginx is not installed (Debian: apt-get install nginx), so the tests of caches do not run."
  if (process.env.CI) throw new Error(missing)
  console.error(`SKIPPED: ${missing}`)
}

/** The shortened lifetimes that replace those of `Cache-Control` in a fast cache. */
const FRESH_MS = 1000
const STALE_MS = 2000

/** The longest time that a fast cache may return a stored response. nginx counts in whole seconds. */
export const PROMISED_MS = FRESH_MS + STALE_MS + 1000

/**
 * @param {string} origin the server behind nginx
 * @param {{ isFast?: boolean }} [options] whether lifetimes are seconds instead of minutes
 */
export async function startNginx(origin, { isFast = false } = {}) {
  const [port, hastens] = [await freePort(), isFast ? await freePort() : undefined]
  const asDocumented = await documentExample("proxy_cache streams;")
  return run(port, (folder) => configOf({ folder, port, hastens, origin: new URL(origin).host, asDocumented }))
}

/**
 * An nginx that only passes requests on, as Debian ships it: with buffering and compression.
 * @param {string} origin the server behind nginx
 * @param {string} more additional configuration
 */
export async function startPlainNginx(origin, more = "") {
  const port = await freePort()
  return run(port, (folder) => plainConfigOf({ folder, port, origin, more }))
}

/** @param {number} port @param {(folder: string) => string} config */
async function run(port, config) {
  const folder = mkdtempSync(join(tmpdir(), "cdn-"))
  writeFileSync(join(folder, "nginx.conf"), config(folder))
  const child = spawn(nginx, ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: ["ignore", "inherit", "inherit"] })
  const exited = once(child, "exit")
  await listening(port, exited)
  return {
    url: `http://${HOST}:${port}`,
    /** The requests for a path so far, with their status and cache result. */
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

/** A server that passes on the worker's responses, but shortens the lifetimes in `Cache-Control`. */
const hasteningOf = (port) => `
  map_hash_bucket_size 128;
  map $upstream_http_cache_control $sooner {
    default $upstream_http_cache_control;
    "public, max-age=60, stale-while-revalidate=300, stale-if-error=0"
      "public, max-age=${FRESH_MS / 1000}, stale-while-revalidate=${STALE_MS / 1000}, stale-if-error=0";
  }
  server {
    listen ${HOST}:${port} backlog=4096;
    location / {
      proxy_pass http://origin;
      proxy_buffering off;
      proxy_hide_header Cache-Control;
      add_header Cache-Control $sooner always;
    }
  }
`

/** What docs/caching.md tells people to write, and what a test needs besides. */
const configOf = ({ folder, port, hastens, origin, asDocumented }) => `
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
  upstream origin { server ${origin}; keepalive 256; }
  upstream hastened { server ${HOST}:${hastens ?? port}; keepalive 256; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_read_timeout 90s;
  add_header X-Cdn $upstream_cache_status always;
  ${hastens ? hasteningOf(hastens) : ""}
  ${asDocumented
    .replace("server {", `server {\n  listen ${HOST}:${port} backlog=4096;\n  keepalive_requests 1000000;`)
    .replaceAll("http://worker", hastens ? "http://hastened" : "http://origin")}
}
`

const plainConfigOf = ({ folder, port, origin, more }) => `
daemon off;
user root;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 768; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  sendfile on;
  tcp_nopush on;
  gzip on;
  server {
    listen ${HOST}:${port};
    location / {
      ${more}
      proxy_pass ${origin};
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

/** Waits until nginx accepts connections. Only trying shows that. */
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
