// Numbers, times and sizes as text.

const numbers = new Intl.NumberFormat("en")

export const formatNumber = (value: number) => numbers.format(value)

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

const two = (value: number, length = 2) => `${value}`.padStart(length, "0")

/** The local time of day, with milliseconds. */
export function formatClock(millis: number) {
  const time = new Date(millis)
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${two(time.getMilliseconds(), 3)}`
}

/** The time in UTC, and how long ago it was or how soon it will be. */
export function formatTime(millis: number, now = Date.now()) {
  return `${new Date(millis).toISOString().replace("T", " ").replace(/\.\d+Z$/u, " UTC")} (${formatAge(millis, now)})`
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
