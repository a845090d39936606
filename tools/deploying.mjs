// Deploys a project: everything that the Worker needs in the account, the Worker, and an access token if it has none. Each step
// looks at what is there, so a second run repeats nothing.

import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, stripVTControlCharacters } from "node:util"
import { migrate } from "./migrate.mjs"
import { configOf, endWith, ensureConfig, wrangler } from "./project.mjs"

/** Secrets, variables and bindings that configure access. */
const ACCESS = ["AUTH_TOKEN", "PROJECT_KEYS", "ALLOW_OPEN"]
const PROJECTS = ["PROJECTS", "REGISTRY"]

const STEPS = 6

/** @typedef {import("./project.mjs").Project} Project */

/**
 * @param {Project} project
 * @param {string[]} args `--dry-run`, `--env <name>`, `--name <name>`; all others are passed to `wrangler deploy`
 */
export async function deploy(project, args) {
  const { env, name, isDry, others } = split(args)
  ensureConfig(project)
  const configured = await configOf(project, env)
  if (env !== undefined && !configured.definedEnvironments?.includes(env)) endWith(noEnvironment(project, env))
  expectServer(project, configured)
  const config = { ...configured, name: name ?? configured.name }
  const envArgs = env === undefined ? [] : ["--env", env]
  // The deployment has the name among the other arguments.
  const secretArgs = [...envArgs, ...(name === undefined ? [] : ["--name", name])]
  const run = { project, config, envArgs, secretArgs }
  if (project.isWritten) console.log("This folder has no wrangler.toml: this is the server as it is (`init` writes a project to change).")
  if (isDry) return rehearse(run, others)
  expectArguments(run, others)
  expectLogin(run)
  ensureBuckets(run)
  ensureDatabases(run)
  const url = deployWorker(run, others)
  applyMigrations(run)
  const token = ensureAccess(run)
  summarise(run, url, token)
}

const OPTIONS = /** @type {const} */ ({
  "dry-run": { type: "boolean" },
  env: { type: "string", short: "e" },
  name: { type: "string" },
  config: { type: "string", short: "c" },
})

/** Wrangler would deploy the top level of the configuration under another name, with the same bucket. */
function noEnvironment({ isWritten, command }, env) {
  const advice = isWritten ? `Write a project with \`${command} init\`, and its section` : "Write its section"
  return `The configuration has no environment ${JSON.stringify(env)}. ${advice}, with a bucket and a database of its own: docs/deploy.md, "Environments".`
}

/** Has wrangler check arguments that are its own, before anything is created. */
function expectArguments({ project, envArgs }, others) {
  if (others.length === 0) return
  const { ok, said, status } = wrangler(project, ["deploy", "--dry-run", ...envArgs, ...others])
  if (ok) return
  const why = /\[ERROR\] (.*)/u.exec(stripVTControlCharacters(said))?.[1] ?? said.trim()
  endWith(`Wrangler refuses \`deploy ${others.join(" ")}\`, so nothing was changed: ${why}`, status)
}

/** @param {string[]} args */
function split(args) {
  const { values, tokens } = parseArgs({ args, options: OPTIONS, strict: false, tokens: true })
  if (values.config !== undefined) endWith("deploy has no --config: it uses the configuration of this folder. Run it in another folder.")
  // Without a name, wrangler would use the top level of the configuration.
  const named = (option, what) => {
    const value = values[option]
    if (value === undefined || (typeof value === "string" && /^[^-]/u.test(value))) return value
    return endWith(`--${option} needs the name of ${what}, such as --${option} staging`)
  }
  const env = named("env", "an environment")
  const name = named("name", "a Worker")
  const own = tokens.filter((token) => token.kind === "option" && ["dry-run", "env"].includes(token.name))
  const isOwn = (index) => own.some((token) => token.index === index || (token.value !== undefined && !token.inlineValue && token.index + 1 === index))
  return { env, name, isDry: values["dry-run"] === true, others: args.filter((_, index) => !isOwn(index)) }
}

const step = (number, what) => console.log(`[${number}/${STEPS}] ${what}`)
const detail = (what) => console.log(`      ${what}`)

