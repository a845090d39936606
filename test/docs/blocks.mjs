// Reads the code blocks of a page, and compares what a block prints with what the page shows.

import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { root } from "../deployed.mjs"

/** The address that pages write for the server. */
export const WRITTEN = "127.0.0.1:8787"

/** Languages that run. A `js browser` block runs in Chromium. */
const RUN = ["sh", "js", "js browser", "html", "python"]

/** Languages that show the output of the block above them. */
const SHOWN = ["http", "json", "text"]

/** Languages that are not run here. `test/package` runs each `js worker` block. */
const INERT = ["js worker", "console", "toml", "nginx", "sql", "jsonc", "yaml", "ini", "rust", "diff", "mermaid"]

/**
 * @typedef {object} Block
 * @property {string} language the words after the fence
 * @property {number} line the line of the page on which the code begins
 * @property {string} code
 *
 * @typedef {Block & { shown?: Block }} Step a block that runs, and the block that shows its output
 */

/** Every page that is tested, from the root of the repository. */
export function pages() {
  const docs = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"))
  return ["README.md", ...docs.sort().map((name) => `docs/${name}`)]
}

export const read = (page) => readFileSync(join(root, page), "utf8")

/** The code blocks of a page, and its headings as blocks of the language `#`. @returns {Block[]} */
function blocksOf(text) {
  const blocks = []
  let open
  for (const [index, line] of text.split("\n").entries()) {
    const [, indent, fence, language] = /^( *)(```+|~~~+)\s*(.*?)\s*$/u.exec(line) ?? []
    if (open) {
      if (fence?.startsWith(open.fence) && language === "") {
        blocks.push({ language: open.language, line: open.line, code: open.lines.join("\n") })
        open = undefined
      } else {
        open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line.trimStart())
      }
    } else if (fence) {
      open = { indent, fence, language, line: index + 2, lines: [] }
    } else if (/^#+ /u.test(line)) {
      blocks.push({ language: "#", line: index + 1, code: line })
    }
  }
  if (open) blocks.push({ language: "an open fence", line: open.line, code: "" })
  return blocks
}

/**
 * The blocks of a page that run, in order.
 * @returns {{ steps: Step[], problems: { line: number, what: string }[] }}
 */
export function stepsOf(text) {
  const [steps, problems] = [[], []]
  let before
  for (const block of blocksOf(text)) {
    const { language, line } = block
    if (RUN.includes(language)) {
      before = { ...block }
      steps.push(before)
    } else if (SHOWN.includes(language)) {
      if (before) before.shown = block
      else if (language === "http") problems.push({ line, what: "no block above this one prints it" })
      before = undefined
    } else {
      before = undefined
      if (language !== "#" && !INERT.includes(language)) problems.push({ line, what: `a block cannot be "${language}"` })
    }
  }
  return { steps, problems }
}

/** Whether a text is as it is written, where `...` stands for anything. */
export function textMatches(written, text) {
  const parts = written.trim().split("...").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/gu, "\\$&"))
  return new RegExp(`^${parts.join("[^]*")}$`, "u").test(text.trim())
}

/** Whether a value is a time: milliseconds since 1970, or an ISO 8601 timestamp. */
const isMillis = (value) => Number.isInteger(value) && value > 1e12 && value < 1e13
const isTimestamp = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/u.test(value)

/**
 * Whether a JSON value is as it is written, where `...` in a string stands for anything, "..." for any value, and a time for
 * any time of its form.
 */
function valueMatches(written, value) {
  if (written === "...") return true
  if (isMillis(written)) return isMillis(value)
  if (isTimestamp(written)) return isTimestamp(value)
  if (typeof written === "string") return typeof value === "string" && textMatches(written, value)
  if (typeof written !== "object" || written === null) return written === value
  if (typeof value !== "object" || value === null || Array.isArray(written) !== Array.isArray(value)) return false
  const names = Object.keys(written)
  return names.length === Object.keys(value).length && names.every((name) => name in value && valueMatches(written[name], value[name]))
}

/** @param {string} text @returns {{ value?: unknown }} nothing where it is no JSON */
function parsed(text) {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return {}
  }
}

function jsonMatches(written, text) {
  const [one, other] = [parsed(written), parsed(text)]
  return "value" in one && "value" in other && valueMatches(one.value, other.value)
}

/** A response as curl prints it: interim responses are left out. */
function responseOf(text) {
  const end = text.indexOf("\n\n")
  const [status, ...lines] = (end < 0 ? text : text.slice(0, end)).trim().split("\n")
  const body = end < 0 ? "" : text.slice(end + 2)
  if (/^HTTP\/\S+ 1\d\d\b/u.test(status) && body.startsWith("HTTP/")) return responseOf(body)
  const headers = lines.filter((line) => line !== "...").map((line) => {
    const colon = line.indexOf(":")
    return { name: line.slice(0, colon).trim().toLowerCase(), value: line.slice(colon + 1).trim(), line }
  })
  return { status, headers, body }
}

/** What differs in a response from how it is written; `undefined` if nothing does. */
function responseDiffers(written, text) {
  const [one, other] = [responseOf(written), responseOf(text)]
  if (!textMatches(one.status, other.status)) return "the status differs"
  for (const { name, value, line } of one.headers) {
    const isThere = other.headers.some((header) => header.name === name && textMatches(value, header.value))
    if (!isThere) return `the header "${line}" differs or is not there`
  }
  return textMatches(one.body, other.body) || jsonMatches(one.body, other.body) ? undefined : "the body differs"
}

/**
 * What differs between a block that shows an output, and the output; `undefined` if nothing does.
 * @param {Block} shown
 * @param {string} text
 */
export function differs(shown, text) {
  if (shown.language === "http") return responseDiffers(shown.code, text)
  if (shown.language === "json") return jsonMatches(shown.code, text) ? undefined : "the JSON differs"
  return textMatches(shown.code, text) ? undefined : "the text differs"
}
