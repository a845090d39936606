// Lists orphans, which are objects in the segment bucket that no stream references, and deletes them with --delete. It pages
// through POST /v1/admin/orphans of a running server, and without --delete it changes nothing.

import { parseArgs } from "node:util"

const USAGE = `pnpm admin:orphans [options]
  --url <url>  the server (default: http://127.0.0.1:8787)
  --delete     deletes the orphans; objects that are not segments are never deleted
  --json       prints one JSON object instead of tables (pnpm --silent admin:orphans --json)
  --help       prints this text

List before you delete: if two servers share a bucket, each takes the other's segments for orphans.

Set ADMIN_TOKEN in the environment to the server's ADMIN_TOKEN. On a deployed server that is a secret; in development it is
a line of .dev.vars.

Exit status: 0 if there are no orphans, or if all were deleted; 1 if there are orphans and --delete was not given; 2 if not
everything could be checked. It is safe to run the command again.`

const [NONE, SOME, UNKNOWN] = [0, 1, 2]

/** The result for the whole bucket: the fields of a page without its cursor. */
const found = { orphans: [], unchecked: [], foreign: [], checked: 0 }
const options = understood(process.argv.slice(2))
let trouble
try {
  for await (const page of pages(options)) {
    for (const list of ["orphans", "unchecked", "foreign"]) found[list].push(...page[list])
    found.checked += page.checked
    progress(`${found.checked} segments checked ...`)
  }
} catch (error) {
  trouble = error
}
progress("")
console.log(options.json ? JSON.stringify({ ...found, deleted: options.delete }, null, 2) : tables())
if (trouble) {
  console.error(`\nThe command stopped before the end of the bucket: ${trouble.message}`)
} else if (found.unchecked.length > 0) {
  console.error("\nSome streams did not answer (the server's log says why): run it again.")
}
process.exitCode = exitCode()

/** Prints a line on a terminal that the next one overwrites. */
function progress(line) {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${line}`)
}

function exitCode() {
  if (trouble || found.unchecked.length > 0) return UNKNOWN
  return found.orphans.length > 0 && !options.delete ? SOME : NONE
}

/** @param {string[]} args */
function understood(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        url: { type: "string", default: "http://127.0.0.1:8787" },
        delete: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean" },
      },
    })
    if (values.help) {
      console.log(USAGE)
      process.exit(NONE)
    }
    const token = process.env.ADMIN_TOKEN
    if (!token) throw new Error("ADMIN_TOKEN is not set: set it in the environment to the server's ADMIN_TOKEN")
    if (!/^[A-Za-z0-9._~+/-]{15,}[A-Za-z0-9._~+/=-]$/u.test(token)) {
      throw new Error("ADMIN_TOKEN is not valid: it must have 16 characters or more, of A-Z a-z 0-9 - . _ ~ + /")
    }
    const endpoint = new URL("v1/admin/orphans", values.url.endsWith("/") ? values.url : `${values.url}/`)
    return { ...values, token, endpoint }
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exit(UNKNOWN)
  }
}

/** Yields all pages of the bucket in order. */
async function* pages({ endpoint, token, delete: deletes }) {
  for (let cursor; cursor !== null; ) {
    const url = new URL(endpoint)
    if (deletes) url.searchParams.set("delete", "true")
    if (cursor !== undefined) url.searchParams.set("cursor", cursor)
    const page = await asked(url, token)
    yield page
    cursor = page.cursor
  }
}

async function asked(url, token) {
  let response
  try {
    // No redirects: they would send the token to another server.
    const init = { method: "POST", headers: { authorization: `Bearer ${token}` }, redirect: "error" }
    response = await fetch(url, init)
  } catch (error) {
    throw new Error(`${url.origin} cannot be reached: ${error.cause?.message || error.cause?.code || error.message}`)
  }
  const text = await response.text()
  if (response.status === 200) return JSON.parse(text)
  const known = {
    401: "the server has another ADMIN_TOKEN",
    404: "the server has no ADMIN_TOKEN of 16 characters or more (wrangler secret put ADMIN_TOKEN), or the URL is not this server's",
  }
  throw new Error(`${url.origin} answers ${response.status}: ${known[response.status] ?? messageOf(text)}`)
}

/** The message of a refusal, or the beginning of any other body. */
function messageOf(text) {
  try {
    return JSON.parse(text).error.message
  } catch {
    return text.slice(0, 200)
  }
}

function tables() {
  const { orphans, unchecked, foreign, checked } = found
  const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`
  const bytes = orphans.reduce((sum, { bytes }) => sum + bytes, 0)
  const totals = [
    `${count(checked, "segment")} checked`,
    `${count(orphans.length, "orphan")}${options.delete ? " deleted" : ""} (${count(bytes, "byte")})`,
    `${unchecked.length.toLocaleString("en")} unchecked`,
    `${count(foreign.length, "foreign object")}`,
  ]
  return [
    ...section(options.delete ? "Deleted orphans:" : "Orphans:", orphans),
    ...section("Unchecked (their streams did not answer):", unchecked),
    // Escaped, because a foreign key may contain control characters of the terminal.
    ...(foreign.length > 0 ? ["Foreign (not segments, never deleted):", ...foreign.map((key) => `  ${JSON.stringify(key)}`), ""] : []),
    totals.join(", "),
  ].join("\n")
}

/** @param {{ path: string, incarnation: number, readSeq: number, bytes: number, uploaded: string }[]} segments */
function section(title, segments) {
  if (segments.length === 0) return []
  const rows = [["stream", "incarnation", "segment", "bytes", "uploaded"]]
  for (const one of segments) rows.push([one.path, one.incarnation, one.readSeq, one.bytes, one.uploaded].map(String))
  const widths = rows[0].map((_, column) => rows.reduce((most, row) => Math.max(most, row[column].length), 0))
  const isNumber = (column) => column >= 1 && column <= 3
  const line = (row) =>
    row.map((cell, column) => (isNumber(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
  return [title, ...rows.map((row) => `  ${line(row).join("  ").trimEnd()}`), ""]
}
