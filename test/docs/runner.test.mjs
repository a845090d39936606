// The runner of code blocks finds what contradicts a page, and nothing else.

import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { isLeftOut, launchChromium } from "../chromium.mjs"
import { startServer } from "../server.mjs"
import { textMatches } from "./blocks.mjs"
import { runPage } from "./run.mjs"

const block = (language, ...lines) => ["```" + language, ...lines, "```", ""].join("\n")
const S = "http://127.0.0.1:8787/v1/stream/planted"
const CREATE = `curl -i -X PUT ${S} -H 'Content-Type: application/json'`

/** Pages that contradict the server, and what the runner says of each: the line of the page, then the reason. */
const PLANTED = {
  "a wrong status": [block("sh", CREATE) + block("http", "HTTP/1.1 409 Conflict"), "page.md:5: the status differs\nexpected:\nHTTP/1.1 409 Conflict\nactual:\nHTTP/1.1 201 Created\n..."],
  "a wrong body": [block("sh", CREATE, `curl -i "${S}"`) + block("http", "HTTP/1.1 200 OK", "", "[1]"), "page.md:6: the body differs..."],
  "a wrong header": [block("sh", `curl -I ${S}`) + block("http", "HTTP/1.1 200 OK", "Content-Type: text/plain"), 'page.md:5: the header "Content-Type: text/plain" differs...'],
  "wrong JSON": [block("sh", `curl ${S}`) + block("json", '[{"token":"..."}]'), "page.md:5: the JSON differs..."],
  "a time that is none": [block("sh", `echo '{"at":"1796025600001"}'`) + block("json", '{"at":1796025600000}'), "page.md:5: the JSON differs..."],
  "wrong text": [block("sh", "echo one", "echo two") + block("text", "one", "two"), "page.md:6: the text differs\nexpected:\none\ntwo\nactual:\ntwo\n"],
  "a command that fails": [block("sh", "echo one", "false", "echo two"), "page.md:3: the command failed with 1: "],
  "a pipeline that fails": [block("sh", "false |", "  cat"), "page.md:...: the command failed with 1: "],
  "a command that is not there": [block("sh", "curll x"), "page.md:2: the command failed with 127: ...curll: command not found"],
  "a command that is no test's": [block("sh", "npx -y pnpm@10 dev"), "page.md:2: the command failed with 1: a test cannot run npx..."],
  "a syntax error": [block("sh", "echo 'a"), "page.md:2: the block failed with ..."],
  "a shell that ends": [block("sh", "exit 0"), "page.md:2: the shell ended: "],
  "a refusal that no block shows": [block("sh", `curl ${S}`, `curl ${S}/missing`), "page.md:3: the server answered 404, and no block below shows that"],
  "a response that no block prints": [block("http", "HTTP/1.1 200 OK"), "page.md:2: no block above this one prints it"],
  "a language that would not run": [block("bash", "false"), 'page.md:2: a block cannot be "bash"'],
  "JavaScript that throws": [block("js", "", 'throw new Error("thrown")'), "page.md:2: the command failed with 1: ...mjs:3\n...Error: thrown..."],
  "JavaScript that prints something else": [block("js", "console.log(1)") + block("text", "2"), "page.md:5: the text differs..."],
}

const PLANTED_IN_CHROMIUM = {
  "a script that throws": [block("js browser", 'throw new Error("thrown")'), "page.md:2: Error: thrown"],
  "a script that prints something else": [block("js browser", `await fetch("${S}")`, "console.log(1)") + block("text", "2"), "page.md:6: the text differs..."],
  "a stream that is not there": [block("js browser", `new EventSource("${S}/missing?offset=-1&live=sse")`), "page.md:2: the server answered 404..."],
  "a page that shows something else": [block("html", "<!doctype html>", "<p>one</p>") + block("text", "two"), "page.md:6: the text differs..."],
}

/** A page of which all is right. */
const RIGHT = [
  block("sh", `S=${S}-right`, "curl -i -X PUT $S -H 'Content-Type: application/json' -d '[{\"n\":1}]'"),
  block("http", "HTTP/1.1 201 Created", "Location: http://127.0.0.1:8787/v1/stream/planted-right", "stream-next-offset: ...1", "..."),
  block("sh", "curl -X POST $S -H 'Content-Type: application/json' \\", "  -d '{\"n\":2}'", 'curl "$S?offset=-1"'),
  block("json", "[", '  {"n":1},', '  "..."', "]"),
  block("sh", 'curl -N "$S?offset=-1&live=sse"'),
  block("text", "retry: 1000", "event: data", 'data: [{"n":1},{"n":2}]', "...", "event: control", "..."),
  block("sh", 'curl -i "$S?offset=0000000000000000_0000000000000009"'),
  block("http", "HTTP/1.1 400 Bad Request", "", '{ "error": { "code": "offset_beyond_tail", "message": "..." } }'),
  block("js", "// read.mjs: prints all messages.", 'import { stream } from "@durable-streams/client"', `const all = await stream({ url: "${S}-right", live: false })`, "console.log(await all.json())"),
  block("text", "[ { n: 1 }, { n: 2 } ]"),
  block("sh", "export WORD=$(node read.mjs)", 'echo "$WORD" | tr n m'),
  block("text", "[ { m: 1 }, { m: 2 } ]"),
  block("sh", `echo '{"at":1796025600001,"on":"2026-11-30T08:00:00Z"}'`),
  block("json", '{"at":1796025600000,"on":"2026-12-01T09:00:00.000Z"}'),
  block("console", "npx wrangler login"),
  block("json", "[ no JSON"),
].join("\n")

describe("a page that contradicts the server", () => {
  let server, browser
  beforeAll(async () => {
    server = await startServer()
    browser = isLeftOut ? undefined : await launchChromium()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.dispose()
  })

  const run = (text) => runPage({ name: "page.md", text, url: server.url, browser: browser && (() => browser), hasPython: true, patienceMs: 1000 })

  /** One problem, written with `...` for anything. */
  function expectOne(problems, wanted) {
    if (problems.length !== 1 || !textMatches(wanted, problems[0])) expect(problems).toEqual([wanted])
  }

  test.for(Object.entries(PLANTED))("fails for %s", async ([, [text, wanted]]) => {
    await fetch(S.replace("127.0.0.1:8787", new URL(server.url).host), { method: "DELETE" })
    if (!text.includes("PUT")) await run(block("sh", CREATE))
    expectOne(await run(text), wanted)
  })

  test.skipIf(isLeftOut).for(Object.entries(PLANTED_IN_CHROMIUM))("fails for %s, in Chromium", async ([, [text, wanted]]) => {
    expectOne(await run(text), wanted)
  })

  test("and no other", async () => {
    expect(await run(RIGHT)).toEqual([])
  })
})
