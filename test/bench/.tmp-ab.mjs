import { join } from "node:path"
import http from "node:http"
import { compatibility, config } from "../deployed.mjs"
import { startWorkerd } from "./targets/workerd.mjs"
const [, , mode, a, b] = process.argv
const token = "a-token-of-32-characters-and-so-"
const vars = mode === "open" ? { ALLOW_OPEN: "1" } : { AUTH_TOKEN: token }
const start = (folder) => startWorkerd({ files: [join(folder, "index.js"), join(folder, "index_bg.wasm")], className: "StreamObject", ...compatibility, vars: { ...config.vars, ...vars }, bucket: config.r2_buckets[0]?.binding })
const servers = [await start(a), await start(b)]
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const headers = mode === "open" ? {} : { authorization: `Bearer ${token}` }
const ask = ({ host, port }, method, path, body, more = {}) => new Promise((resolve, reject) => {
  const h = { ...headers, ...more }
  if (body) h["content-length"] = body.length
  const request = http.request({ host, port, method, path, agent, headers: h }, (response) => { response.resume(); response.on("end", () => resolve(response)) })
  request.on("error", reject); request.end(body)
})
const body = Buffer.from('{"a":1}')
const json = { "content-type": "application/json" }
for (const s of servers) await ask(s, "PUT", "/v1/stream/a/x", undefined, json)
const next = []
const kinds = {
  append: (s) => ask(s, "POST", "/v1/stream/a/x", body, json),
  producer: undefined,
  read: (s) => ask(s, "GET", `/v1/stream/a/x?offset=${s.tail}`),
}
let seq = [0, 0]
kinds.producer = (s) => ask(s, "POST", "/v1/stream/a/x", body, { ...json, "producer-id": "p", "producer-epoch": "0", "producer-seq": String(seq[servers.indexOf(s)]++) })
const median = (v) => v.sort((x, y) => x - y)[v.length >> 1]
for (const kind of ["append", "producer", "read"]) {
  const p50 = [[], []]
  for (let round = 0; round < 24; round++) {
    for (const i of round % 2 ? [0, 1] : [1, 0]) {
      const s = servers[i]
      s.tail = (await ask(s, "HEAD", "/v1/stream/a/x")).headers["stream-next-offset"]
      const times = []
      for (let n = 0; n < 250; n++) { const t = performance.now(); const r = await kinds[kind](s); times.push(performance.now() - t); if (r.statusCode >= 300) throw new Error(`${kind} ${r.statusCode}`) }
      if (round > 3) p50[i].push(median(times))
    }
  }
  console.log(mode, kind, "before p50", median(p50[0]).toFixed(4), "after", median(p50[1]).toFixed(4), "best", Math.min(...p50[0]).toFixed(4), Math.min(...p50[1]).toFixed(4))
}
for (const s of servers) await s.stop()
process.exit(0)
