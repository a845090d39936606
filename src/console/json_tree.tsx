// A JSON value as a tree that folds. Only what is unfolded is rendered.

import { useState } from "preact/hooks"

/** How many children of one value are rendered at once. */
export const CHILDREN_STEP = 100
/** The depth up to which a tree is unfolded at first. */
const OPEN_DEPTH = 2
/** How much of a string is rendered at first. */
const STRING_MAX_CHARS = 2_000

/** A number with more digits than JavaScript's numbers have. */
class ExactNumber {
  constructor(readonly source: string) {}
}

/** Parses JSON. Large numbers keep all their digits where the browser can. */
export function parseExactly(text: string): unknown {
  if (!/\d{16}/u.test(text)) return JSON.parse(text)
  try {
    return JSON.parse(text, (_, value: unknown, context?: { source?: string }) => {
      const source = context?.source
      return typeof value === "number" && source && source !== `${value}` ? new ExactNumber(source) : value
    })
  } catch (error) {
    // The reviver recurses, so a deep value may exhaust the stack.
    if (error instanceof RangeError) return JSON.parse(text)
    throw error
  }
}

export function JsonTree({ text }: { text: string }) {
  let value: unknown
  try {
    value = parseExactly(text)
  } catch (error) {
    return <p class="note">This is not JSON: {`${error instanceof Error ? error.message : error}`}</p>
  }
  return (
    <ul class="tree">
      <Node value={value} depth={0} />
    </ul>
  )
}

interface NodeProps {
  name?: string
  value: unknown
  depth: number
}

function Node({ name, value, depth }: NodeProps) {
  const label = name === undefined ? null : <span class="key">{name}: </span>
  if (typeof value !== "object" || value === null || value instanceof ExactNumber) {
    return (
      <li>
        {label}
        <Leaf value={value} />
      </li>
    )
  }
  return <Branch name={name} value={value as Record<string, unknown>} depth={depth} />
}

function Branch({ name, value, depth }: NodeProps & { value: object }) {
  const [isOpen, setOpen] = useState(depth < OPEN_DEPTH)
  const [shown, setShown] = useState(CHILDREN_STEP)
  const isArray = Array.isArray(value)
  const keys = Object.keys(value)
  const count = isArray ? `[${keys.length}]` : `{${keys.length}}`
  return (
    <li>
      <button type="button" class="fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span class="marker" aria-hidden="true">
          {isOpen ? "▾" : "▸"}
        </span>
        {name === undefined ? null : <span class="key">{name} </span>}
        <span class="count">{count}</span>
      </button>
      {isOpen && (
        <ul>
          {keys.slice(0, shown).map((key) => (
            <Node key={key} name={key} value={(value as Record<string, unknown>)[key]} depth={depth + 1} />
          ))}
          {keys.length > shown && (
            <li>
              <button type="button" class="link" onClick={() => setShown(shown + CHILDREN_STEP)}>
                Show {Math.min(CHILDREN_STEP, keys.length - shown)} more of {keys.length}
              </button>
            </li>
          )}
        </ul>
      )}
    </li>
  )
}

function Leaf({ value }: { value: unknown }) {
  if (value instanceof ExactNumber) return <span class="number">{value.source}</span>
  if (typeof value !== "string") return <span class={value === null ? "null" : typeof value}>{`${value}`}</span>
  const text = value.length > STRING_MAX_CHARS ? `${value.slice(0, STRING_MAX_CHARS)}…` : value
  return <span class="string">{JSON.stringify(text)}</span>
}
