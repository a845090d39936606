// The bill of a million wakes as a Markdown table, which docs/cost.md shows.

import { OBJECT_GB, prices } from "../prices.mjs"
import { billOfMillion } from "../wakes.mjs"
import { dollars, row } from "./table.mjs"

/** @param {import("../wakes.mjs").CountedEvents[]} counted */
export function wakesTable(counted) {
  const heads = ["a million times", "Worker requests", "object requests", "alarms set, rung", "rows written", "rows read"]
  const seconds = (0.1 * OBJECT_GB * prices.objectGbSeconds.dollars) / prices.objectGbSeconds.per
  return [
    row([...heads, "CPU", "object time", "in all"]),
    row(["---", ...Array(8).fill("---:")]),
    ...counted.map(line),
    "",
    "Counts are of one event, and `rows written` are without alarms. The price of object time is that of this machine:",
    `each 100 ms for which a webhook keeps its delivery waiting are another ${dollars(seconds * 1e6)} a million.`,
  ].join("\n")
}

/** @param {import("../wakes.mjs").CountedEvents} counted */
function line(counted) {
  const { title, events, counts } = counted
  const each = (name) => String(Number((counts[name] / events).toFixed(2)))
  const { lines, total } = billOfMillion(counted)
  const priceOf = (meter) => dollars(lines.filter((one) => one.meter === meter && !one.extra).reduce((sum, one) => sum + one.dollars, 0))
  return row([
    title,
    each("worker_requests"),
    each("object_requests"),
    `${each("alarms_set")}, ${each("alarms_rung")}`,
    each("rows_written"),
    each("rows_read"),
    priceOf("workerCpuMs"),
    priceOf("objectGbSeconds"),
    `**${dollars(total)}**`,
  ])
}
