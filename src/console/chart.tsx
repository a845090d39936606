// The live chart: messages and bytes per second.

import { useEffect, useRef } from "preact/hooks"
import uPlot from "uplot"
import "uplot/dist/uPlot.min.css"
import { formatBytes, formatClock, formatCount } from "./format"
import type { RateMeter } from "./rates"

const HEIGHT_PX = 150
const REFRESH_MS = 1_000

const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

function optionsOf(width: number): uPlot.Options {
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } }
  const font = "11px system-ui, sans-serif"
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    scales: { messages: { range: (_, __, most) => [0, Math.max(most, 1)] }, bytes: { range: (_, __, most) => [0, Math.max(most, 1)] } },
    series: [
      {},
      { label: "messages/s", scale: "messages", stroke: () => colour("--accent"), width: 1.5, points: { show: false } },
      { label: "bytes/s", scale: "bytes", stroke: () => colour("--second"), width: 1.5, points: { show: false }, dash: [4, 3] },
    ],
    axes: [
      { ...axis, font, space: 80, values: (_, seconds) => seconds.map((second) => formatClock(second * 1000).slice(0, 8)) },
      { ...axis, font, scale: "messages", size: 44 },
      { ...axis, font, scale: "bytes", side: 1, size: 58, grid: { show: false }, values: (_, values) => values.map(formatBytes) },
    ],
  }
}

export function Chart({ rates }: { rates: RateMeter }) {
  const box = useRef<HTMLDivElement>(null)
  const text = useRef<HTMLParagraphElement>(null)
  useEffect(() => {
    const [frame, now] = [box.current, text.current]
    // The page may have changed before the effect runs.
    if (!frame || !now) return undefined
    const plot = new uPlot(optionsOf(frame.clientWidth), rates.series(), frame)
    const refresh = () => {
      const series = rates.series()
      plot.setData(series)
      now.textContent = `${formatCount(series[1].at(-1) ?? 0, "message")}/s, ${formatBytes(series[2].at(-1) ?? 0)}/s`
    }
    refresh()
    const timer = setInterval(refresh, REFRESH_MS)
    const resized = new ResizeObserver(([entry]) => plot.setSize({ width: entry!.contentRect.width, height: HEIGHT_PX }))
    resized.observe(frame)
    const scheme = matchMedia("(prefers-color-scheme: dark)")
    const redraw = () => plot.redraw()
    scheme.addEventListener("change", redraw)
    return () => {
      clearInterval(timer)
      resized.disconnect()
      scheme.removeEventListener("change", redraw)
      plot.destroy()
    }
  }, [rates])
  return (
    <figure class="chart" aria-label="Arriving messages and bytes per second">
      <figcaption>
        <span class="legend messages-line">messages/s</span>
        <span class="legend bytes-line">bytes/s</span>
        <span>time in UTC</span>
        <p ref={text} class="now" />
      </figcaption>
      <div ref={box} aria-hidden="true" />
    </figure>
  )
}
