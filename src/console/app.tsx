// The whole page: the bar, the list of streams, the open stream and the open dialog.

import { useEffect } from "preact/hooks"
import { readMode, wordsOf } from "./api"
import { Dialog, announced, opened } from "./dialogs"
import { DownloadDialog } from "./download"
import { CloseDialog, CreateDialog, DeleteDialog, ForkDialog } from "./forms"
import { HelpDialog } from "./help"
import { useKeys } from "./keys"
import { openPath, openSubscriptions } from "./location"
import { StreamView, changes, missing } from "./stream_view"
import { Streams } from "./streams_view"
import { trouble } from "./streams"
import { SubscriptionsView } from "./subscriptions_view"
import { TokenDialog } from "./token_dialog"
import { claims, isForgotten, mayCreate, mode, needsToken, token } from "./token"

export function App() {
  useKeys()
  useEffect(() => {
    readMode().catch((error) => (trouble.value = wordsOf(error)))
  }, [])
  useEffect(() => {
    // The user has asked to be without a token.
    if (needsToken.value && !isForgotten.value && opened.value === undefined) opened.value = { name: "token" }
  }, [needsToken.value])
  useEffect(() => {
    const title = openPath.value ?? (openSubscriptions.value && "Subscriptions")
    document.title = title === undefined ? "Durable Streams" : `${title} – Durable Streams`
    if (title !== undefined) document.getElementById("main")?.focus()
  }, [openPath.value, openSubscriptions.value])
  const path = openPath.value
  return (
    <div class={path === undefined && !openSubscriptions.value ? "app" : "app has-stream"}>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the stream
      </a>
      <Bar />
      <Streams />
      {openSubscriptions.value && <SubscriptionsView {...openSubscriptions.value} />}
      {path !== undefined && <StreamView key={path} path={path} />}
      {path === undefined && !openSubscriptions.value && <Welcome />}
      <OpenedDialog />
      <p class="announced" role="status">
        {announced.value}
      </p>
    </div>
  )
}

/** Moves the focus only: the fragment of the URL is the open stream. */
function skip(event: MouseEvent) {
  event.preventDefault()
  document.getElementById("main")?.focus()
}

function Bar() {
  const root = claims.value?.project ?? ""
  return (
    <header class="top">
      <h1>
        <a href="#/">Durable Streams</a>
      </h1>
      {mode.value && <span class="chip">{mode.value === "projects" && root !== "" ? root : mode.value}</span>}
      <span class="space" />
      {mayCreate() && (
        <button type="button" onClick={() => (opened.value = { name: "create", path: missing.value })}>
          New stream
        </button>
      )}
      {mode.value !== "open" && (
        <button type="button" class={needsToken.value ? "primary" : ""} onClick={() => (opened.value = { name: "token" })}>
          {token.value === "" ? "Set token" : "Token"}
        </button>
      )}
      <button type="button" class="quiet" aria-label="Help" onClick={() => (opened.value = { name: "help" })}>
        ?
      </button>
    </header>
  )
}

function Welcome() {
  return (
    <main class="welcome" id="main" tabIndex={-1}>
      <p>Choose a stream, or type its path.</p>
      <p class="note">
        <kbd>/</kbd> searches, <kbd>?</kbd> shows all keys.
      </p>
      {needsToken.value && <p>The server requires a token for this.</p>}
    </main>
  )
}

function OpenedDialog() {
  const dialog = opened.value
  switch (dialog?.name) {
    case undefined:
      return null
    case "token":
      return <TokenDialog />
    case "help":
      return <HelpDialog />
    case "create":
      return <CreateDialog path={dialog.path} onDone={() => (changes.value += 1)} />
    case "fork":
      return <ForkDialog {...dialog} />
    case "close":
      return <CloseDialog path={dialog.path} onDone={() => (changes.value += 1)} />
    case "delete":
      return <DeleteDialog path={dialog.path} />
    case "download":
      return <DownloadDialog {...dialog} />
    case "copy":
      return (
        <Dialog title={dialog.title}>
          <p>The browser does not allow this page to copy. Copy the text yourself:</p>
          <textarea aria-label={dialog.title} rows={10} readOnly value={dialog.text} />
        </Dialog>
      )
  }
}
