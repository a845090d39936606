// Lists the objects of the segment bucket that no stream knows, and with --delete removes them: pages through
// POST /v1/admin/orphans of a server that runs.

import { parseArgs } from "node:util"

const USAGE = `pnpm admin:orphans [options]
  --url <url>  the server; http://127.0.0.1:8787 without it
  --delete     removes the orphans; what is no segment at all is never removed
  --json       one JSON object instead of tables (pnpm --silent admin:orphans --json)
  --help       this

List before you delete: a server that shares its bucket with another takes the other's segments for orphans.

The environment has ADMIN_TOKEN, the same as the server: on a deployed one a secret, in dev a line of .dev.vars.

It ends with 0 if there are no orphans, or no more; with 1 if there are, and --delete was not given; with 2 if not
everything could be checked: it is safe to run it again.`

const [NONE, SOME, UNKNOWN] = [0, 1, 2]

/** What is told of the whole bucket: the same as of a page, without the cursor. */
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
  console.error(`\nThe end was not reached: ${trouble.message}`)
} else if (found.unchecked.length > 0) {
  console.error("\nSome streams did not answer, and the server's log says why: run it again.")
}
process.exitCode = exitCode()

/** A line that the next one overwrites, for whoever watches. */
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
    if (!token) throw new Error("ADMIN_TOKEN is not set: put the server's into the environment")
    if (!/^[A-Za-z0-9._~+/-]{15,}[A-Za-z0-9._~+/=-]$/u.test(token)) {
      throw new Error("ADMIN_TOKEN must have 16 characters or more, of A-Z a-z 0-9 - . _ ~ + /: no server takes this one")
    }
    const endpoint = new URL("v1/admin/orphans", values.url.endsWith("/") ? values.url : `${values.url}/`)
    return { ...values, token, endpoint }
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exit(UNKNOWN)
  }
}

/** All pages, in order. */
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
    // The token is for this server and not for one that it names.
    const init = { method: "POST", headers: { authorization: `Bearer ${token}` }, redirect: "error" }
    response = await fetch(url, init)
  } catch (error) {
    throw new Error(`${url.origin} cannot be reached: ${error.cause?.message || error.cause?.code || error.message}`)
  }
  const text = await response.text()
  if (response.status === 200) return JSON.parse(text)
  const known = {
    401: "the server has another ADMIN_TOKEN",
    404: "the server has no ADMIN_TOKEN of 16 characters or more (wrangler secret put ADMIN_TOKEN), or is no such server",
  }
  throw new Error(`${url.origin} answers ${response.status}: ${known[response.status] ?? messageOf(text)}`)
}

/** What a refusal says, or the beginning of what came instead. */
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
    ...section(options.delete ? "Orphans, deleted:" : "Orphans:", orphans),
    ...section("Unchecked, because their streams did not answer:", unchecked),
    // A foreign key may have anything in it, and this may be a terminal.
    ...(foreign.length > 0 ? ["Foreign, and left alone:", ...foreign.map((key) => `  ${JSON.stringify(key)}`), ""] : []),
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
