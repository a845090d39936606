// Runs two builds on one workerd, as during a deployment: this build and an earlier one (`earlier.mjs`).

import { copyFile, mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { compatibility, config, root } from "../deployed.mjs"
import { openUnless } from "../server.mjs"
import { earlierBuild } from "./earlier.mjs"
import { Stream, runWorkerd } from "./support.mjs"

/** Each build is a service with its own objects. */
export const BUILDS = ["earlier", "now"]

/** The earlier build's names of variables. */
const EARLIER_NAMES = { SEGMENT_MAX_APPENDS: "SEGMENT_MAX_MESSAGES" }

/**
 * The main module of each service. In either build, the Worker and the objects find a stream whose path begins with
 * `earlier` in the earlier build, and any other stream in this build. The variable `REGISTRY_BUILD` names the build
 * that has the registries.
 */
const FRONT = `
import * as built from "./index.js"

const envOf = (env) => {
  const buildOf = (path) => (path.endsWith("__registry__") ? env.REGISTRY_BUILD : path.startsWith("earlier") ? "earlier" : "now")
  const getByName = (path) => env[buildOf(path)].getByName(path)
  return { ...env, STREAMS: new Proxy(env.now, { get: (namespace, key) => (key === "getByName" ? getByName : namespace[key]) }) }
}

let known
export default { fetch: (request, env, context) => built.default.fetch(request, (known ??= envOf(env)), context) }

export class StreamObject extends built.StreamObject {
  constructor(context, env) {
    super(context, envOf(env))
  }
}
`

/**
 * Starts both builds, with a shared bucket if one is given. `url` and `stream` take the build whose Worker receives the
 * request.
 * @param {string} folder
 * @param {Record<string, string>} vars
 * @param {import("./bucket.mjs").Bucket} [bucket]
 * @param {boolean} [isOver] whether the deployment is over: then the objects of the earlier build run this build
 */
export async function startBuilds(folder, vars, bucket, isOver = false) {
  const disk = join(folder, "disk")
  await mkdir(disk, { recursive: true })
  await writeFile(join(folder, "front.js"), FRONT)
  for (const [name, from] of [["earlier", isOver ? join(root, "build") : earlierBuild], ["now", join(root, "build")]]) {
    await mkdir(join(folder, name), { recursive: true })
    for (const file of ["index.js", "index_bg.wasm"]) await copyFile(join(from, file), join(folder, name, file))
  }
  const { compatibilityDate, compatibilityFlags } = compatibility
  const textsOf = (build) =>
    Object.entries({ ...config.vars, ...openUnless(vars), LOG_LEVEL: "debug", ...vars }).map(([name, value]) => {
      const known = (build === "earlier" && !isOver && EARLIER_NAMES[name]) || name
      return `(name = "${known}", text = ${JSON.stringify(value)}),`
    })
  const namespaces = BUILDS.map(
    (name) => `(name = "${name}", durableObjectNamespace = (className = "StreamObject", serviceName = "${name}")),`,
  )
  const services = BUILDS.map((name) => `(name = "${name}", worker = .${name}),`)
  const sockets = BUILDS.map((name) => `(name = "${name}", address = "127.0.0.1:0", http = (), service = "${name}"),`)
  const workers = BUILDS.map(
    (name) => `const ${name} :Workerd.Worker = (
  modules = [
    (name = "front.js", esModule = embed "front.js"),
    (name = "index.js", esModule = embed "${name}/index.js"),
    (name = "index_bg.wasm", wasm = embed "${name}/index_bg.wasm"),
  ],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
  compatibilityFlags = ${JSON.stringify(compatibilityFlags)},
  durableObjectNamespaces = [(className = "StreamObject", uniqueKey = "${name}", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [${namespaces.join(" ")} ${bucket ? `(name = "SEGMENTS", r2Bucket = "bucket"),` : ""} ${textsOf(name).join(" ")}],
);`,
  )
  const bucketService = bucket ? `(name = "bucket", external = (address = "${bucket.address}", http = ())),` : ""
  await writeFile(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [${services.join(" ")} ${bucketService} (name = "disk", disk = (path = ${JSON.stringify(disk)}, writable = true))],
  sockets = [${sockets.join(" ")}],
  logging = (structuredLogging = true),
);
${workers.join("\n")}
`,
  )
  const { ports, ...server } = await runWorkerd(folder, BUILDS)
  const url = (build) => `http://127.0.0.1:${ports[build]}`
  return { ...server, url, stream: (build, path) => new Stream(url(build), path) }
}
