// The bill: `pnpm cost`. Builds the worker that counts, runs the workload in small, and says what it costs in large.

import { mkdirSync, writeFileSync } from "node:fs"
import { execFileSync } from "node:child_process"
import { join, relative } from "node:path"
import { parseArgs } from "node:util"
import { measure } from "./measure.mjs"
import { svg } from "./report/chart.mjs"
import { details, footnote, totals } from "./report/table.mjs"
import { resultsOf } from "./results.mjs"
import { plans } from "./workload.mjs"

const USAGE = `pnpm cost [options]
  --tiny          a few seconds: only shows that everything runs and that the counts are sane
  --out <folder>  where the JSON, the tables and the chart go
  --no-build      measure the counting build that is there`

const options = understood(process.argv.slice(2))
const { plan } = options
if (options.build) {
  execFileSync("node", [join(import.meta.dirname, "../../tools/build.mjs"), "--counters"], { stdio: "inherit" })
}

const begin = performance.now()
const elapsed = () => `${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s`
const runSeconds = (plan.baselineMs + plan.arrivalMs + plan.settleMs + plan.windowMs) / 1000
console.log(`Counting what ${plan.scenarios.length} scenarios cost (${plan.mode}), side by side, in ${runSeconds} s ...`)

const failures = []
const measured = new Map()
// Each is a process of its own and mostly waits, so all of them run at the same time.
await Promise.all(plan.scenarios.map(measureBoth))
const inOrder = new Map(plan.scenarios.filter((one) => measured.has(one)).map((one) => [one, measured.get(one)]))
const results = resultsOf(inOrder, plan)

const summary = `${totals(results)}\n\n${footnote(results)}\n`
const text = [...results.scenarios.map(details), summary].join("\n\n")
mkdirSync(options.out, { recursive: true })
writeFileSync(join(options.out, "latest.json"), `${JSON.stringify(results, null, 2)}\n`)
writeFileSync(join(options.out, "bill.md"), text)
if (results.scenarios.length > 0) writeFileSync(join(options.out, "bill.svg"), svg(results))
console.log(`\n${text}`)
console.log(`${relative(process.cwd(), options.out) || "."}: latest.json, bill.md, bill.svg (${elapsed().trim()})`)
for (const failure of failures) console.error(failure)
console.log(`${inOrder.size} passed, ${failures.length} failed`)
process.exit(failures.length > 0 ? 1 : 0)

/** One scenario at its two numbers of readers. @param {import("./workload.mjs").Scenario} scenario */
async function measureBoth(scenario) {
  try {
    const points = await Promise.all(
      scenario.readers.map(async (readers) => {
        const point = await measure(scenario, readers, plan)
        console.log(`${elapsed()}  ${scenario.name}  ${readers} readers  ${told(point)}`)
        return point
      }),
    )
    measured.set(scenario, points)
  } catch (error) {
    failures.push(`${scenario.name}: ${error.message}`)
    console.log(`${elapsed()}  ${scenario.name}  FAILED: ${error.message}`)
  }
}

/** @param {import("./measure.mjs").Measured} point */
function told({ seconds, appends, reconnects, timeouts, counts }) {
  const perSecond = (name) => (counts[name] / seconds).toFixed(2)
  return [
    `${appends} appends`,
    reconnects > 0 ? `${reconnects.toFixed(2)} reconnects` : `${timeouts} timeouts`,
    `each second ${perSecond("worker_requests")} Worker requests, ${perSecond("object_requests")} object requests`,
    `${perSecond("rows_written")} rows written, ${perSecond("cpu_ms")} ms CPU`,
  ].join(", ")
}

/** The options; ends the process if there is nothing to measure. @param {string[]} args */
function understood(args) {
  const known = { tiny: "boolean", out: "string", "no-build": "boolean", help: "boolean" }
  try {
    const { values } = parseArgs({
      args,
      options: Object.fromEntries(Object.entries(known).map(([name, type]) => [name, { type }])),
    })
    const plan = plans[values.tiny ? "tiny" : "full"]
    // Only a whole run may replace what docs/cost.md shows.
    const out = values.out ?? join(import.meta.dirname, "results", values.tiny ? "tiny" : "")
    if (!values.help) return { plan, out, build: !values["no-build"] }
    console.log(USAGE)
    process.exit()
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exit(2)
  }
}
