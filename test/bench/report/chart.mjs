// Draws one figure as an SVG: for each target a bar for the median and a whisker from minimum to maximum, legible on
// light and dark backgrounds.

import { short } from "./results.mjs"

const WIDTH = 760
const LABEL_X = 24
const BAR_X = 130
const BAR_MAX = 420
const BAR_HEIGHT = 16
const ROW = 22
const CASE_HEAD = 30
const TOP = 62

/** Colours of the targets, in order. They also differ in lightness, for readers who do not see hues. */
const COLOURS = { floor: "#8b949e", ours: "#2f81f7", reference: "#d29922" }
const OTHER_COLOURS = ["#3fb950", "#bc8cff", "#f778ba"]

export const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .case { font-weight: 600 }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .panel { fill: #ffffff; stroke: #d1d9e0 }
  .whisker { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .panel { fill: #0d1117; stroke: #3d444d }
    .whisker { stroke: #f0f6fc }
  }`

/** @param {import("./results.mjs").FigureResult} figure @param {{ date: string, rounds: number }} run */
export function svg(figure, run) {
  const parts = []
  let y = TOP
  for (const { name, targets } of figure.cases) {
    const cells = Object.entries(targets)
    const scale = BAR_MAX / Math.max(...cells.map(([, cell]) => cell.max))
    parts.push(`<text class="case" x="${LABEL_X}" y="${y + 18}">${escape(name)}</text>`)
    y += CASE_HEAD
    for (const [target, cell] of cells) {
      parts.push(bar(target, cell, scale, y))
      y += ROW
    }
    y += 6
  }
  const height = y + 32
  const better = figure.better === "lower" ? "shorter is better" : "longer is better"
  const rounds = run.rounds === 1 ? "1 round" : `${run.rounds} rounds`
  const note = `bar: median, whisker: min to max, of ${rounds}; each group has its own scale; ${run.date.slice(0, 10)}`
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>${escape(figure.title)}</title>
<style>${STYLE}
</style>
<rect class="panel" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="${LABEL_X}" y="32">${escape(figure.title)}</text>
<text class="quiet" x="${LABEL_X}" y="52">${escape(figure.unit)}; ${better}</text>
${parts.join("\n")}
<text class="quiet" x="${LABEL_X}" y="${height - 16}">${note}</text>
</svg>
`
}

/** @param {import("./results.mjs").Cell} cell */
function bar(target, cell, scale, y) {
  const to = (value) => (BAR_X + value * scale).toFixed(1)
  const middle = y + BAR_HEIGHT / 2
  const width = Math.max(1, cell.median * scale).toFixed(1)
  const end = (value) => `M${to(value)} ${middle - 4}v8`
  const whisker = `M${to(cell.min)} ${middle}H${to(cell.max)}${end(cell.min)}${end(cell.max)}`
  const ratio = cell.ratio ? ` (${cell.ratio.median.toFixed(2)} × floor)` : ""
  return [
    `<text x="${LABEL_X}" y="${y + 13}">${escape(target)}</text>`,
    `<rect x="${BAR_X}" y="${y}" width="${width}" height="${BAR_HEIGHT}" rx="2" fill="${colour(target)}"/>`,
    cell.max > cell.min ? `<path class="whisker" d="${whisker}"/>` : "",
    `<text x="${Number(to(cell.max)) + 10}" y="${y + 13}">${short(cell.median)}`,
    `<tspan class="quiet">${ratio}</tspan></text>`,
  ].join("")
}

/** @type {Map<string, string>} */
const others = new Map()

function colour(target) {
  if (COLOURS[target]) return COLOURS[target]
  if (!others.has(target)) others.set(target, OTHER_COLOURS[others.size % OTHER_COLOURS.length])
  return others.get(target)
}

export function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}
