// The bills as Markdown: one table of totals, which docs/cost.md shows, and one detailed table for each scenario.

import { short } from "../../bench/report/results.mjs"
import { PLAN_DOLLARS, prices } from "../prices.mjs"
import { READERS } from "../results.mjs"

const BEYOND = "†"

/** @param {ReturnType<typeof import("../results.mjs").resultsOf>} results */
export function totals({ scenarios }) {
  const heads = READERS.map((readers) => `${readers.toLocaleString("en")} readers`)
  return [
    row(["cost of 30 days", ...heads]),
    row(["---", ...heads.map(() => "---:")]),
    ...scenarios.map(({ title, mark = "", projections }) =>
      row([`${title} ${mark}`.trim(), ...projections.map(({ bill, beyond }) => dollars(bill.total) + (beyond ? ` ${BEYOND}` : ""))]),
    ),
  ].join("\n")
}

/** @param {import("../results.mjs").ScenarioResult} scenario */
export function details({ title, projections, measured }) {
  const bills = projections.map(({ bill }) => bill)
  const heads = projections.flatMap(({ readers, beyond }) => [
    `${readers.toLocaleString("en")} readers${beyond ? ` ${BEYOND}` : ""}`,
    "",
  ])
  const total = (name, of) => row([name, "", ...bills.flatMap((bill) => ["", dollars(of(bill))])])
  const item = (line, index) =>
    row([
      line.name,
      unitPrice(line.meter),
      ...bills.flatMap(({ lines }) => [amount(lines[index].quantity), dollars(lines[index].dollars)]),
    ])
  const lines = bills[0].lines.map((line, index) => ({ extra: line.extra, text: item(line, index) }))
  const texts = (extra) => lines.filter((line) => line.extra === extra).map(({ text }) => text)
  return [
    `**${title}** (measured with ${measured.map(({ readers }) => readers).join(" and ")} readers)\n`,
    row(["30 days", "list price", ...heads]),
    row(["---", "---:", ...heads.map(() => "---:")]),
    ...texts(false),
    total("**total at list prices**", (bill) => bill.total),
    total("included in the plan", (bill) => -bill.included),
    total(`amount due, with the plan's $${PLAN_DOLLARS}`, (bill) => bill.toPay),
    total("total if idle objects were billed until they hibernate", (bill) => bill.withIdle),
    ...texts(true).map((text) => text.replace("| ", "| not in the total: ")),
  ].join("\n")
}

/** @param {ReturnType<typeof import("../results.mjs").resultsOf>} results */
export function footnote({ date, commit, mode, windowSeconds, arrivalSeconds }) {
  return [
    `Measured (${mode}) for ${windowSeconds} s, after the readers had connected over ${arrivalSeconds} s, ${date.slice(0, 10)},`,
    `commit ${commit}.`,
    `${BEYOND} This load exceeds the limit of the scenario's objects; the same readers on more streams cost the same.`,
    "‡ The cost of the cache itself is not included.",
  ].join(" ")
}

/** @param {string[]} cells */
export const row = (cells) => `| ${cells.join(" | ")} |`

function unitPrice(meter) {
  const { dollars, per } = prices[meter]
  return `$${dollars} per ${per === 1e6 ? "million" : per}`
}

/** @param {number} value */
export function dollars(value) {
  const sign = value < 0 ? "-" : ""
  const size = Math.abs(value)
  if (size >= 100) return `${sign}$${Math.round(size).toLocaleString("en")}`
  return size === 0 ? "$0" : size < 0.005 ? `${sign}<$0.01` : `${sign}$${size.toFixed(2)}`
}

/** @param {number} value */
function amount(value) {
  if (value >= 1e9) return `${short(value / 1e9)} G`
  if (value >= 1e6) return `${short(value / 1e6)} M`
  if (value >= 1e3) return `${short(value / 1e3)} k`
  return value === 0 ? "0" : short(value)
}
