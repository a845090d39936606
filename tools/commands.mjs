// The commands of the npm package: `dev`, `init` and `deploy`.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, dirname, join, relative, resolve } from "node:path"
import { deploy } from "./deploying.mjs"
import { migrate } from "./migrate.mjs"
import { endWith, ensureConfig, projectIn, root } from "./project.mjs"
import { expectPort, serve } from "./serve.mjs"
import { wranglerToml } from "./template.mjs"

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const { name, version } = manifest

const HELP = `A Durable Streams server on Cloudflare (${version})

  npx ${name} dev               serve on http://127.0.0.1:8787; --port 9000 for another port
  npx ${name} init [folder]     write a project to change: configuration, entry file
  npx ${name} deploy            deploy into your Cloudflare account; repeat it as often as you like
  npx ${name} deploy --dry-run  say what that would do, and check the Worker

\`dev\` and \`deploy\` use the wrangler.toml of this folder, and without one the server's own. They pass other arguments on to
wrangler, such as \`dev --var LOG_LEVEL:debug\` or \`deploy --env staging\`.`

/** @param {string[]} args */
export async function main([command, ...args]) {
  const isHelp = [command, ...args].some((arg) => arg === "--help" || arg === "-h")
  if (isHelp || command === undefined || command === "help") return console.log(HELP)
  if (command === "--version" || command === "-v") return console.log(version)
  if (command === "init") return init(args)
  if (command === "deploy") return deploy(projectIn(process.cwd()), args)
  if (command === "dev") return dev(projectIn(process.cwd()), args)
  endWith(`There is no command ${JSON.stringify(command)}.\n\n${HELP}`)
}

/** @param {import("./project.mjs").Project} project @param {string[]} args */
async function dev(project, args) {
  const others = await expectPort(project, args)
  ensureConfig(project)
  console.log(project.isWritten ? "Starting the server ..." : `Starting the server with ${relative(project.folder, project.config)} ...`)
  const { ok, said } = migrate(project, "--local")
  if (!ok) console.error(said)
  await serve(project, others)
}

/** Writes a project. Nothing is written if one of its files exists. @param {string[]} args */
function init(args) {
  const [folder = "."] = args
  if (args.length > 1 || folder === "" || folder.startsWith("-")) {
    endWith(`init takes one folder, not ${JSON.stringify(args.join(" "))}: npx ${name} init my-streams`)
  }
  const files = filesOfProject(folder)
  const existing = Object.keys(files).filter((file) => existsSync(join(folder, file)))
  if (existing.length > 0) {
    endWith(`${existing.join(", ")} in ${resolve(folder)} would be overwritten. Choose another folder: npx ${name} init my-streams`)
  }
  try {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, file)), { recursive: true })
      writeFileSync(join(folder, file), text)
      console.log(`  ${file}`)
    }
  } catch (error) {
    endWith(`The project cannot be written into ${resolve(folder)} (${error.message}). Choose another folder: npx ${name} init my-streams`)
  }
  const isHere = resolve(folder) === process.cwd()
  console.log(`The project is written. Next steps:
  ${isHere ? "" : `cd ${quoted(folder)}\n  `}npm install
  npx ${name} dev
  npx ${name} deploy`)
}

/** A word for a shell. @param {string} word */
const quoted = (word) => (/^[\w./-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

/** The longest name: with `-segments` it is that of a bucket, which has at most 63 characters. */
const NAME_MAX_CHARS = 54

/** The name of a Worker in this folder, of the characters that Cloudflare allows. @param {string} folder */
function nameFor(folder) {
  const words = basename(resolve(folder)).normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase().replaceAll(/[^a-z0-9]+/gu, "-")
  return words.replace(/^-/u, "").slice(0, NAME_MAX_CHARS).replace(/-$/u, "") || "my-streams"
}

/** Where npm finds this package: the registry, or else the file or folder that this command runs from. */
function sourceOfPackage() {
  if (basename(dirname(root)) !== "node_modules") return `file:${root}`
  const folder = join(root, "../..")
  try {
    const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
    const [, file] = /^file:(.*)/u.exec(dependencies[name]) ?? []
    if (file !== undefined && existsSync(resolve(folder, file))) return `file:${resolve(folder, file)}`
  } catch {
    // Another package manager has installed it.
  }
  return `^${version}`
}

/** The files of a new project, by their paths in it. @param {string} folder */
function filesOfProject(folder) {
  const read = (file) => readFileSync(join(root, "package", file), "utf8")
  const installed = `node_modules/${name}`
  const worker = nameFor(folder)
  const config = wranglerToml({ main: "src/index.js", migrations: `${installed}/migrations`, files: installed }, worker)
  const project = {
    name: worker,
    private: true,
    type: "module",
    scripts: { dev: `${name} dev`, deploy: `${name} deploy` },
    dependencies: { [name]: sourceOfPackage() },
    devDependencies: manifest.peerDependencies,
  }
  return {
    "wrangler.toml": `# Documents named here are in ${installed}.\n${config}`,
    "src/index.js": read("entry.js"),
    "package.json": `${JSON.stringify(project, undefined, 2)}\n`,
    ".dev.vars.example": read("dev.vars.example"),
    ".gitignore": read("gitignore"),
  }
}
