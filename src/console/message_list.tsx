// The list of messages, newest first. Only the visible rows are in the page, and all rows have one height.

import { signal, useComputed, useSignal } from "@preact/signals"
import { useEffect, useLayoutEffect, useRef } from "preact/hooks"
import { placeOf, textOf, type Kind, type Message } from "./content"
import { formatBytes, formatClock, previewOf } from "./format"
import type { Reader } from "./reader"

export const ROW_PX = 28
/** The height of the headings, which stay at the top of the list. */
const HEADS_PX = 24
/** Rows that are rendered above and below the visible ones. */
const OVERSCAN_ROWS = 8
const PREVIEW_MAX_CHARS = 400

/** The selected message, which stays open when the view drops it. */
export const selected = signal<Message | undefined>(undefined)

/** Selects the message that is `step` rows below the selected one. */
export function moveSelection({ shown }: Reader, step: number) {
  if (shown.length === 0) return
  const id = selected.value?.id
  const found = id === undefined ? -1 : shown.findIndex((message) => message.id === id)
  // Newest first: a step down is a step back, and the first one is to the newest message.
  const at = found < 0 ? shown.length : found
  selected.value = shown[Math.min(Math.max(at - step, 0), shown.length - 1)]
}

export function MessageList({ reader }: { reader: Reader }) {
  const box = useRef<HTMLDivElement>(null)
  const view = useSignal({ top: 0, height: 600 })
  const follow = useKeptPlace(reader, box)
  useEffect(() => {
    const resized = new ResizeObserver(([entry]) => (view.value = { ...view.value, height: entry!.contentRect.height }))
    resized.observe(box.current!)
    return () => resized.disconnect()
  }, [])
  useSelectionInView(reader, box)
  const rows = useComputed(() => visibleRows(reader, view.value))
  const active = selected.value
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }
    const step = steps[event.key]
    if (step === undefined) return
    moveSelection(reader, step)
    event.preventDefault()
  }
  const isActiveShown = active !== undefined && rows.value.some(({ message }) => message.id === active.id)
  return (
    <div
      class="rows"
      ref={box}
      role="listbox"
      tabIndex={0}
      aria-label="Messages, newest first"
      aria-activedescendant={isActiveShown ? `m${active.id}` : undefined}
      onScroll={() => {
        view.value = { ...view.value, top: box.current!.scrollTop }
        follow()
      }}
      onKeyDown={onKeyDown}
    >
      {reader.shown.length > 0 && (
        <div class="heads" aria-hidden="true" style={{ height: `${HEADS_PX}px` }}>
          <span class="place">Position</span>
          <span>Message</span>
          <span class="clock">Received, UTC</span>
          <span class="size">Size</span>
        </div>
      )}
      <div class="rows-all" role="presentation" style={{ height: `${reader.shown.length * ROW_PX}px` }}>
        {rows.value.map(({ message, at }) => (
          <Row key={message.id} message={message} at={at} count={reader.shown.length} kind={reader.kind} />
        ))}
      </div>
    </div>
  )
}

function visibleRows(reader: Reader, { top, height }: { top: number; height: number }) {
  // Reading the version subscribes to changes of the list.
  if (reader.version.value < 0) return []
  const { shown } = reader
  const first = Math.max(0, Math.floor(top / ROW_PX) - OVERSCAN_ROWS)
  const last = Math.min(shown.length, Math.ceil((top + height) / ROW_PX) + OVERSCAN_ROWS)
  const rows: { message: Message; at: number }[] = []
  for (let at = first; at < last; at += 1) rows.push({ message: shown[shown.length - 1 - at]!, at })
  return rows
}

/** Keeps the visible rows in place while new ones come above them, unless the list is at its top. */
function useKeptPlace(reader: Reader, box: { current: HTMLDivElement | null }) {
  const seen = useRef(reader.shownCount)
  const top = useRef(0)
  const version = reader.version.value
  useLayoutEffect(() => {
    const added = reader.shownCount - seen.current
    seen.current = reader.shownCount
    if (added > 0 && top.current > ROW_PX / 2) {
      top.current += added * ROW_PX
      box.current!.scrollTop = top.current
    }
  }, [version])
  return () => (top.current = box.current!.scrollTop)
}

function useSelectionInView(reader: Reader, box: { current: HTMLDivElement | null }) {
  const id = selected.value?.id
  useLayoutEffect(() => {
    const index = id === undefined ? -1 : reader.shown.findIndex((message) => message.id === id)
    if (index < 0) return
    const list = box.current!
    const top = (reader.shown.length - 1 - index) * ROW_PX
    if (top < list.scrollTop) list.scrollTop = top
    else if (top + ROW_PX + HEADS_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX + HEADS_PX - list.clientHeight
  }, [id])
}

interface RowProps {
  message: Message
  at: number
  count: number
  kind: Kind
}

function Row({ message, at, count, kind }: RowProps) {
  const isSelected = selected.value?.id === message.id
  return (
    <div
      id={`m${message.id}`}
      class="row"
      role="option"
      aria-selected={isSelected}
      aria-posinset={at + 1}
      aria-setsize={count}
      style={{ transform: `translateY(${at * ROW_PX}px)` }}
      onClick={() => (selected.value = message)}
    >
      <span class="place" title={`${message.base}, then ${message.skip}`}>
        {placeOf(message)}
      </span>
      <span class="preview">{preview(message, kind)}</span>
      <span class="clock">{message.receivedAt === undefined ? "" : formatClock(message.receivedAt)}</span>
      <span class="size">{formatBytes(message.size)}</span>
    </div>
  )
}

const PREVIEW_BYTES = 32

function preview(message: Message, kind: Kind) {
  const { content } = message
  if (typeof content === "string") return previewOf(content, PREVIEW_MAX_CHARS)
  if (kind === "text") return previewOf(textOf({ content: content.subarray(0, PREVIEW_MAX_CHARS * 4) }), PREVIEW_MAX_CHARS)
  return [...content.subarray(0, PREVIEW_BYTES)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
}
