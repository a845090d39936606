// The command `deploy` of the packed package with a fake wrangler, which records its arguments and plays an account.

import { mkdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { command, install, newFolder } from "./support.mjs"

/** What the fake reads and changes; `fails` has outputs with which commands fail. */
const ACCOUNT = { loggedIn: true, accounts: [{ name: "Mine", id: "1" }], buckets: [], databases: [], secrets: [], fails: {} }

const FAKE = `
const { appendFileSync, readFileSync, writeFileSync } = require("node:fs")
const args = process.argv.slice(2)
const said = args.join(" ").replace(/ --config \\S+/, " --config GENERATED")
const account = JSON.parse(readFileSync("account.json", "utf8"))
const input = args[1] === "put" ? readFileSync(0, "utf8") : ""
appendFileSync("calls", said + (input ? " < secret" : "") + "\\n")
const change = (list, value) => {
  account[list].push(value)
  writeFileSync("account.json", JSON.stringify(account))
}
const fail = (text) => {
  console.error(text)
  process.exit(1)
}
const failing = Object.keys(account.fails).find((start) => said.startsWith(start))
if (failing) fail(account.fails[failing])
if (args[0] === "whoami") {
  console.log("a banner\\n" + JSON.stringify({ loggedIn: account.loggedIn, email: "me@example.org", accounts: account.accounts }, undefined, 2))
  process.exit(account.loggedIn ? 0 : 1)
}
if (said.startsWith("r2 bucket info")) account.buckets.includes(args[3]) || fail("The specified bucket does not exist. [code: 10006]")
if (said.startsWith("r2 bucket create")) change("buckets", args[3])
if (said.startsWith("d1 list")) console.log(JSON.stringify(account.databases.map((name) => ({ name }))))
if (said.startsWith("d1 create")) change("databases", args[2])
if (said.startsWith("secret list")) console.log(JSON.stringify(account.secrets.map((name) => ({ name, type: "secret_text" }))))
if (said.startsWith("secret put")) {
  change("secrets", args[2])
  writeFileSync("stored", input)
}
if (args[0] === "deploy") console.log("wrangler deploys")
if (args[0] === "deploy" && !args.includes("--dry-run")) {
  writeFileSync(process.env.WRANGLER_OUTPUT_FILE_PATH, '{"type":"wrangler-session"}\\n' + JSON.stringify({ type: "deploy", targets: ["https://durable-streams.me.workers.dev"] }) + "\\n")
}
`

/** Reading a real configuration takes seconds. */
const MAIN = 'import { readFileSync } from "node:fs"\nexport const unstable_readConfig = () => JSON.parse(readFileSync("config.json", "utf8"))'
const CONFIGURED = {
  name: "durable-streams",
  definedEnvironments: ["staging"],
  vars: {},
  kv_namespaces: [],
  r2_buckets: [{ binding: "SEGMENTS", bucket_name: "durable-streams-segments" }],
  d1_databases: [{ binding: "ADMIN_DB", database_name: "durable_streams_admin" }],
  durable_objects: { bindings: [{ name: "STREAMS", class_name: "StreamObject" }] },
}

/** A folder with the installed package, the fake, and what the fake reads as the configuration. */
async function project(account = {}, config = {}) {
  const folder = await newFolder()
  await install(folder)
  const wrangler = join(folder, "node_modules/wrangler")
  await mkdir(wrangler)
  const manifest = { name: "wrangler", version: "4.164.0", main: "main.mjs", bin: { wrangler: "fake.cjs" } }
  await writeFile(join(wrangler, "package.json"), JSON.stringify(manifest))
  await writeFile(join(wrangler, "main.mjs"), MAIN)
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...CONFIGURED, ...config }))
  await writeFile(join(wrangler, "fake.cjs"), FAKE)
  await writeFile(join(folder, "account.json"), JSON.stringify({ ...ACCOUNT, ...account }))
  const deploy = async (...args) => {
    await writeFile(join(folder, "calls"), "")
    const ended = await command(folder, ["deploy", ...args])
    return { ...ended, calls: (await readFile(join(folder, "calls"), "utf8")).split("\n").slice(0, -1) }
  }
  return { folder, deploy }
}

const CONFIG = " --config GENERATED"

