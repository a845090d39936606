// One message: formatted, raw, as text and as bytes.

import { useLayoutEffect, useRef, useState } from "preact/hooks"
import { curlOfMessage } from "./commands"
import { bytesOf, placeOf, textOf, type Kind, type Message } from "./content"
import { copy, opened } from "./dialogs"
import { formatBytes, formatClock } from "./format"
import { JsonTree } from "./json_tree"
import { linkTo } from "./location"
import { isReserved, mayDo } from "./token"

/** How much of a message is rendered at once, in characters. */
export const TEXT_STEP_CHARS = 65_536
/** The same, in bytes of the hexadecimal view. */
const HEX_STEP_BYTES = 4_096
/** The bytes of a row where it fits, and otherwise. */
const HEX_ROW_BYTES = 16
const HEX_NARROW_ROW_BYTES = 8
/** The width at which the 73 characters of a wide row fit. */
const HEX_WIDE_PX = 580

type Form = "json" | "text" | "hex"

/** The forms of each kind of stream; the first is the default. */
const FORMS: Record<Kind, [Form, string][]> = {
  json: [
    ["json", "Formatted"],
    ["text", "Raw"],
    ["hex", "Hex"],
  ],
  text: [
    ["text", "Text"],
    ["json", "JSON"],
    ["hex", "Hex"],
  ],
  bytes: [
    ["hex", "Hex"],
    ["text", "Text"],
    ["json", "JSON"],
  ],
}

interface DetailProps {
  message: Message
  kind: Kind
  path: string
  contentType: string
  onClose: () => void
}

export function Detail({ message, kind, path, contentType, onClose }: DetailProps) {
  const [form, setForm] = useState<Form>(FORMS[kind][0]![0])
  const forms = FORMS[kind]
  const { base, skip, length } = message
  return (
    <section class="detail" aria-label="Message">
      <header class="detail-head">
        <h3>
          Message {placeOf(message)} <small>{sizeText(message)}</small>
        </h3>
        <button type="button" class="quiet" aria-label="Close message" onClick={onClose}>
          ✕
        </button>
      </header>
      <div class="bar">
        <div class="segmented" role="group" aria-label="Form">
          {forms.map(([name, label]) => (
            <button key={name} type="button" aria-pressed={form === name} onClick={() => setForm(name)}>
              {label}
            </button>
          ))}
        </div>
        <button type="button" onClick={() => copy("Message", textOf(message))}>
          Copy
        </button>
        <button type="button" onClick={() => copy("Command", curlOfMessage(path, message))}>
          Copy curl
        </button>
        {isReserved(path) && <EventLink text={textOf(message)} />}
        {mayDo("manage", path) && (
          <button type="button" onClick={() => (opened.value = { name: "fork", path, contentType, base, skip, length })}>
            Fork here
          </button>
        )}
      </div>
      <div class="detail-body" tabIndex={0} role="region" aria-label="Content">
        <Content key={message.id} message={message} form={form} />
      </div>
    </section>
  )
}

/** The link to what an event of a registry is about. */
function EventLink({ text }: { text: string }) {
  const event = eventOf(text)
  if (!event) return null
  return (
    <a class="button" href={linkTo(event.path)}>
      Open {event.type}
    </a>
  )
}

function eventOf(text: string) {
  try {
    const { type, value } = JSON.parse(text)
    return ["stream", "subscription"].includes(type) && typeof value?.path === "string" ? { type: `${type}`, path: `${value.path}` } : undefined
  } catch {
    return undefined
  }
}

function sizeText({ size, receivedAt }: Message) {
  const text = formatBytes(size)
  return receivedAt === undefined ? text : `${text}, received ${formatClock(receivedAt)} UTC`
}

function Content({ message, form }: { message: Message; form: Form }) {
  if (form === "json") return <JsonTree text={textOf(message)} />
  return form === "text" ? <Text text={textOf(message)} /> : <Hex bytes={bytesOf(message)} />
}

function Text({ text }: { text: string }) {
  const [shown, setShown] = useState(TEXT_STEP_CHARS)
  return (
    <>
      <pre class="raw">{text.slice(0, shown)}</pre>
      <More left={text.length - shown} onMore={() => setShown(shown + TEXT_STEP_CHARS)} />
    </>
  )
}

function Hex({ bytes }: { bytes: Uint8Array }) {
  const [shown, setShown] = useState(HEX_STEP_BYTES)
  const [isWide, setIsWide] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => {
    const resized = new ResizeObserver(([entry]) => setIsWide(entry!.contentRect.width >= HEX_WIDE_PX))
    resized.observe(box.current!)
    return () => resized.disconnect()
  }, [])
  return (
    <div ref={box}>
      <pre class="hex">{hexOf(bytes.subarray(0, shown), isWide ? HEX_ROW_BYTES : HEX_NARROW_ROW_BYTES)}</pre>
      <More left={bytes.length - shown} onMore={() => setShown(shown + HEX_STEP_BYTES)} />
    </div>
  )
}

function More({ left, onMore }: { left: number; onMore: () => void }) {
  if (left <= 0) return null
  return (
    <button type="button" class="link" onClick={onMore}>
      Show more ({formatBytes(left)} left)
    </button>
  )
}

/** Bytes as lines of an offset, hexadecimal digits, and ASCII characters. */
export function hexOf(bytes: Uint8Array, rowBytes: number) {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += rowBytes) {
    const row = [...bytes.subarray(at, at + rowBytes)]
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
    const characters = row.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("")
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(rowBytes * 3 - 1)}  ${characters}`)
  }
  return lines.join("\n")
}
