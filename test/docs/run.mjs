// Runs the blocks of one page, in order, and says what contradicts the page.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { build } from "esbuild"
import { root } from "../deployed.mjs"
import { SOON_MS, within } from "../platform/support.mjs"
import { WRITTEN, differs, stepsOf } from "./blocks.mjs"

/** How long a block may take: a few live reads. */
const BLOCK_MS = 3 * SOON_MS

/**
 * The shell of a page. It reads the names of files, runs each, and writes a line of JSON: where the output of the file's
 * last command begins, and which commands failed (`line:status`).
 */
const SHELL = `
set -o pipefail
curl() {
  # The runner looks at the statuses; a live stream ends after 3 s, which is no failure.
  local live=() status=0
  [[ "$*" == *live=sse* ]] && live=(--max-time 3)
  command curl -sS -w "%{stderr}@status \${BASH_LINENO[0]} %{http_code}\\n" "\${live[@]}" "$@" || status=$?
  [[ $status == 28 && "$*" == *live=sse* ]] || return $status
}
for command in npx pnpm npm wrangler; do
  eval "$command() { echo 'a test cannot run $command: use a console block' >&2; return 1; }"
done
while IFS= read -r __file <&3; do
  __start=0 __failed=()
  . "$__file" < /dev/null > "$__file.out" 2> "$__file.err"
  __status=$?
  trap - DEBUG ERR
  echo "{\\"start\\": $__start, \\"failed\\": \\"\${__failed[*]}\\", \\"status\\": $__status}" >&4
done`

/** The first line of each file: notes where the output of each command begins, and which commands fail. */
const TRAPS = `trap '[[ \${BASH_SOURCE[0]} == "$__file" ]] && __start=$(wc -c < "$__file.out")' DEBUG; \
trap '__failed+=("$LINENO:$?")' ERR`

/** One bash for all blocks of a page, in a folder of its own in which the packages of the repository are found. */
class Shell {
  #folder = mkdtempSync(join(tmpdir(), "docs-"))
  #page
  #files = 0
  #child
  #reports

  constructor(page, env) {
    this.#page = page
    symlinkSync(join(root, "node_modules"), join(this.#folder, "node_modules"))
    const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter)
    this.#child = spawn("bash", ["--noprofile", "--norc", "-c", SHELL], {
      cwd: this.#folder,
      env: { PATH, HOME: this.#folder, LANG: "C.UTF-8", NO_COLOR: "1", ...env },
      stdio: ["ignore", "inherit", "inherit", "pipe", "pipe"],
      detached: true,
    })
    this.#reports = createInterface({ input: this.#child.stdio[4] })[Symbol.asyncIterator]()
  }

