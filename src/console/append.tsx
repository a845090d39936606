// Appends one or many messages.

import { useSignal } from "@preact/signals"
import { useState } from "preact/hooks"
import { send, streamUrl, wordsOf } from "./api"
import type { Kind } from "./content"
import { Trouble, announce, dismiss } from "./dialogs"
import { previewOf } from "./format"

interface AppendProps {
  path: string
  contentType: string
  kind: Kind
}

/** How the text is divided into messages. */
type Mode = "one" | "lines" | "hex"

/** Options of an append: the label and the header. */
const OPTIONS = [
  ["Producer id", "Producer-Id"],
  ["Producer epoch", "Producer-Epoch"],
  ["Producer seq", "Producer-Seq"],
  ["Stream seq", "Stream-Seq"],
  ["Expected offset", "Stream-Expected-Offset"],
] as const

const MODES: Record<Kind, [Mode, string][]> = {
  json: [
    ["one", "JSON; an array is a batch"],
    ["lines", "one JSON value per line"],
  ],
  text: [
    ["one", "one message"],
    ["lines", "one message per line"],
  ],
  bytes: [
    ["hex", "hexadecimal"],
    ["one", "text"],
    ["lines", "one text per line"],
  ],
}

/** The bodies of the requests that append a text. */
export function bodiesOf(text: string, kind: Kind, mode: Mode): BodyInit[] {
  if (mode === "hex") return [bytesOfHex(text)]
  if (mode === "one") return [text]
  const lines = text.split("\n")
  const isFilled = (line: string) => line.trim() !== ""
  if (kind !== "json") return lines.filter(isFilled)
  for (const [at, line] of lines.entries()) if (isFilled(line)) checkJson(line, at + 1)
  // In a JSON stream, one array is one append. A line that is an array is one message.
  return [`[${lines.filter(isFilled).join(",")}]`]
}

/** The server would name a place in the array of all lines. */
function checkJson(line: string, number: number) {
  try {
    JSON.parse(line)
  } catch {
    throw new Error(`Line ${number} is not a JSON value: ${previewOf(line.trim(), 80)}`)
  }
}

function bytesOfHex(text: string) {
  const digits = text.replaceAll(/\s/gu, "")
  if (!/^([0-9a-f]{2})*$/iu.test(digits)) throw new Error("Write bytes as pairs of hexadecimal digits, such as 68 69.")
  return Uint8Array.from(digits.match(/../gu) ?? [], (pair) => Number.parseInt(pair, 16))
}

export function AppendForm({ path, contentType, kind }: AppendProps) {
  const [text, setText] = useState("")
  const [mode, setMode] = useState<Mode>(MODES[kind][0]![0])
  const trouble = useSignal<string | undefined>(undefined)
  const isBusy = useSignal(false)
  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    isBusy.value = true
    trouble.value = undefined
    dismiss()
    try {
      const headers = { "Content-Type": contentType, ...headersOf(form) }
      const bodies = bodiesOf(text, kind, mode)
      for (const body of bodies) await send("POST", streamUrl(path), { headers, body, path })
      setText("")
      announce("Appended.")
    } catch (error) {
      trouble.value = wordsOf(error)
    }
    isBusy.value = false
  }
  const onInput = (event: { currentTarget: HTMLTextAreaElement }) => {
    setText(event.currentTarget.value)
    if (event.currentTarget.value.trim() === "") trouble.value = undefined
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return
    event.preventDefault()
    ;(event.currentTarget as HTMLTextAreaElement).form?.requestSubmit()
  }
  return (
    <form class="append" aria-label="Append" onSubmit={onSubmit}>
      <textarea
        id="append-text"
        aria-label="Message to append"
        rows={2}
        placeholder={kind === "json" ? '{"token": "Hello"}' : kind === "bytes" ? "68 69" : "Hello"}
        value={text}
        spellcheck={false}
        onInput={onInput}
        onKeyDown={onKeyDown}
      />
      <div class="bar">
        <button type="submit" class="primary" disabled={isBusy.value}>
          Append <kbd>Ctrl+Enter</kbd>
        </button>
        <select aria-label="Form of the message" value={mode} onChange={(event) => setMode(event.currentTarget.value as Mode)}>
          {MODES[kind].map(([name, label]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
        <Options />
      </div>
      <Trouble text={trouble.value} />
    </form>
  )
}

function Options() {
  return (
    <details class="options">
      <summary>Options</summary>
      <div class="fields">
        {OPTIONS.map(([label, header]) => (
          <label key={header}>
            {label}
            <input name={header} spellcheck={false} autocomplete="off" />
          </label>
        ))}
      </div>
    </details>
  )
}

/** The headers of the fields that have a value. */
export function headersOf(form: HTMLFormElement) {
  const fields = [...new FormData(form)].filter(([, value]) => typeof value === "string" && value.trim() !== "")
  return Object.fromEntries(fields.map(([name, value]) => [name, `${value}`.trim()]))
}

