// The dialogs' frame, the open dialog, and announcements for screen readers.

import { signal } from "@preact/signals"
import type { ComponentChildren } from "preact"
import { useEffect, useId, useRef } from "preact/hooks"

export type Opened =
  | { name: "token" | "help" }
  | { name: "create"; path?: string }
  | { name: "fork"; path: string; contentType: string; base?: string; skip?: number; length?: number }
  | { name: "close" | "delete"; path: string }
  | { name: "download"; path: string; contentType: string }
  | { name: "copy"; title: string; text: string }

export const opened = signal<Opened | undefined>(undefined)

/** What a screen reader says next, and what the page shows for some seconds. */
export const announced = signal("")
let timer: ReturnType<typeof setTimeout> | undefined

export function announce(text: string) {
  clearTimeout(timer)
  announced.value = text
  timer = setTimeout(() => (announced.value = ""), 4_000)
}

/** Ends what the page shows before its time, because it is no longer the news. */
export function dismiss() {
  clearTimeout(timer)
  announced.value = ""
}

export const closeDialog = () => (opened.value = undefined)

/** Copies a text, or shows it where the browser does not allow that. */
export async function copy(title: string, text: string) {
  try {
    await navigator.clipboard.writeText(text)
    announce(`${title} copied.`)
  } catch {
    opened.value = { name: "copy", title, text }
  }
}

/**
 * A modal dialog. The browser keeps the focus in it, and returns the focus to where it was. It begins with the focus in the field
 * that has `data-focus`: with `autofocus`, browsers complain that something else has the focus.
 */
export function Dialog({ title, children }: { title: string; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    dialog.current?.querySelector<HTMLElement>("[data-focus]")?.focus()
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={closeDialog} onCancel={closeDialog}>
      <header class="dialog-head">
        <h2 id={id}>{title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={closeDialog}>
          ✕
        </button>
      </header>
      {children}
    </dialog>
  )
}

/** The server's words for a request that failed. */
export function Trouble({ text }: { text: string | undefined }) {
  return text === undefined ? null : (
    <p class="trouble" role="alert">
      {text}
    </p>
  )
}