  /** Writes a file of this folder whose lines have the numbers that they have on the page. */
  write(name, code, line, first = "") {
    const file = join(this.#folder, name)
    writeFileSync(file, `${first}${"\n".repeat(line - 1)}${code}\n`)
    return file
  }

  /** Runs some code that begins at a line of the page. */
  async run(code, line) {
    this.#files += 1
    const file = this.write(`${this.#page.replaceAll("/", "-")}-${this.#files}`, code, line, TRAPS)
    this.#child.stdio[3].write(`${file}\n`)
    const { value } = await within(BLOCK_MS, `the block at ${this.#page}:${line} ends`, this.#reports.next())
    const [output, errors] = [".out", ".err"].map((end) => readFileSync(file + end))
    if (!value) return { output: "", errors: `${errors}`, failed: [], status: "exit" }
    const { start, failed, status } = JSON.parse(value)
    const commands = failed.split(" ").filter(Boolean).map((command) => command.split(":").map(Number))
    return { output: `${output.subarray(start)}`, errors: `${errors}`, failed: commands, status }
  }

  end() {
    try {
      // The whole group: a block may have left something in the background.
      process.kill(-this.#child.pid, "SIGKILL")
    } catch {
      // The shell has exited by itself.
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Whether a block only reads from the server, so that it can be run again. */
const isRead = ({ language, code }) => language === "sh" && code.includes("curl ") && !/ -(X|d|T|-request|-data|-upload)/u.test(code)

/** Runs a block in the shell. @returns {Promise<{ output: string, problems: { line: number, what: string }[] }>} */
async function runInShell(shell, { language, line, code, shown }) {
  let script = code
  if (language !== "sh") {
    // A comment in the first line may name the module, and the commands that follow run it again.
    const name = /^\/\/ ([\w-]+\.mjs)\b/u.exec(code)?.[1] ?? `line-${line}.${language === "js" ? "mjs" : "py"}`
    const file = shell.write(name, code, line)
    script = language === "js" ? `node ${file}` : `python3 ${file}`
  }
  const { output, errors, failed, status } = await shell.run(script, line)
  const statuses = [...errors.matchAll(/^@status (\d+) (\d+)$/gmu)].map((found) => found.slice(1).map(Number))
  const said = errors.replaceAll(/^@status .*\n/gmu, "").trim()
  const problems = failed.map(([at, code]) => ({ line: at, what: `the command failed with ${code}: ${said}` }))
  if (status === "exit") problems.push({ line, what: `the shell ended: ${said}` })
  else if (status !== 0 && failed.length === 0) problems.push({ line, what: `the block failed with ${status}: ${said}` })
  const unseen = shown ? statuses.slice(0, -1) : statuses
  for (const [at, code] of unseen.filter(([, code]) => code >= 400)) {
    problems.push({ line: at, what: `the server answered ${code}, and no block below shows that` })
  }
  return { output, problems }
}

/** Opens a block in Chromium, in a page of another origin. What it prints is its console, or for HTML what it shows. */
async function runInBrowser(browser, { language, line, code, shown }, { host, patienceMs }) {
  const problems = []
  let html = code
  if (language === "js browser") {
    const options = { stdin: { contents: code, resolveDir: root }, bundle: true, format: "esm", write: false, logLevel: "silent" }
    const { outputFiles } = await build(/** @type {any} */ (options))
    html = `<!doctype html><script type="module">${outputFiles[0].text.replaceAll("</script", "<\\/script")}</script>`
  }
  const site = createServer((_, response) => response.setHeader("content-type", "text/html; charset=utf-8").end(html))
  await once(site.listen(0, "127.0.0.1"), "listening")
  const page = await browser.newPage()
  try {
    const printed = []
    const found = Promise.withResolvers()
    const look = async () => {
      const output = language === "html" ? await page.innerText("body").catch(() => "") : printed.join("\n")
      if (shown && differs(shown, output) === undefined) found.resolve(undefined)
      return output
    }
    page.on("console", (message) => {
      const isOfNetwork = message.text().startsWith("Failed to load resource")
      if (message.type() === "error" && !isOfNetwork) problems.push({ line, what: message.text() })
      printed.push(message.text())
      look()
    })
    page.on("pageerror", (error) => {
      problems.push({ line, what: `${error}` })
      found.resolve(undefined)
    })
    page.on("response", (response) => {
      if (!response.url().includes(host)) return
      if (response.status() >= 400) problems.push({ line, what: `the server answered ${response.status()}` })
      if (!shown) found.resolve(undefined)
    })
    await page.exposeFunction("lookAgain", look)
    await page.addInitScript(() => {
      const options = { childList: true, subtree: true, characterData: true }
      new MutationObserver(() => globalThis.lookAgain()).observe(document, options)
    })
    await page.goto(`http://127.0.0.1:${site.address().port}`, { timeout: SOON_MS })
    if (!shown && !code.includes(host)) found.resolve(undefined)
    await within(patienceMs, "the server gets a request", found.promise).catch((error) => {
      if (!shown) problems.push({ line, what: error.message })
    })
    return { output: await look(), problems }
  } finally {
    await page.close()
    site.closeAllConnections()
    site.close()
  }
}

/**
 * Runs a page.
 * @param {object} page
 * @param {string} page.name its path
 * @param {string} page.text
 * @param {string} page.url the server's
 * @param {Record<string, string>} [page.env] what the shell's environment has besides
 * @param {() => Promise<import("playwright-core").Browser>} [page.browser] a Chromium; without it, its blocks are left out
 * @param {boolean} [page.hasPython] whether there is a Python with the client; without it, its blocks are left out
 * @param {number} [page.patienceMs] how long Chromium may take to show what a block prints
 * @returns {Promise<string[]>} what contradicts the page
 */
export async function runPage({ name, text, url, env = {}, browser, hasPython = false, patienceMs = SOON_MS }) {
  const { host } = new URL(url)
  const { steps, problems } = stepsOf(text)
  const found = problems.map(({ line, what }) => `${name}:${line}: ${what}`)
  const shell = new Shell(name, env)
  try {
    for (const written of steps) {
      const step = { ...written, code: written.code.replaceAll(WRITTEN, host) }
      const isForBrowser = ["js browser", "html"].includes(step.language)
      if ((isForBrowser && !browser) || (step.language === "python" && !hasPython)) continue
      const run = async () => {
        const running = isForBrowser ? runInBrowser(await browser(), step, { host, patienceMs }) : runInShell(shell, step)
        const ended = await running.catch((error) => ({ output: "", problems: [{ line: step.line, what: error.message }], hangs: true }))
        const output = ended.output.replaceAll("\r\n", "\n").replaceAll(host, WRITTEN)
        return { ...ended, output, difference: step.shown && differs(step.shown, output) }
      }
      let ended = await run()
      // What the page shows may take a moment, such as an event of the registry. After one problem more are likely.
      const latest = Date.now() + (isRead(step) && found.length === 0 ? patienceMs : 0)
      while (ended.difference && !ended.hangs && Date.now() < latest) ended = await run()
      const { output, difference } = ended
      for (const { line, what } of ended.problems) found.push(`${name}:${line}: ${what.replaceAll(host, WRITTEN)}`)
      if (difference) {
        found.push(`${name}:${step.shown.line}: ${difference}\nexpected:\n${step.shown.code}\nactual:\n${output}`)
      }
      // Nothing runs in a shell that is busy.
      if (ended.hangs) break
    }
  } finally {
    shell.end()
  }
  return found
}
