// Where a view of messages begins: the end, the start, an offset, a number of messages before the end, or a time.

import { useState } from "preact/hooks"
import { Trouble } from "./dialogs"
import { formatUtc, timeOf } from "./format"
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
  time: { label: "Time in UTC", placeholder: "2026-12-01 09:30:00 UTC" },
}

/** The value that a field begins with: of a time, an hour ago. */
export const firstValueOf = (from: From) => (from === "time" ? formatUtc(Date.now() - 3_600_000) : "")

/** The start that the form describes. Throws an error that says how to write a value. */
export function startOf(from: From, value: string): Start {
  const text = value.trim()
  switch (from) {
    case "end":
      return { from: "last", count: FIRST_MESSAGES }
    case "start":
      return { from: "start" }
    case "last":
      if (!/^\d+$/u.test(text)) throw new Error("Write a number of messages, such as 1000.")
      return { from: "last", count: Number(text) }
    case "offset":
      if (!/^(-1|now|\d+_\d+)$/u.test(text)) throw new Error("Write an offset like 0000000000000000_0000000000000042, -1 or now.")
      return { from: "offset", offset: text }
    case "time":
      return { from: "time", at: timeOf(text) }
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
  const [trouble, setTrouble] = useState<string | undefined>(undefined)
  const choose = (chosen: From) => {
    setFrom(chosen)
    setValue(firstValueOf(chosen))
    setTrouble(undefined)
    // These need no value.
    if (chosen === "end" || chosen === "start") reader.open(startOf(chosen, ""))
  }
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault()
    setTrouble(undefined)
    try {
      reader.open(startOf(from, value))
    } catch (error) {
      setTrouble((error as Error).message)
    }
  }
  return (
    <form class="jump" aria-label="Jump" onSubmit={onSubmit}>
      <StartFields from={from} value={value} onFrom={choose} onValue={setValue} />
      <button type="submit">Go</button>
      <Trouble text={trouble} />
    </form>
  )
}
