// What the console decides without a browser: the messages in a read, and which of them a filter matches.

import assert from "node:assert/strict"
import { test } from "node:test"
import { PIECE_MAX_BYTES, elementsOf, kindOf, piecesOf, placeOf } from "../../src/console/content.ts"
import { FilterError, filterOf } from "../../src/console/filter.ts"
import { Random } from "../random.mjs"

const SEED = Number(process.env.SEED ?? 1)
const ARRAYS = 2_000

/** Texts that a scanner of JSON may misread. */
const TEXTS = ["", '"', "\\", '\\"', "[", "]", "{", "}", ",", "],[", "\\\\", "\u2028", "ä😀", "\n"]

function value(random, depth) {
  const kind = random.below(depth > 3 ? 4 : 6)
  const many = (of) => Array.from({ length: random.below(4) }, of)
  if (kind === 0) return random.below(1000) - 500
  if (kind === 1) return [true, false, null][random.below(3)]
  if (kind <= 3) return many(() => TEXTS[random.below(TEXTS.length)]).join("")
  if (kind === 4) return many(() => value(random, depth + 1))
  return Object.fromEntries(many(() => [TEXTS[random.below(TEXTS.length)], value(random, depth + 1)]))
}

test(`the elements of ${ARRAYS} random arrays are found`, () => {
  const random = new Random(SEED)
  for (let at = 0; at < ARRAYS; at += 1) {
    const elements = Array.from({ length: random.below(5) }, () => value(random, 0))
    const texts = elements.map((element) => JSON.stringify(element))
    assert.deepEqual(elementsOf(`[${texts.join(",")}]`), texts, `SEED=${SEED}`)
  }
})

test("elements keep their digits", () => {
  assert.deepEqual(elementsOf("[12345678901234567890,1.50]"), ["12345678901234567890", "1.50"])
})

test("a read of text is divided after lines, and between characters", async () => {
  const line = `${"ä".repeat(5_000)}\n`
  const text = line.repeat(4) + "😀".repeat(20_000)
  const pieces = await piecesOf(new Response(text), "text", "0_0", 0)
  const texts = pieces.map(({ content }) => new TextDecoder("utf-8", { fatal: true }).decode(content))
  assert.equal(texts.join(""), text)
  assert.equal(texts[0], line)
  assert.ok(pieces.every(({ length }) => length <= PIECE_MAX_BYTES))
  // A part of a read that was shown before is left out.
  const [first, second] = pieces
  const rest = await piecesOf(new Response(text), "text", "0_0", first.length)
  assert.deepEqual(rest[0], second)
})

test("a message's place is its offset, without what does not matter", () => {
  const base = "0000000000000000_0000000000000042"
  assert.equal(placeOf({ base, skip: 3 }), "45")
  assert.equal(placeOf({ base: base.replace("0_", "7_"), skip: 0 }), "7_42")
})

test("content types have a kind", () => {
  const kinds = ["application/json; charset=utf-8", "Text/HTML", "application/x-ndjson", "image/png", ""].map(kindOf)
  assert.deepEqual(kinds, ["json", "text", "text", "bytes", "bytes"])
})

const MESSAGE = '{"a":{"b":["x",10],"c d":null},"text":"Hello"}'

for (const [filter, expected] of [
  ["hello", true],
  ["goodbye", false],
  ['$.a.b[0] = "x"', true],
  ['$.a.b[0] != "x"', false],
  ["$.a.b[1] >= 10", true],
  ["$.a.b[1] < 10", false],
  ["$.a.b[1] > 9.5", true],
  ['$.a.b[1] > "9"', false],
  ['$.a["c d"] = null', true],
  ['$.a.b = ["x", 10]', true],
  ["$.a", true],
  ["$.missing", false],
  ["$.toString", false],
  ["$.missing = null", false],
  ['$.text ~ "ell"', true],
  ["$.a.b.length = 2", true],
]) {
  test(`the filter ${filter} ${expected ? "matches" : "does not match"}`, () => {
    assert.equal(filterOf(filter)?.(MESSAGE), expected)
  })
}

test("a filter that cannot be read says what to write", () => {
  for (const text of ["$.a.b[", "$.a = x", "$a", "$.a = ", "$..a"]) assert.throws(() => filterOf(text), FilterError, text)
  assert.equal(filterOf("  "), undefined)
  assert.equal(filterOf("$.a")?.("no JSON"), false)
})
