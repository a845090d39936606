// Writes the repository of the "Deploy to Cloudflare" button into release/: the built Worker, which needs no build and no Rust.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./project.mjs"
import { wranglerToml } from "./template.mjs"

const out = join(root, "release")
const { name, version, license, description, peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** What Cloudflare's page says about each binding. */
const BINDINGS = {
  AUTH_TOKEN: "The secret that clients send as `Authorization: Bearer <token>`. It may do everything. Use 16 characters or more, such as the output of `openssl rand -hex 32`.",
  STREAMS: "One Durable Object per stream, with its recent messages.",
  SEGMENTS: "The R2 bucket for older messages.",
  ASSETS: "The files of the console at `/console`.",
  ADMIN_DB: "The D1 database with an index of the bucket, for the operator.",
  METRICS: "The Analytics Engine data set for the server's counts.",
  LONG_POLL_TIMEOUT_SECONDS: "How long a long-poll waits for new data, in seconds.",
  SSE_LIFETIME_SECONDS: "When a response by server-sent events ends and its client reconnects, in seconds. Use `300` on Workers Free.",
  CPU_LIMIT_MS: "The CPU time that your plan allows a request, in milliseconds. Use `10` on Workers Free.",
}

const config = wranglerToml({ main: "build/index.js", migrations: "migrations", files: "." })
/** Secrets are not in the configuration. */
const isUsed = (binding) => binding === "AUTH_TOKEN" || new RegExp(`^(?:(?:name|binding) = "${binding}"|${binding} = )`, "mu").test(config)
const described = Object.entries(BINDINGS).filter(([binding]) => isUsed(binding))

const manifest = {
  ...{ name: "durable-streams", version, private: true, description, license },
  scripts: { dev: "wrangler dev", deploy: "wrangler deploy && wrangler d1 migrations apply ADMIN_DB --remote" },
  devDependencies: peerDependencies,
  cloudflare: { bindings: Object.fromEntries(described.map(([binding, text]) => [binding, { description: text }])) },
}

const readme = `# Durable Streams on Cloudflare

${description}. This is the built server, version ${version}: nothing is compiled.

\`\`\`console
npm install
npx wrangler r2 bucket create durable-streams-segments
npm run deploy
npx wrangler secret put AUTH_TOKEN
\`\`\`

Cloudflare's button runs the same, creates the bucket and the database, and asks for the token. Until AUTH_TOKEN or PROJECT_KEYS is
set, the deployed server answers 503. Clients then send \`Authorization: Bearer <token>\`:

\`\`\`console
curl -X PUT https://<your Worker>/v1/stream/my-project/first -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json'
\`\`\`

To upgrade, replace \`build\` and \`migrations\` by those of the new version, and deploy again. The documents are in \`docs\`.
THIRD_PARTY_LICENSES in \`build\` has the licences of what the Worker contains, and \`sbom.cdx.json\` lists it.
`

rmSync(out, { recursive: true, force: true })
mkdirSync(join(out, "build"), { recursive: true })
const built = ["index.js", "index_bg.wasm", "console", "THIRD_PARTY_LICENSES", "sbom.cdx.json"].map((file) => `build/${file}`)
for (const path of [...built, "migrations", "docs", "LICENSE", "ARCHITECTURE.md", "CHANGELOG.md"]) {
  if (existsSync(join(root, path))) cpSync(join(root, path), join(out, path), { recursive: true })
}
const write = (file, text) => writeFileSync(join(out, file), text)
write("wrangler.toml", config)
write("package.json", `${JSON.stringify(manifest, undefined, 2)}\n`)
write("README.md", readme)
write(".dev.vars.example", readFileSync(join(root, "package/dev.vars.example"), "utf8"))
write(".gitignore", readFileSync(join(root, "package/gitignore"), "utf8"))
console.log(`The files of ${name} ${version} are in ${out}: push them to a repository of their own.`)
