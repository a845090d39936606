// The bill, `pnpm cost`: builds a worker that counts, measures a small workload, and calculates what a large one costs.

import { mkdirSync, writeFileSync } from "node:fs"
import { execFileSync } from "node:child_process"
import { join, relative } from "node:path"
import { parseArgs } from "node:util"
import { measure } from "./measure.mjs"
import { svg } from "./report/chart.mjs"
import { details, footnote, totals } from "./report/table.mjs"
import { wakesTable } from "./report/wakes.mjs"
import { resultsOf } from "./results.mjs"
import { countQuietAppends, countWakes, kinds } from "./wakes.mjs"
import { plans } from "./workload.mjs"

const USAGE = `pnpm cost [options]
  --tiny          finish in a few seconds; only checks that everything runs and that the counts are plausible
  --only <name>   measure only the scenarios whose names begin with this, such as one-sse or wakes
  --out <folder>  write the JSON file, the tables and the chart to this folder
  --no-build      measure the existing counting build`

/** The name of the wakes of subscriptions, for `--only`. */
const WAKES = "wakes"

const options = parsed(process.argv.slice(2))
const { plan } = options
if (options.build) {
  execFileSync("node", [join(import.meta.dirname, "../../tools/build.mjs"), "--counters"], { stdio: "inherit" })
}

const begin = performance.now()
const elapsed = () => `${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s`
const isChosen = (name) => name.startsWith(options.only)
const scenarios = plan.scenarios.filter(({ name }) => isChosen(name))
const runSeconds = (plan.baselineMs + plan.arrivalMs + plan.settleMs + plan.windowMs) / 1000
console.log(`Measuring ${scenarios.length} scenarios (${plan.mode}) at the same time, which takes ${runSeconds} s ...`)

const failures = []
const measured = new Map()
// Each scenario is a process of its own that mostly waits, so all of them run at the same time.
const [wakes] = await Promise.all([isChosen(WAKES) ? countAllWakes() : [], ...scenarios.map(measureBoth)])
const inOrder = new Map(scenarios.filter((one) => measured.has(one)).map((one) => [one, measured.get(one)]))
const results = { ...resultsOf(inOrder, plan), wakes }

const overview = `${totals(results)}\n\n${footnote(results)}\n`
const text = [...results.scenarios.map(details), ...(wakes.length > 0 ? [wakesTable(wakes)] : []), overview].join("\n\n")
mkdirSync(options.out, { recursive: true })
writeFileSync(join(options.out, "latest.json"), `${JSON.stringify(results, null, 2)}\n`)
writeFileSync(join(options.out, "bill.md"), text)
if (results.scenarios.length > 0) writeFileSync(join(options.out, "bill.svg"), svg(results))
console.log(`\n${text}`)
console.log(`${relative(process.cwd(), options.out) || "."}: wrote latest.json, bill.md and bill.svg (${elapsed().trim()})`)
for (const failure of failures) console.error(failure)
console.log(`${inOrder.size + wakes.length} passed, ${failures.length} failed`)
process.exit(failures.length > 0 ? 1 : 0)

/** Measures one scenario with its two numbers of readers. @param {import("./workload.mjs").Scenario} scenario */
async function measureBoth(scenario) {
  try {
    const points = await Promise.all(
      scenario.readers.map(async (readers) => {
        const point = await measure(scenario, readers, plan)
        console.log(`${elapsed()}  ${scenario.name}  ${readers} readers  ${summary(point)}`)
        return point
      }),
    )
    measured.set(scenario, points)
  } catch (error) {
    failures.push(`${scenario.name}: ${error.message}`)
    console.log(`${elapsed()}  ${scenario.name}  FAILED: ${error.message}`)
  }
}

/** Counts every kind of wake, in servers of their own at the same time. */
async function countAllWakes() {
  const counts = [...kinds.map((kind) => () => countWakes(kind, plan)), () => countQuietAppends(plan)]
  const counted = await Promise.all(
    counts.map(async (count) => {
      try {
        return await count()
      } catch (error) {
        failures.push(`${WAKES}: ${error.message}`)
        console.log(`${elapsed()}  ${WAKES}  FAILED: ${error.message}`)
        return []
      }
    }),
  )
  console.log(`${elapsed()}  ${WAKES}  ${counted.flat().length} kinds counted`)
  return counted.flat()
}

/** @param {import("./measure.mjs").Measured} point */
function summary({ seconds, appends, reconnects, timeouts, counts }) {
  const perSecond = (name) => (counts[name] / seconds).toFixed(2)
  return [
    `${appends} appends`,
    reconnects > 0 ? `${reconnects.toFixed(2)} reconnects` : `${timeouts} timeouts`,
    `per second ${perSecond("worker_requests")} Worker requests, ${perSecond("object_requests")} object requests`,
    `${perSecond("rows_written")} rows written, ${perSecond("cpu_ms")} ms CPU`,
  ].join(", ")
}

/** The parsed options. Ends the process after `--help` or an error. @param {string[]} args */
function parsed(args) {
  const known = { tiny: "boolean", only: "string", out: "string", "no-build": "boolean", help: "boolean" }
  try {
    const { values } = parseArgs({
      args,
      options: Object.fromEntries(Object.entries(known).map(([name, type]) => [name, { type }])),
    })
    const { tiny, only = "" } = values
    const plan = plans[tiny ? "tiny" : "full"]
    // Only a complete run may replace the results that docs/cost.md shows.
    const out = values.out ?? join(import.meta.dirname, "results", tiny ? "tiny" : only ? "part" : "")
    if (![WAKES, ...plan.scenarios.map(({ name }) => name)].some((name) => name.startsWith(only))) {
      throw new Error(`no scenario's name begins with ${only}`)
    }
    if (!values.help) return { plan, out, only, build: !values["no-build"] }
    console.log(USAGE)
    process.exit()
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exit(2)
  }
}