const bucketsOf = ({ r2_buckets: buckets }) => buckets.map(({ bucket_name: name, jurisdiction }) => ({ name, jurisdiction })).filter(({ name }) => name)
/** A database with an identifier exists. */
const databasesOf = ({ d1_databases: databases }) => databases.filter((one) => !one.database_id).map((one) => one.database_name).filter(Boolean)

/** The setting of the configuration that decides about access, if one does. */
function configuredAccess({ vars, kv_namespaces: namespaces }) {
  const namespace = namespaces.find(({ binding }) => PROJECTS.includes(binding))
  return ACCESS.find((name) => vars[name] !== undefined) ?? namespace?.binding
}

/** Says what a deployment would do, and has wrangler check the Worker. Needs neither an account nor the network. */
function rehearse({ project, config, envArgs }, others) {
  console.log("A deployment would do this; nothing is changed now.")
  step(1, "Check the login: wrangler whoami")
  step(2, `R2: ${listed(bucketsOf(config).map(({ name }) => name), "create the bucket", "no bucket is bound")}`)
  step(3, `D1: ${listed(databasesOf(config), "create the database", "no database is to be created")}`)
  step(4, `Deploy the Worker ${config.name}; wrangler checks it now:`)
  const { ok, status } = wrangler(project, ["deploy", "--dry-run", ...envArgs, ...others], { shows: true })
  if (!ok) endWith("Wrangler refuses the Worker or an argument: see above.", status)
  step(5, "Create or update the tables of the segment index, if ADMIN_DB is bound")
  const access = configuredAccess(config)
  if (access) return step(6, `Access: ${access} is configured`)
  step(6, `Access: create the secret AUTH_TOKEN, unless it or ${ACCESS.slice(1).join(" or ")} is a secret of the Worker`)
  detail(`The configuration has none of ${[...ACCESS, PROJECTS[0]].join(", ")}, so a new Worker answers 503 from step 4 to step 6.`)
}

const listed = (names, what, none) => (names.length === 0 ? none : `${what} ${names.join(", ")}, unless it exists`)

/** Another Worker's configuration may be in this folder. @param {Project} project */
function expectServer(project, { durable_objects: objects }) {
  if (objects.bindings.some(({ name }) => name === "STREAMS")) return
  endWith(`${project.config} has no binding STREAMS, so it is not for this server, and nothing was deployed. Use another folder, or add the bindings of docs/library.md.`)
}

function expectLogin({ project, config }) {
  step(1, "Checking the login ...")
  const { stdout, said } = wrangler(project, ["whoami", "--json"])
  const who = parsed(stdout)
  if (who === undefined) endWith(`Wrangler could not check the login:\n${said.trim()}`)
  if (!who.loggedIn) {
    endWith(`You are not logged in to Cloudflare. Run \`npx wrangler login\`, or set CLOUDFLARE_API_TOKEN, and run this again.`)
  }
  const accounts = who.accounts ?? []
  const chosen = process.env.CLOUDFLARE_ACCOUNT_ID ?? config.account_id
  if (accounts.length > 1 && chosen === undefined) {
    const names = accounts.map(({ name, id }) => `  ${id}  ${name}`).join("\n")
    endWith(`You have several accounts. Set CLOUDFLARE_ACCOUNT_ID to one of them, and run this again:\n${names}`)
  }
  const account = accounts.find(({ id }) => id === chosen) ?? accounts[0]
  detail(`Logged in${who.email ? ` as ${who.email}` : ""}${account ? `, account ${account.name}` : ""}.`)
}

