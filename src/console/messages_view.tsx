// The messages of the open stream: where to begin, what to filter, and the list with the selected message.

import { useSignal } from "@preact/signals"
import { useEffect } from "preact/hooks"
import { AppendForm } from "./append"
import { Detail } from "./detail"
import { formatNumber } from "./format"
import { FilterError } from "./filter"
import { JumpForm } from "./jump"
import { MessageList, selected } from "./message_list"
import type { Phase, Reader } from "./reader"
import { isReserved, mayDo } from "./token"

const PHASES: Record<Phase, string> = {
  idle: "",
  reading: "Reading",
  following: "Live",
  paused: "Paused",
  waiting: "Reconnecting",
  ended: "Ended: the stream is closed",
  failed: "Failed",
}

interface MessagesProps {
  reader: Reader
  contentType: string
}

export function Messages({ reader, contentType }: MessagesProps) {
  const { path } = reader
  const mayAppend = mayDo("write", path) && !isReserved(path)
  const message = selected.value
  useEffect(() => {
    selected.value = undefined
    return () => (selected.value = undefined)
  }, [reader])
  return (
    <div class={message ? "messages has-detail" : "messages"}>
      <div class="messages-main">
        <Toolbar reader={reader} />
        <Nothing reader={reader} />
        <MessageList key={path} reader={reader} />
        {mayAppend && !reader.closed.value && <AppendForm key={path} path={path} contentType={contentType} kind={reader.kind} />}
      </div>
      {message && (
        <Detail message={message} kind={reader.kind} path={path} contentType={contentType} onClose={closeDetail} />
      )}
    </div>
  )
}

/** Says why the list is empty. */
function Nothing({ reader }: { reader: Reader }) {
  if (reader.version.value < 0 || reader.shown.length > 0) return null
  if (reader.kept.length > 0) return <p class="note nothing">No loaded message matches the filter.</p>
  if (!reader.upToDate.value) return null
  return <p class="note nothing">{isFollowing(reader) ? "No messages yet. New ones appear here." : "There are no messages after this place."}</p>
}

/** Moves the focus into the selected message, to the choice of its form. */
export function enterDetail() {
  document.querySelector<HTMLElement>('.detail [aria-pressed="true"]')?.focus()
}

/** Closes the message, and returns to the list. */
export function closeDetail() {
  selected.value = undefined
  document.querySelector<HTMLElement>(".rows")?.focus()
}

/** Pauses, or continues to follow. */
export function toggleFollow(reader: Reader) {
  if (isFollowing(reader)) reader.pause()
  else reader.follow()
}

const isFollowing = ({ phase }: Reader) => ["following", "waiting"].includes(phase.value)

function Toolbar({ reader }: { reader: Reader }) {
  const phase = reader.phase.value
  const follows = isFollowing(reader)
  const mayReadOn = !follows && phase !== "reading" && !reader.upToDate.value && reader.kept.length > 0
  return (
    <div class="toolbar">
      <div class="bar">
        <button type="button" class="follow" aria-pressed={follows} onClick={() => toggleFollow(reader)}>
          {follows ? "Pause" : "Follow"}
        </button>
        <JumpForm reader={reader} />
        {mayReadOn && (
          <button type="button" onClick={() => reader.readOn()}>
            Read on
          </button>
        )}
        <FilterField reader={reader} />
        <span class="status" role="status">
          <span class={`dot ${phase}`} aria-hidden="true" />
          {PHASES[phase]}
        </span>
        <Counts reader={reader} />
      </div>
      {reader.trouble.value !== undefined && (
        <p class="trouble" role="alert">
          {reader.trouble.value}
        </p>
      )}
    </div>
  )
}

function Counts({ reader }: { reader: Reader }) {
  const count = reader.version.value < 0 ? 0 : reader.kept.length
  const matching = reader.shown.length
  const text = matching === count ? formatNumber(count) : `${formatNumber(matching)} of ${formatNumber(count)}`
  return <span class="counts">{text} loaded</span>
}

function FilterField({ reader }: { reader: Reader }) {
  const trouble = useSignal<string | undefined>(undefined)
  const onInput = (event: { currentTarget: HTMLInputElement }) => {
    try {
      reader.setFilter(event.currentTarget.value)
      trouble.value = undefined
    } catch (error) {
      if (!(error instanceof FilterError)) throw error
      trouble.value = error.message
    }
  }
  return (
    <div class="filter">
      <input
        type="search"
        aria-label="Filter messages"
        aria-describedby={trouble.value === undefined ? undefined : "filter-trouble"}
        aria-invalid={trouble.value !== undefined}
        placeholder={'Filter: text, or $.a.b[0] = "x"'}
        spellcheck={false}
        autocomplete="off"
        defaultValue={reader.filterText}
        onInput={onInput}
      />
      {trouble.value !== undefined && (
        <span id="filter-trouble" class="note">
          {trouble.value}
        </span>
      )}
    </div>
  )
}
