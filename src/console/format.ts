// Numbers, times and sizes as text.

const numbers = new Intl.NumberFormat("en")

export const formatNumber = (value: number) => numbers.format(value)

/** A number with its noun. */
export const formatCount = (count: number, noun: string) => `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`

export function formatBytes(bytes: number) {
  if (bytes < 1000) return `${bytes} B`
  const units = ["kB", "MB", "GB", "TB"]
  let value = bytes
  let unit = -1
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${value.toPrecision(3)} ${units[unit]}`
}

/** The time of day in UTC, with milliseconds. */
export const formatClock = (millis: number) => new Date(millis).toISOString().slice(11, 23)

/** The date and the time of day in UTC. */
export const formatUtc = (millis: number) => new Date(millis).toISOString().replace("T", " ").replace(/\.\d+Z$/u, " UTC")

const TIME = /^(\d{4}-\d\d-\d\d)[T ]+(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(UTC|Z|[+-]\d\d:\d\d)?$/iu

/** Reads a time as RFC 3339, or as `formatUtc` writes it. It is in UTC unless it has an offset. */
export function timeOf(text: string) {
  const [, date, clock, zone = "Z"] = TIME.exec(text.trim()) ?? []
  const millis = Date.parse(`${date}T${clock}${zone.toUpperCase() === "UTC" ? "Z" : zone}`)
  if (Number.isNaN(millis)) throw new Error(`Write the time like ${formatUtc(Date.now())}.`)
  return new Date(millis).toISOString()
}

/** The time in UTC, and how long ago it was or how soon it will be. */
export function formatTime(millis: number, now = Date.now()) {
  return `${formatUtc(millis)} (${formatAge(millis, now)})`
}

export function formatAge(millis: number, now = Date.now()) {
  const seconds = Math.round(Math.abs(now - millis) / 1000)
  const text = formatDuration(seconds)
  return millis <= now ? `${text} ago` : `in ${text}`
}

export function formatDuration(seconds: number) {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} days`
}

/** The first line of a text, up to a length. */
export function previewOf(text: string, length: number) {
  const start = text.slice(0, length).replaceAll(/[\r\n\t]+/gu, " ")
  return text.length > length ? `${start}…` : start
}