describe("deploy", () => {
  test("creates what is missing, and shows the new token once", async () => {
    const { folder, deploy } = await project()
    const first = await deploy()
    expect(first).toMatchObject({ code: 0, errors: "" })
    expect(first.calls).toEqual(
      [
        "whoami --json",
        "r2 bucket info durable-streams-segments --json",
        "r2 bucket create durable-streams-segments",
        "d1 list --json",
        "d1 create durable_streams_admin --update-config=false",
        "deploy",
        "d1 migrations apply ADMIN_DB --remote",
        "secret list --format json",
        "secret put AUTH_TOKEN",
      ].map((call) => (call === "secret put AUTH_TOKEN" ? `${call}${CONFIG} < secret` : `${call}${CONFIG}`)),
    )
    const token = await readFile(join(folder, "stored"), "utf8")
    expect(token).toMatch(/^[\w-]{43}$/u)
    expect(first.said.match(/^\[\d\/6\] /gmu)).toHaveLength(6)
    expect(first.said).toContain(`  AUTH_TOKEN=${token}\n`)
    expect(first.said).toContain("Deployed: https://durable-streams.me.workers.dev\n")
    expect(first.said).toContain(`curl -X PUT https://durable-streams.me.workers.dev/v1/stream/my-project/first -H 'Authorization: Bearer ${token}'`)

    const second = await deploy()
    expect(second).toMatchObject({ code: 0, errors: "" })
    expect(second.calls.some((call) => /create|put/u.test(call))).toBe(false)
    expect(second.said).not.toContain(token)
    expect(second.said).toContain("The secret AUTH_TOKEN exists.")
    expect(await readFile(join(folder, "stored"), "utf8")).toBe(token)
  })

  test("leaves access alone that is configured in another way", async () => {
    const withKeys = await project({ secrets: ["PROJECT_KEYS"] })
    expect((await withKeys.deploy()).calls.filter((call) => call.startsWith("secret"))).toEqual([`secret list --format json${CONFIG}`])

    const namespace = [{ binding: "PROJECTS", id: "1" }]
    for (const config of [{ vars: { ALLOW_OPEN: "1" } }, { kv_namespaces: namespace }]) {
      const { calls } = await (await project({}, config)).deploy()
      expect(calls.filter((call) => call.startsWith("secret"))).toEqual([])
    }
  })

  test("passes an environment to each command that needs it, and other arguments to the deployment", async () => {
    const { folder, deploy } = await project({}, { d1_databases: [{ binding: "ADMIN_DB", database_id: "1" }], r2_buckets: [] })
    await writeFile(join(folder, "wrangler.toml"), 'name = "mine"\n[[d1_databases]]\nbinding = "ADMIN_DB"\n')
    expect((await deploy("--keep-vars", "--env", "staging", "--tag=a")).calls).toEqual([
      "deploy --dry-run --env staging --keep-vars --tag=a",
      "whoami --json",
      "deploy --env staging --keep-vars --tag=a",
      "d1 migrations apply ADMIN_DB --remote --env staging",
      "secret list --format json --env staging",
      "secret put AUTH_TOKEN --env staging < secret",
    ])
  })

  test("has the secret stored for the Worker that the arguments name", async () => {
    const { deploy } = await project()
    for (const name of [["--name", "mine"], ["--name=mine"]]) {
      const { calls, said } = await deploy(...name)
      expect(said).toContain("Deploying the Worker mine ...")
      expect(calls).toContain(`deploy ${name.join(" ")}${CONFIG}`)
      expect(calls).toContain(`secret list --format json --name mine${CONFIG}`)
    }
    expect((await (await project()).deploy("--name", "mine")).calls).toContain(`secret put AUTH_TOKEN --name mine${CONFIG} < secret`)
  })

  test.each([
    [["--env"], "--env needs the name of an environment"],
    [["--env", ""], "--env needs the name of an environment"],
    [["--env="], "--env needs the name of an environment"],
    [["-e", "--dry-run"], "--env needs the name of an environment"],
    [["--name", "--dry-run"], "--name needs the name of a Worker"],
    [["--config", "other.toml"], "deploy has no --config"],
    [["-c=other.toml"], "deploy has no --config"],
    [["--env", "stagin"], 'The configuration has no environment "stagin". Write a project with `npx durable-streams-cloudflare init`'],
  ])("calls nothing with %j", async (args, said) => {
    const { code, errors, calls } = await (await project()).deploy(...args)
    expect([code, errors, calls]).toEqual([1, expect.stringContaining(said), []])
  })

  test("leaves another Worker alone whose configuration is in the folder", async () => {
    const { folder, deploy } = await project({}, { name: "shop", durable_objects: { bindings: [{ name: "CARTS", class_name: "Cart" }] } })
    await writeFile(join(folder, "wrangler.toml"), 'name = "shop"\n')
    for (const args of [[], ["--dry-run"]]) {
      const { code, errors, calls } = await deploy(...args)
      expect([code, errors, calls]).toEqual([1, expect.stringContaining("wrangler.toml has no binding STREAMS"), []])
    }
  })

  test("has wrangler check its own arguments before anything is created", async () => {
    const { deploy } = await project({ fails: { "deploy --dry-run": "\u001B[31m✘ [ERROR]\u001B[0m Unknown argument: dry-runn\n" } })
    const { code, errors, calls } = await deploy("--dry-runn")
    expect([code, calls]).toEqual([1, [`deploy --dry-run --dry-runn${CONFIG}`]])
    expect(errors).toBe("Wrangler refuses `deploy --dry-runn`, so nothing was changed: Unknown argument: dry-runn\n")
  })

  // A `dev` that runs in the folder reloads if its configuration is written.
  test("writes the configuration of a folder without one once, and not if it refuses the arguments", async () => {
    const { folder, deploy } = await project()
    const config = join(folder, ".wrangler/durable-streams/wrangler.toml")
    await deploy("--env")
    await expect(stat(config)).rejects.toThrow("ENOENT")
    await deploy()
    const { mtimeMs } = await stat(config)
    await deploy()
    expect((await stat(config)).mtimeMs).toBe(mtimeMs)
    await writeFile(config, "of another version")
    await deploy()
    expect(await readFile(config, "utf8")).toContain('name = "durable-streams"')
  })

  test("says what to do if it cannot go on, and goes on afterwards", async () => {
    const { folder, deploy } = await project({ loggedIn: false })
    const become = (account) => writeFile(join(folder, "account.json"), JSON.stringify({ ...ACCOUNT, ...account }))
    const expectEnd = async (account, said, last) => {
      await become(account)
      const { code, errors, calls } = await deploy()
      expect([code, errors, calls.at(-1)]).toEqual([1, expect.stringContaining(said), expect.stringContaining(last)])
    }
    await expectEnd({ loggedIn: false }, "You are not logged in to Cloudflare. Run `npx wrangler login`", "whoami")
    await expectEnd({ fails: { whoami: "no network" } }, "Wrangler could not check the login:\nno network", "whoami")
    const accounts = [{ name: "Mine", id: "1" }, { name: "Theirs", id: "2" }]
    await expectEnd({ accounts }, "Set CLOUDFLARE_ACCOUNT_ID to one of them, and run this again:\n  1  Mine\n  2  Theirs", "whoami")
    await expectEnd({ fails: { "r2 bucket create": "Please enable R2. [code: 10042]" } }, "R2 is not enabled in this account.", "r2 bucket create")
    await expectEnd({ fails: { "r2 bucket create": "no network" } }, "was not created.\nno network", "r2 bucket create")
    await expectEnd({ fails: { "d1 list": "no network" } }, "The databases were not listed.\nno network", "d1 list")
    await expectEnd({ fails: { "d1 create": "limit" } }, "durable_streams_admin was not created.\nlimit", "d1 create")
    await expectEnd({ fails: { deploy: "an error" } }, "an error\nThe Worker was not deployed: see above.", "deploy")
    await expectEnd({ fails: { "d1 migrations": "no table" } }, "run this again.\nno table", "d1 migrations")
    await expectEnd({ fails: { "secret put": "no secret" } }, "The secret AUTH_TOKEN was not stored.\nno secret", "secret put")
    await become({ fails: { "r2 bucket create": "The bucket you tried to create already exists, and you own it." } })
    expect((await deploy()).code).toBe(0)
  })

  test("--dry-run changes nothing, and has wrangler check the Worker", async () => {
    const { deploy } = await project({ loggedIn: false })
    const { code, calls, said } = await deploy("--dry-run", "--minify")
    expect([code, calls]).toEqual([0, [`deploy --dry-run --minify${CONFIG}`]])
    for (const what of ["durable-streams-segments", "durable_streams_admin", "AUTH_TOKEN", "nothing is changed now"]) expect(said).toContain(what)
    expect(said).toContain("none of AUTH_TOKEN, PROJECT_KEYS, ALLOW_OPEN, PROJECTS, so a new Worker answers 503 from step 4 to step 6")
  })
})
