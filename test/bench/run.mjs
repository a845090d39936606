// The benchmark, `pnpm bench`: builds the worker, measures it next to the floor and the reference server, and reports
// the results.

import { mkdirSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import build from "../build.mjs"
import { figuresOf } from "./figures/index.mjs"
import { USAGE, parse } from "./options.mjs"
import { svg } from "./report/chart.mjs"
import { resultsOf } from "./report/results.mjs"
import { footnote, markdown } from "./report/table.mjs"
import { measure } from "./rounds.mjs"
import { OURS } from "./targets/index.mjs"

const options = parsed(process.argv.slice(2))
const { plan, targets, measurements } = options
if (options.build) build()

const begin = performance.now()
const elapsed = () => `${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s`
console.log(`Measuring ${targets.map(({ name }) => name).join(", ")} (${plan.mode}) ...`)
const figures = figuresOf(measurements)
const tell = (line) => console.log(`${elapsed()}  ${line}`)
const measured = await measure({ targets, measurements, plan, tell })
const results = resultsOf(measured, figures, targets, plan)

mkdirSync(options.out, { recursive: true })
writeFileSync(join(options.out, "latest.json"), `${JSON.stringify(results, null, 2)}\n`)
for (const figure of results.figures) {
  if (figure.cases.length > 0) writeFileSync(join(options.out, `${figure.name}.svg`), svg(figure, results))
}
console.log(`\n${markdown(results)}\n\n${footnote(results)}\n`)
console.log(`${relative(process.cwd(), options.out) || "."}: wrote latest.json and one chart for each figure (${elapsed().trim()})`)

// `ours` must have a number for every figure. A server that the benchmark does not start has no process to inspect.
const ours = targets.some(({ name }) => name === OURS)
const empty = results.figures.filter(({ cases }) => ours && !cases.some(({ targets: cells }) => cells[OURS]))
for (const { name } of empty) measured.failures.push(`${name}: no result`)
for (const failure of measured.failures) console.error(failure)
console.log(`${results.figures.length - empty.length} passed, ${measured.failures.length} failed`)
process.exit(measured.failures.length > 0 ? 1 : 0)

/** The parsed options. Ends the process after `--help` or an error. @param {string[]} args */
function parsed(args) {
  try {
    const options = parse(args)
    if (!options.help) return options
    console.log(USAGE)
    process.exit()
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exit(2)
  }
}