/** The JSON in an output that may begin with other lines. */
function parsed(output) {
  const start = output.search(/^[[{]/mu)
  try {
    return JSON.parse(output.slice(start))
  } catch {
    return undefined
  }
}

function ensureBuckets({ project, config }) {
  step(2, "R2 bucket ...")
  const buckets = bucketsOf(config)
  if (buckets.length === 0) detail("None is bound: all messages stay in the streams' objects.")
  for (const { name, jurisdiction } of buckets) {
    const where = jurisdiction ? ["--jurisdiction", jurisdiction] : []
    if (wrangler(project, ["r2", "bucket", "info", name, "--json", ...where]).ok) {
      detail(`${name} exists.`)
      continue
    }
    const { ok, said } = wrangler(project, ["r2", "bucket", "create", name, ...where])
    if (!ok && !said.includes("already exists")) endWith(noBucket(name, said))
    detail(ok ? `${name} created.` : `${name} exists.`)
  }
}

function noBucket(name, said) {
  const isOff = said.includes("10042")
  const advice = "R2 is not enabled in this account. Enable it once in the dashboard (R2, through a checkout), or delete [[r2_buckets]] from the configuration, and run this again."
  return `The bucket ${name} was not created.\n${isOff ? advice : said.trim()}`
}

function ensureDatabases({ project, config }) {
  step(3, "D1 database ...")
  const names = databasesOf(config)
  if (names.length === 0) return detail("Nothing to create.")
  const { stdout, said } = wrangler(project, ["d1", "list", "--json"])
  const databases = parsed(stdout)
  if (!Array.isArray(databases)) endWith(`The databases were not listed.\n${said.trim()}`)
  for (const name of names) {
    if (databases.some((one) => one.name === name)) {
      detail(`${name} exists.`)
      continue
    }
    // The configuration names it, and the deployment finds it by its name.
    const created = wrangler(project, ["d1", "create", name, "--update-config=false"])
    if (!created.ok) endWith(`The database ${name} was not created.\n${created.said.trim()}`)
    detail(`${name} created.`)
  }
}

/** @returns {string | undefined} the address of the Worker */
function deployWorker({ project, config, envArgs }, others) {
  step(4, `Deploying the Worker ${config.name} ...`)
  const folder = mkdtempSync(join(tmpdir(), "deploy-"))
  const report = join(folder, "report")
  const env = { WRANGLER_OUTPUT_FILE_PATH: report }
  const { ok, status } = wrangler(project, ["deploy", ...envArgs, ...others], { shows: true, env })
  const lines = ok ? linesOf(report) : []
  rmSync(folder, { recursive: true })
  if (!ok) endWith("The Worker was not deployed: see above. Correct it, and run this again.", status)
  const deployed = lines.map(parsed).find((line) => line?.type === "deploy")
  const target = deployed?.targets?.[0]?.split(" ")[0]
  return target && (target.includes("://") ? target : `https://${target}`)
}

function linesOf(file) {
  try {
    return readFileSync(file, "utf8").split("\n")
  } catch {
    return []
  }
}

function applyMigrations({ project, envArgs }) {
  step(5, "Tables of the segment index ...")
  const { ok, said } = migrate(project, "--remote", envArgs)
  if (!ok) endWith(`The tables were not created, and the Worker logs that until they are: run this again.\n${said.trim()}`)
  detail("Up to date.")
}

/** Creates an access token if nothing configures access. @returns {string | undefined} the new token */
function ensureAccess({ project, config, secretArgs }) {
  step(6, "Access ...")
  const configured = configuredAccess(config)
  if (configured) return detail(`${configured} is configured.`)
  const { stdout, said } = wrangler(project, ["secret", "list", "--format", "json", ...secretArgs])
  const secrets = parsed(stdout)
  if (!Array.isArray(secrets)) endWith(`The secrets were not listed.\n${said.trim()}`)
  const existing = ACCESS.find((name) => secrets.some((secret) => secret.name === name))
  if (existing) return detail(`The secret ${existing} exists.`)
  const token = randomBytes(32).toString("base64url")
  const put = wrangler(project, ["secret", "put", "AUTH_TOKEN", ...secretArgs], { input: token })
  if (!put.ok) endWith(`The secret AUTH_TOKEN was not stored.\n${put.said.trim()}`)
  detail("The secret AUTH_TOKEN is created.")
  return token
}

function summarise({ project }, url, token) {
  const known = token ?? "<token>"
  if (token) console.log(`\nYour access token, which is shown only now. Keep it where you keep passwords:\n  AUTH_TOKEN=${token}`)
  if (!url) return console.log(`\nDeployed, without a public address: see \`workers_dev\` and \`routes\` in the configuration.`)
  console.log(`
Deployed: ${url}
Next steps:
  curl ${url}/health
  curl -X PUT ${url}/v1/stream/my-project/first -H 'Authorization: Bearer ${known}' -H 'Content-Type: application/json'
  Serve it at a domain of your own, and let only your users read: docs/deploy.md and docs/access.md
  Run \`${project.command} ${project.command.includes("pnpm") ? "run " : ""}deploy\` again after each change: what exists stays as it is.`)
}
