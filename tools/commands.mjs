// The commands of the npm package: `dev`, `init` and `deploy`.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { deploy } from "./deploying.mjs"
import { migrate } from "./migrate.mjs"
import { endWith, projectIn, root } from "./project.mjs"
import { expectPort, serve } from "./serve.mjs"
import { wranglerToml } from "./template.mjs"

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const { name, version } = manifest

const HELP = `A Durable Streams server on Cloudflare (${version})

  npx ${name} dev               serve on http://127.0.0.1:8787; PORT=9000 for another port
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
  await expectPort(project)
  console.log(project.isWritten ? "Starting the server ..." : `Starting the server with ${relative(project.folder, project.config)} ...`)
  const { ok, said } = migrate(project, "--local")
  if (!ok) console.error(said)
  await serve(project, args)
}

/** Writes a project. Nothing is written if one of its files exists. @param {string[]} args */
function init(args) {
  const [folder = "."] = args
  if (args.length > 1 || folder === "" || folder.startsWith("-")) {
    endWith(`init takes one folder, not ${JSON.stringify(args.join(" "))}: npx ${name} init my-streams`)
  }
  const files = filesOfProject()
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

/** The files of a new project, by their paths in it. */
function filesOfProject() {
  const read = (file) => readFileSync(join(root, "package", file), "utf8")
  const installed = `node_modules/${name}`
  const config = wranglerToml({ main: "src/index.js", migrations: `${installed}/migrations`, files: installed })
  const project = {
    name: "my-streams",
    private: true,
    type: "module",
    scripts: { dev: `${name} dev`, deploy: `${name} deploy` },
    dependencies: { [name]: `^${version}` },
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
