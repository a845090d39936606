// Where a view of messages begins: the end, the start, an offset, a number of messages before the end, or a time.

import { useState } from "preact/hooks"
import { FIRST_MESSAGES, type Reader, type Start } from "./reader"

type From = Start["from"] | "end"

const LABELS: Record<From, string> = {
  end: "End",
  start: "Start",
  last: "n before the end",
  offset: "Offset",
  time: "Time",
}

const FIELDS: Partial<Record<From, { label: string; placeholder: string }>> = {
  last: { label: "Number of messages before the end", placeholder: "1000" },
  offset: { label: "Offset", placeholder: "0000000000000000_0000000000000042" },
  time: { label: "Time (RFC 3339)", placeholder: "2026-12-01T09:30:00Z" },
}

/** The start that the form describes. `undefined` if a value is missing. */
export function startOf(from: From, value: string): Start | undefined {
  const text = value.trim()
  switch (from) {
    case "end":
      return { from: "last", count: FIRST_MESSAGES }
    case "start":
      return { from: "start" }
    case "last":
      return /^\d+$/u.test(text) ? { from: "last", count: Number(text) } : undefined
    case "offset":
      return text === "" ? undefined : { from: "offset", offset: text }
    case "time":
      return text === "" ? undefined : { from: "time", at: text }
  }
}

/** The choice of a place, and the field for its value. */
export function StartFields({ from, value, onFrom, onValue }: {
  from: From
  value: string
  onFrom: (from: From) => void
  onValue: (value: string) => void
}) {
  const field = FIELDS[from]
  return (
    <>
      <select aria-label="Begin at" value={from} onChange={(event) => onFrom(event.currentTarget.value as From)}>
        {Object.entries(LABELS).map(([name, label]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
      {field && (
        <input
          aria-label={field.label}
          placeholder={field.placeholder}
          value={value}
          spellcheck={false}
          autocomplete="off"
          required
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </>
  )
}

export function JumpForm({ reader }: { reader: Reader }) {
  const [from, setFrom] = useState<From>("end")
  const [value, setValue] = useState("")
  const choose = (chosen: From) => {
    setFrom(chosen)
    setValue("")
    // These need no value.
    const start = chosen === "end" || chosen === "start" ? startOf(chosen, "") : undefined
    if (start) reader.open(start)
  }
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault()
    const start = startOf(from, value)
    if (start) reader.open(start)
  }
  return (
    <form class="jump" aria-label="Jump" onSubmit={onSubmit}>
      <StartFields from={from} value={value} onFrom={choose} onValue={setValue} />
      <button type="submit">Go</button>
    </form>
  )
}
