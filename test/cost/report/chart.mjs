// Draws the bills as an SVG: a bar for each number of readers, as long as the logarithm of its total, coloured by what
// the money pays for. Legible on light and dark backgrounds.

import { STYLE, escape } from "../../bench/report/chart.mjs"
import { dollars } from "./table.mjs"

const WIDTH = 760
const LABEL_X = 24
const BAR_X = 130
const BAR_MAX = 500
const BAR_HEIGHT = 16
const ROW = 22
const HEAD = 30
const TOP = 112

/** The meters in the chart. All others are too small to be visible. */
const PARTS = {
  workerRequests: { colour: "#2f81f7", name: "Worker requests" },
  workerCpuMs: { colour: "#d29922", name: "Worker CPU" },
  objectRequests: { colour: "#3fb950", name: "object requests" },
  objectGbSeconds: { colour: "#bc8cff", name: "active objects" },
  rowsWritten: { colour: "#f778ba", name: "rows written" },
}
const REST = { colour: "#8b949e", name: "the rest" }

/** The axis begins at ten cents and ends at the power of ten above the largest total. */
const LEAST = 0.1

/** @param {ReturnType<typeof import("../results.mjs").resultsOf>} results */
export function svg({ scenarios, date }) {
  const totals = scenarios.flatMap(({ projections }) => projections.map(({ bill }) => bill.total))
  const decades = Math.ceil(Math.log10(Math.max(...totals, 1) / LEAST))
  const lengthOf = (value) => (BAR_MAX * Math.log10(Math.max(value, LEAST * 1.05) / LEAST)) / decades
  const parts = []
  let y = TOP
  for (const { title, projections } of scenarios) {
    parts.push(`<text class="case" x="${LABEL_X}" y="${y + 18}">${escape(title)}</text>`)
    y += HEAD
    for (const projection of projections) {
      parts.push(bar(projection, lengthOf(projection.bill.total), y))
      y += ROW
    }
    y += 6
  }
  // Drawn first, so that they are behind the bars.
  parts.unshift(legend(), axis(decades, y))
  const height = y + 52
  const note = `scaled from counts on one machine; ${date.slice(0, 10)}; † exceeds the limit of these objects`
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>What a month costs at list prices</title>
<style>${STYLE}
</style>
<rect class="panel" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="${LABEL_X}" y="32">What 30 days cost at list prices, by the number of readers</text>
<text class="quiet" x="${LABEL_X}" y="52">length: logarithm of the total; colours: shares of the total</text>
${parts.join("\n")}
<text class="quiet" x="${LABEL_X}" y="${height - 14}">${note}</text>
</svg>
`
}

function legend() {
  let x = LABEL_X
  return [...Object.values(PARTS), REST]
    .map(({ colour, name }) => {
      const sample = `<rect x="${x}" y="70" width="12" height="12" rx="2" fill="${colour}"/>`
      const text = `<text x="${x + 18}" y="81">${name}</text>`
      x += 36 + name.length * 7
      return sample + text
    })
    .join("")
}

/** @param {import("../results.mjs").Projection} projection */
function bar({ readers, beyond, bill }, length, y) {
  const shares = new Map()
  for (const { meter, extra, dollars: spent } of bill.lines) {
    if (extra) continue
    const part = PARTS[meter] ?? REST
    shares.set(part, (shares.get(part) ?? 0) + spent / bill.total)
  }
  let x = BAR_X
  const rects = [...shares].map(([{ colour }, share]) => {
    const size = `width="${(share * length).toFixed(1)}" height="${BAR_HEIGHT}"`
    const rect = `<rect x="${x.toFixed(1)}" y="${y}" ${size} fill="${colour}"/>`
    x += share * length
    return rect
  })
  const total = dollars(bill.total) + (beyond ? " †" : "")
  return [
    `<text x="${LABEL_X}" y="${y + 13}">${readers.toLocaleString("en")}</text>`,
    ...rects,
    `<text x="${(BAR_X + length + 10).toFixed(1)}" y="${y + 13}">${escape(total)}</text>`,
  ].join("")
}

function axis(decades, bottom) {
  const ticks = Array.from({ length: decades + 1 }, (_, index) => {
    const x = (BAR_X + (BAR_MAX * index) / decades).toFixed(1)
    const label = dollars(LEAST * 10 ** index).replace(".00", "")
    return [
      `<path class="whisker" opacity="0.15" d="M${x} ${TOP}V${bottom}"/>`,
      `<text class="quiet" text-anchor="middle" x="${x}" y="${bottom + 14}">${label}</text>`,
    ].join("")
  })
  return ticks.join("")
}
