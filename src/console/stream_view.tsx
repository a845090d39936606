// The open stream: its head with actions, its messages and its state.

import { signal, useSignal } from "@preact/signals"
import { useEffect } from "preact/hooks"
import { Refused, wordsOf } from "./api"
import { clientCodeOf, curlOf } from "./commands"
import { Trouble, copy, opened } from "./dialogs"
import { Messages } from "./messages_view"
import { FIRST_MESSAGES, Reader } from "./reader"
import { StateView } from "./state_view"
import { describe, type Description } from "./state"
import { ended } from "./streams"
import { isReserved, mayDo, token } from "./token"

/** How often the state is read while it is visible. Each time costs a request, and keeps the stream's object awake. */
const REFRESH_MS = 10_000

export type Tab = "messages" | "state"
export const tab = signal<Tab>("messages")
/** The reader of the open stream, for keyboard commands. */
export const reader = signal<Reader | undefined>(undefined)
/** Grows with each change of the stream that its description must show. */
export const changes = signal(0)

/** The path that is open although it has no stream. */
export const missing = signal<string | undefined>(undefined)

const isWide = signal(matchMedia("(min-width: 1700px)").matches)
matchMedia("(min-width: 1700px)").addEventListener("change", ({ matches }) => (isWide.value = matches))

/** Describes a stream, and again while its state is visible. */
function useDescription(path: string) {
  const description = useSignal<Description | undefined>(undefined)
  const trouble = useSignal<string | undefined>(undefined)
  const isShown = tab.value === "state" || isWide.value
  const load = async (aborted?: AbortSignal) => {
    try {
      const found = await describe(path, aborted)
      if (aborted?.aborted) return
      description.value = found
      trouble.value = undefined
      missing.value = undefined
    } catch (error) {
      if (aborted?.aborted) return
      trouble.value = wordsOf(error)
      if (error instanceof Refused && [404, 410].includes(error.status)) description.value = undefined
      if (error instanceof Refused && error.status === 404) missing.value = path
    }
  }
  const state = [path, token.value, changes.value]
  useEffect(() => {
    const abort = new AbortController()
    missing.value = undefined
    load(abort.signal)
    return () => {
      abort.abort()
      missing.value = undefined
    }
  }, state)
  useEffect(() => {
    if (!isShown) return undefined
    const abort = new AbortController()
    // What is known may be as old as the view.
    if (description.value) load(abort.signal)
    const timer = setInterval(() => document.visibilityState === "visible" && load(abort.signal), REFRESH_MS)
    return () => {
      clearInterval(timer)
      abort.abort()
    }
  }, [...state, isShown])
  return { description, trouble, load }
}

export function StreamView({ path }: { path: string }) {
  const { description, trouble, load } = useDescription(path)
  const contentType = description.value?.contentType
  useEffect(() => {
    if (contentType === undefined) return undefined
    const opening = new Reader(path, contentType)
    reader.value = opening
    opening.open({ from: "last", count: FIRST_MESSAGES })
    return () => {
      opening.close()
      reader.value = undefined
    }
  }, [path, contentType, token.value])
  useEffect(() => {
    if (ended.value.path === path) load()
  }, [ended.value.count])
  const current = reader.value?.path === path ? reader.value : undefined
  return (
    <main class="stream" id="main" tabIndex={-1}>
      <Head path={path} description={description.value} reader={current} />
      <Trouble text={trouble.value} />
      {missing.value === path && !isReserved(path) && mayDo("manage", path) && (
        <p class="missing">
          <button type="button" class="primary" onClick={() => (opened.value = { name: "create", path })}>
            Create {path}
          </button>
        </p>
      )}
      {description.value && current && (
        <div class="panes">
          {(tab.value === "messages" || isWide.value) && <Messages reader={current} contentType={description.value.contentType} />}
          {(tab.value === "state" || isWide.value) && <StateView reader={current} description={description.value} onRefresh={() => load()} />}
        </div>
      )}
    </main>
  )
}

interface HeadProps {
  path: string
  description: Description | undefined
  reader: Reader | undefined
}

function Head({ path, description, reader: current }: HeadProps) {
  const isClosed = description?.closed || current?.closed.value
  return (
    <header class="stream-head">
      <div class="title">
        <a class="back" href="#/" aria-label="All streams">
          ‹
        </a>
        <h2>{path}</h2>
        {description && (
          <p class="chips">
            <span class="chip">{description.contentType}</span>
            {isClosed && <span class="chip failed">closed</span>}
            {description.public && <span class="chip">public</span>}
          </p>
        )}
      </div>
      {description && <Actions path={path} description={description} isClosed={isClosed === true} reader={current} />}
      {description && !isWide.value && <Tabs />}
    </header>
  )
}

function Tabs() {
  const button = (name: Tab, label: string) => (
    <button type="button" aria-pressed={tab.value === name} onClick={() => (tab.value = name)}>
      {label}
    </button>
  )
  return (
    <div class="segmented" role="group" aria-label="View">
      {button("messages", "Messages")}
      {button("state", "State")}
    </div>
  )
}

interface ActionsProps {
  path: string
  description: Description
  isClosed: boolean
  reader: Reader | undefined
}

function Actions({ path, description: { contentType }, isClosed, reader: current }: ActionsProps) {
  const isOwn = !isReserved(path)
  const open = (name: "close" | "delete") => () => (opened.value = { name, path })
  return (
    <div class="bar actions" role="group" aria-label="Actions">
      <button type="button" onClick={() => current && copy("Command", curlOf(current))}>
        Copy curl
      </button>
      <button type="button" onClick={() => current && copy("Code", clientCodeOf(current))}>
        Copy code
      </button>
      <button type="button" onClick={() => (opened.value = { name: "download", path, contentType })}>
        Download
      </button>
      {isOwn && mayDo("manage", path) && (
        <button type="button" onClick={() => (opened.value = { name: "fork", path, contentType })}>
          Fork
        </button>
      )}
      {isOwn && !isClosed && mayDo("write", path) && (
        <button type="button" onClick={open("close")}>
          Close
        </button>
      )}
      {isOwn && mayDo("manage", path) && (
        <button type="button" class="danger" onClick={open("delete")}>
          Delete
        </button>
      )}
    </div>
  )
}
