// The command line of the benchmark, and how much each mode measures.

import { existsSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { measurements } from "./figures/index.mjs"
import { built, external, targets } from "./targets/index.mjs"

export const USAGE = `pnpm bench [options]
  --quick               finish in under two minutes, with less precision
  --tiny                finish in a few seconds; only checks that everything runs
  --rounds <n>          measure each figure in this many rounds
  --figures <a,b>       measure only these: ${[...new Set(measurements.map(({ group }) => group))].join(", ")}
  --targets <a,b>       measure only these: ${targets.map(({ name }) => name).join(", ")}
  --target <name>=<url> also measure this server; <url> is the prefix of its streams' URLs; may be repeated
  --compare <name>=<folder>
                        also measure the build in this folder, such as one of an earlier commit; may be repeated
  --out <folder>        write the JSON file and the charts to this folder
  --no-build            measure the existing build`

/**
 * @typedef {object} Plan
 * @property {string} mode
 * @property {number} rounds
 * @property {number} appendingMs time that each fresh process appends before it is measured
 * @property {number} readingMs time that it reads before it is measured
 * @property {number} warmUpMs warm-up of each closed loop
 * @property {number} windowMs measured time of each closed loop
 * @property {number} catchUpBytes
 * @property {number} catchUpMs
 * @property {{ readers: number, events: number }[]} longPoll
 * @property {{ readers: number, events: number }[]} sse
 * @property {number} cpuEvents fewest deliveries for which CPU time is reported, because the clock's tick is 10 ms
 * @property {number} starts processes started for each number
 * @property {number} streams
 * @property {number} timeoutMs limit for one measurement of one target
 */

/** @type {Record<string, Plan>} */
const plans = {
  full: {
    mode: "full",
    rounds: 5,
    appendingMs: 8000,
    readingMs: 6000,
    warmUpMs: 300,
    windowMs: 1000,
    catchUpBytes: 10e6,
    catchUpMs: 1000,
    longPoll: [
      { readers: 1, events: 30 },
      { readers: 100, events: 10 },
      { readers: 1000, events: 5 },
    ],
    sse: [
      { readers: 1, events: 100 },
      { readers: 100, events: 60 },
      { readers: 1000, events: 15 },
      { readers: 3000, events: 6 },
    ],
    cpuEvents: 5000,
    starts: 5,
    streams: 1000,
    timeoutMs: 120_000,
  },
  quick: {
    mode: "quick",
    rounds: 1,
    appendingMs: 800,
    readingMs: 800,
    warmUpMs: 100,
    windowMs: 250,
    catchUpBytes: 10e6,
    catchUpMs: 200,
    longPoll: [
      { readers: 1, events: 10 },
      { readers: 100, events: 4 },
      { readers: 1000, events: 2 },
    ],
    sse: [
      { readers: 1, events: 20 },
      { readers: 100, events: 50 },
      { readers: 1000, events: 5 },
      { readers: 3000, events: 2 },
    ],
    cpuEvents: 5000,
    starts: 3,
    streams: 300,
    timeoutMs: 60_000,
  },
  tiny: {
    mode: "tiny",
    rounds: 1,
    appendingMs: 40,
    readingMs: 0,
    warmUpMs: 20,
    windowMs: 60,
    catchUpBytes: 2e6,
    catchUpMs: 0,
    longPoll: [{ readers: 5, events: 1 }],
    sse: [{ readers: 10, events: 5 }],
    cpuEvents: 0,
    starts: 1,
    streams: 32,
    timeoutMs: 30_000,
  },
}

/** @param {string[]} args */
export function parse(args) {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean" },
      tiny: { type: "boolean" },
      rounds: { type: "string" },
      figures: { type: "string" },
      targets: { type: "string" },
      target: { type: "string", multiple: true, default: [] },
      compare: { type: "string", multiple: true, default: [] },
      out: { type: "string" },
      "no-build": { type: "boolean" },
      help: { type: "boolean" },
    },
  })
  const plan = { ...plans[values.tiny ? "tiny" : values.quick ? "quick" : "full"] }
  if (values.rounds) plan.rounds = Number(values.rounds)
  if (!(plan.rounds >= 1)) throw new Error("--rounds must be a number, at least 1")
  const running = named("--target", values.target).map(({ name, value }) => external(name, value))
  const more = [...running, ...named("--compare", values.compare).map(existing)]
  // Only a complete run may replace the charts that docs/performance.md shows.
  const whole = plan.mode === "full" && !values.figures && !values.targets && more.length === 0
  return {
    help: values.help ?? false,
    build: !values["no-build"],
    plan,
    measurements: choose(measurements, values.figures, ({ name, group }) => [name, group]),
    targets: [...choose(targets, values.targets, ({ name }) => [name]), ...more],
    out: values.out ?? join(import.meta.dirname, "results", whole ? "" : plan.mode === "full" ? "part" : plan.mode),
  }
}

/** The items that were named, or all if no names were given. */
function choose(list, given, namesOf) {
  if (given === undefined) return list
  const wanted = given.split(",")
  const known = [...new Set(list.flatMap(namesOf))]
  const unknown = wanted.filter((name) => !known.includes(name))
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(", ")}; choose from ${known.join(", ")}`)
  return list.filter((one) => namesOf(one).some((name) => wanted.includes(name)))
}

/** The `<name>=<value>` of an option. @param {string} option @param {string[]} texts */
function named(option, texts) {
  return texts.map((text) => {
    const at = text.indexOf("=")
    if (at < 1) throw new Error(`${option} ${text}: must be <name>=<value>`)
    return { name: text.slice(0, at), value: text.slice(at + 1) }
  })
}

/** The target of a folder that must have a build. */
function existing({ name, value }) {
  const target = built(name, value)
  const missing = target.files.find((file) => !existsSync(file))
  if (missing) throw new Error(`--compare ${name}: ${missing} does not exist`)
  return target
}
