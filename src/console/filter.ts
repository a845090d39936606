// The filter of messages: a part of their text, or a comparison of a value at a JSON path.

/** Whether a message matches, by its text. */
export type Filter = (text: string) => boolean

const COMPARISON = /^(\$(?:\.[\w-]+|\[\d+\]|\["[^"]*"\])*)\s*(?:(=|!=|<=|>=|<|>|~)\s*(.+))?$/u
const STEP = /\.([\w-]+)|\[(\d+)\]|\["([^"]*)"\]/gu

/** Thrown for a filter that cannot be read. */
export class FilterError extends Error {}

/**
 * Reads a filter. A text that begins with `$` is a path, alone or compared with a JSON value: `$.a.b[0] = "x"`. Every other text
 * is searched for, in upper and lower case alike.
 */
export function filterOf(text: string): Filter | undefined {
  const trimmed = text.trim()
  if (trimmed === "") return undefined
  if (!trimmed.startsWith("$")) {
    const wanted = trimmed.toLowerCase()
    return (message) => message.toLowerCase().includes(wanted)
  }
  const parts = COMPARISON.exec(trimmed)
  if (!parts) throw new FilterError('Write a path like $.a.b[0], alone or compared: $.a.b[0] = "x".')
  const [, path, operator, operand] = parts
  const steps = [...path!.matchAll(STEP)].map(([, name, index, quoted]) => name ?? quoted ?? Number(index))
  const holds = operator === undefined ? (value: unknown) => value !== undefined : comparison(operator, operand!)
  return (message) => {
    try {
      return holds(valueAt(JSON.parse(message), steps))
    } catch {
      return false
    }
  }
}

function valueAt(value: unknown, steps: (string | number)[]) {
  let found = value
  for (const step of steps) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, step)) return undefined
    found = (found as Record<string | number, unknown>)[step]
  }
  return found
}

function comparison(operator: string, operand: string): (value: unknown) => boolean {
  const wanted = operandOf(operand)
  const same = JSON.stringify(wanted)
  const isLess = (one: unknown, other: unknown) => typeof one === typeof other && (one as number) < (other as number)
  switch (operator) {
    case "=":
      return (value) => value !== undefined && JSON.stringify(value) === same
    case "!=":
      return (value) => value === undefined || JSON.stringify(value) !== same
    case "<":
      return (value) => isLess(value, wanted)
    case ">":
      return (value) => isLess(wanted, value)
    case "<=":
      return (value) => typeof value === typeof wanted && !isLess(wanted, value)
    case ">=":
      return (value) => typeof value === typeof wanted && !isLess(value, wanted)
    default:
      return (value) => typeof value === "string" && value.includes(`${wanted}`)
  }
}

function operandOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new FilterError(`${text} is not JSON: write a text in quotes, such as "x".`)
  }
}
