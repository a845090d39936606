// The dialogs that create, fork, close and delete a stream.

import { useSignal } from "@preact/signals"
import { useState } from "preact/hooks"
import { headersOf } from "./append"
import { send, streamUrl, wordsOf } from "./api"
import { Dialog, Trouble, announce, closeDialog } from "./dialogs"
import { formatUtc, timeOf } from "./format"
import { openStream } from "./location"
import { claims, mode } from "./token"

const CONTENT_TYPES = ["application/json", "text/plain", "application/octet-stream", "application/x-ndjson"]

/** Sends a form's request, and shows a refusal in the form. */
function useRequest(request: (form: HTMLFormElement) => Promise<unknown>) {
  const trouble = useSignal<string | undefined>(undefined)
  const isBusy = useSignal(false)
  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault()
    isBusy.value = true
    trouble.value = undefined
    try {
      await request(event.currentTarget as HTMLFormElement)
      closeDialog()
    } catch (error) {
      trouble.value = wordsOf(error)
    }
    isBusy.value = false
  }
  return { trouble, isBusy, onSubmit }
}

/** The fields with times, which each may have any form that the console reads. */
const TIMES = ["Stream-Expires-At", "Stream-Fork-At"]

/** The fields of a PUT, whose names are those of its headers, apart from the path and the content. */
function fieldsOf(form: HTMLFormElement) {
  const { path = "", content = "", ...headers } = headersOf(form)
  for (const name of TIMES) if (headers[name] !== undefined) headers[name] = timeOf(headers[name])
  return { path, content, headers }
}

const projectPrefix = () => (mode.value === "projects" && claims.value ? `${claims.value.project}/` : "")

async function create(form: HTMLFormElement) {
  const { path, content, headers } = fieldsOf(form)
  const body = content === "" ? undefined : content
  await send("PUT", streamUrl(path), { headers, body, path })
  announce("Created.")
  openStream(path)
}

/** Creates a stream, of the path that is open although it has no stream if there is one. */
export function CreateDialog({ path, onDone }: { path?: string; onDone: () => void }) {
  const { trouble, isBusy, onSubmit } = useRequest(async (form) => {
    await create(form)
    onDone()
  })
  return (
    <Dialog title="Create a stream">
      <form onSubmit={onSubmit}>
        <div class="fields">
          <label class="wide">
            Path
            <input name="path" required data-focus spellcheck={false} defaultValue={path ?? projectPrefix()} autocomplete="off" />
          </label>
          <label>
            Content type
            <input name="Content-Type" list="content-types" defaultValue="application/json" required spellcheck={false} />
            <datalist id="content-types">
              {CONTENT_TYPES.map((type) => (
                <option key={type} value={type} />
              ))}
            </datalist>
          </label>
          <LifetimeFields />
          <label class="wide">
            Initial content
            <textarea name="content" rows={2} spellcheck={false} placeholder='[{"token": "Hello"}]' />
          </label>
          <div class="checks wide">
            <Check name="Stream-Closed" label="Closed: nothing can be appended" />
            <Check name="Stream-Public" label="Public: everyone may read" />
            <Check name="Stream-Reader-Key" value="new" label="Reader key, for caches" />
          </div>
        </div>
        <Trouble text={trouble.value} />
        <footer class="bar">
          <button type="submit" class="primary" disabled={isBusy.value}>
            Create
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

function LifetimeFields() {
  return (
    <>
      <label>
        TTL, in seconds
        <input name="Stream-TTL" inputMode="numeric" placeholder="none" autocomplete="off" />
      </label>
      <label>
        Expires at, in UTC
        <input name="Stream-Expires-At" placeholder="2030-01-01 12:00" autocomplete="off" />
      </label>
      <label>
        Retention, in seconds or bytes
        <input name="Stream-Retention" placeholder="86400 or bytes=1000000" autocomplete="off" />
      </label>
    </>
  )
}

function Check({ name, label, value = "true" }: { name: string; label: string; value?: string }) {
  return (
    <label class="check">
      <input type="checkbox" name={name} value={value} /> {label}
    </label>
  )
}

interface ForkProps {
  path: string
  /** The message at which to fork; without it, the fork begins at the tail. */
  base?: string
  skip?: number
  length?: number
}

type ForkPlace = "after" | "before" | "tail" | "time"

export function ForkDialog({ path, base, skip = 0, length = 0 }: ForkProps) {
  const [place, setPlace] = useState<ForkPlace>(base === undefined ? "tail" : "after")
  const { trouble, isBusy, onSubmit } = useRequest(async (form) => {
    const { path: fork, headers } = fieldsOf(form)
    headers["Stream-Forked-From"] = streamUrl(path)
    if ((place === "after" || place === "before") && base !== undefined) {
      // `-1` is the start, which has no other name here; a sub-offset counts from it.
      headers["Stream-Fork-Offset"] = base
      headers["Stream-Fork-Sub-Offset"] = `${place === "after" ? skip + length : skip}`
    }
    await send("PUT", streamUrl(fork), { headers, path: fork })
    announce("Forked.")
    openStream(fork)
  })
  return (
    <Dialog title={`Fork ${path}`}>
      <form onSubmit={onSubmit}>
        <div class="fields">
          <label class="wide">
            Path of the fork
            <input name="path" required data-focus spellcheck={false} defaultValue={`${path}-fork`} autocomplete="off" />
          </label>
          <label>
            It inherits
            <select value={place} onChange={(event) => setPlace(event.currentTarget.value as ForkPlace)}>
              {base !== undefined && <option value="after">up to and including this message</option>}
              {base !== undefined && <option value="before">everything before this message</option>}
              <option value="tail">everything</option>
              <option value="time">everything before a time</option>
            </select>
          </label>
          {place === "time" && (
            <label>
              Time in UTC
              <input name="Stream-Fork-At" required defaultValue={formatUtc(Date.now())} autocomplete="off" />
            </label>
          )}
          <LifetimeFields />
        </div>
        <Trouble text={trouble.value} />
        <footer class="bar">
          <button type="submit" class="primary" disabled={isBusy.value}>
            Fork
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

export function CloseDialog({ path, onDone }: { path: string; onDone: () => void }) {
  const { trouble, isBusy, onSubmit } = useRequest(async () => {
    await send("POST", streamUrl(path), { headers: { "Stream-Closed": "true" }, path })
    announce("Closed.")
    onDone()
  })
  return (
    <Dialog title="Close the stream">
      <form onSubmit={onSubmit}>
        <p>
          Nothing can be appended to <code>{path}</code> after this. It cannot be undone.
        </p>
        <Trouble text={trouble.value} />
        <footer class="bar">
          <button type="submit" class="danger" disabled={isBusy.value}>
            Close the stream
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

export function DeleteDialog({ path }: { path: string }) {
  const [typed, setTyped] = useState("")
  const { trouble, isBusy, onSubmit } = useRequest(async () => {
    await send("DELETE", streamUrl(path), { path })
    announce("Deleted.")
    openStream(undefined)
  })
  return (
    <Dialog title="Delete the stream">
      <form onSubmit={onSubmit}>
        <p>
          This removes <code>{path}</code> and its data. It cannot be undone.
        </p>
        <label>
          Type the path of the stream
          <input
            data-focus
            spellcheck={false}
            autocomplete="off"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <Trouble text={trouble.value} />
        <footer class="bar">
          <button type="submit" class="danger" disabled={isBusy.value || typed !== path}>
            Delete
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
