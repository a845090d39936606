// The keyboard commands. They rest while a field or a dialog has the focus.

import { useEffect } from "preact/hooks"
import { opened } from "./dialogs"
import { closeDetail, enterDetail, toggleFollow } from "./messages_view"
import { moveSelection, selected } from "./message_list"
import { reader, tab } from "./stream_view"

export function useKeys() {
  useEffect(() => {
    document.addEventListener("keydown", onKeyDown)
    return () => document.removeEventListener("keydown", onKeyDown)
  }, [])
}

/** What Enter operates itself. */
const isControl = (target: EventTarget | null) => target instanceof HTMLElement && target.matches("a, button, summary")
const isField = (target: EventTarget | null) => target instanceof HTMLElement && target.matches("input, textarea, select")

function onKeyDown(event: KeyboardEvent) {
  if (opened.value || event.ctrlKey || event.metaKey || event.altKey) return
  if (isField(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur()
    return
  }
  const command = COMMANDS[event.key]
  if (!command || (event.key === "Enter" && (!selected.value || isControl(event.target)))) return
  command()
  event.preventDefault()
}

const COMMANDS: Record<string, () => void> = {
  "/": () => document.getElementById("search")?.focus(),
  "?": () => (opened.value = { name: "help" }),
  j: () => move(1),
  k: () => move(-1),
  f: () => reader.value && toggleFollow(reader.value),
  a: () => {
    tab.value = "messages"
    document.getElementById("append-text")?.focus()
  },
  Enter: enterDetail,
  Escape: () => selected.value && closeDetail(),
}

/** Moves in the list of streams if it has the focus or no stream is open, and otherwise in the messages. */
function move(step: number) {
  const links = [...document.querySelectorAll<HTMLElement>(".stream-list a")]
  const at = links.findIndex((link) => link === document.activeElement)
  if (at >= 0 || !reader.value) links[Math.max(0, Math.min(at + step, links.length - 1))]?.focus()
  else moveSelection(reader.value, step)
}
