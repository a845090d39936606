// Every code block of README.md and docs/ does what its page says.

import { join } from "node:path"
import { afterAll, describe, expect, test } from "vitest"
import { isLeftOut, launchChromium } from "../chromium.mjs"
import { root } from "../deployed.mjs"
import { installPython, isInstalled, requirePython } from "../python.mjs"
import { startServer } from "../server.mjs"
import { secretKey } from "../tokens.mjs"
import { pages, read, stepsOf } from "./blocks.mjs"
import { runPage } from "./run.mjs"

/** An example may show the end of a long-poll. */
const SOON = { LONG_POLL_TIMEOUT_SECONDS: "2" }

const { k: K } = secretKey()

/** A server with one project, whose key is the shell's `$K`. */
const PROJECTS = { vars: { PROJECT_KEYS: JSON.stringify({ "my-project": { keys: [{ kty: "oct", kid: "1", k: K }] } }) }, env: { K } }

/** The one token of a server. */
const TOKEN = "the-token-of-the-documents"

/**
 * What a page needs besides an open server: variables of the server, and of the shell.
 * @type {Record<string, { vars?: Record<string, string>, env?: Record<string, string>, hasConsole?: boolean }>}
 */
const SETTINGS = {
  "docs/access.md": PROJECTS,
  "docs/caching.md": { vars: { AUTH_TOKEN: TOKEN }, env: { TOKEN } },
  "docs/console.md": { hasConsole: true },
  "docs/subscriptions.md": { vars: { ALLOW_LOCAL_WEBHOOKS: "1" } },
}

/** Warnings are about deployments. */
function printError({ level, message }) {
  if (level === "error") console.error(message)
}

let launched
const browser = isLeftOut ? undefined : () => (launched ??= launchChromium())
afterAll(async () => (await launched)?.close())

/** A page's Python needs the client, where there is a Python. */
async function pythonEnv(name, steps) {
  if (!steps.some(({ language }) => language === "python")) return {}
  requirePython("the Python examples")
  if (!isInstalled) return undefined
  const requirements = join(root, "test/clients/python/requirements.txt")
  return { PYTHONPATH: installPython("python", requirements), PYTHONDONTWRITEBYTECODE: "1" }
}

describe.concurrent("the code blocks of", () => {
  test.for(pages())("%s", async (name) => {
    const { vars, env, hasConsole } = SETTINGS[name] ?? {}
    const text = read(name)
    const { steps } = stepsOf(text)
    const server = steps.length > 0 ? await startServer({ hasConsole, vars: { ...SOON, ...vars }, onLog: printError }) : undefined
    try {
      const python = await pythonEnv(name, steps)
      const url = server?.url ?? "http://127.0.0.1:1"
      const problems = await runPage({ name, text, url, env: { ...env, ...python }, browser, hasPython: python !== undefined })
      if (problems.length > 0) throw new Error(`${problems.join("\n\n")}\n`)
    } finally {
      await server?.dispose()
    }
  })

  test("pages with settings of their own are there", () => {
    expect(pages()).toEqual(expect.arrayContaining(Object.keys(SETTINGS)))
  })
})
