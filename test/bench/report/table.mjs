// The results as a Markdown table: each target's median, and its ratio to the floor.

import { FLOOR } from "../targets/index.mjs"
import { short } from "./results.mjs"

export function markdown(results) {
  const { targets } = results
  const compared = targets.includes(FLOOR) ? targets.filter((name) => name !== FLOOR) : []
  const lines = [
    row(["figure", "case", "unit", ...targets, ...compared.map((name) => `${name} ÷ floor`)]),
    row(["---", "---", "---", ...targets.map(() => "---:"), ...compared.map(() => "---:")]),
  ]
  for (const figure of results.figures) {
    figure.cases.forEach(({ name, targets: cells }, index) => {
      lines.push(
        row([
          index === 0 ? figure.title : "",
          name,
          `${figure.unit} ${figure.better === "lower" ? "↓" : "↑"}`,
          ...targets.map((target) => value(cells[target])),
          ...compared.map((target) => ratio(cells[target])),
        ]),
      )
    })
  }
  return lines.join("\n")
}

export function footnote({ date, commit, mode, rounds, machine }) {
  return (
    `Medians of ${rounds} ${rounds === 1 ? "round" : "rounds"} (${mode}), ${date.slice(0, 10)}, commit ${commit}; ` +
    `each ratio is the median (min to max) of the ratios within each round. ` +
    `↓ lower is better, ↑ higher is better. ${machine.cpu}, workerd ${machine.workerd}, Node ${machine.node}, ${machine.reference}.`
  )
}

const row = (cells) => `| ${cells.join(" | ")} |`

const value = (cell) => (cell ? short(cell.median) : "–")

const ratio = (cell) => {
  if (!cell?.ratio) return "–"
  const { min, median, max } = cell.ratio
  return min === max ? median.toFixed(2) : `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`
}
