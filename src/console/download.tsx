// Downloads a range of a stream, as a line of JSON for each message or as its bytes.

import { useSignal } from "@preact/signals"
import { useEffect, useRef, useState } from "preact/hooks"
import { send, streamUrl, wordsOf } from "./api"
import { elementsOf, kindOf, type Kind } from "./content"
import { Dialog, Trouble, announce, closeDialog } from "./dialogs"
import { formatBytes } from "./format"
import { StartFields, firstValueOf, startOf } from "./jump"
import { queryOf, type Start } from "./reader"

/** The most bytes of one download. The browser collects them before it saves the file. */
export const DOWNLOAD_MAX_BYTES = 512 << 20

interface Range {
  path: string
  kind: Kind
  start: Start
  /** The most messages (JSON) or bytes (otherwise). */
  most: number
}

/** Reads a range up to the tail or its end. */
async function read({ path, kind, start, most }: Range, aborted: AbortSignal, onProgress: (bytes: number) => void) {
  const parts: Blob[] = []
  let [bytes, count] = [0, 0]
  let query = queryOf(start)
  for (;;) {
    const response = await send("GET", `${streamUrl(path)}?${query}`, { signal: aborted, path })
    let part: string | Uint8Array<ArrayBuffer>
    if (kind === "json") {
      const elements = elementsOf(await response.text()).slice(0, most - count)
      count += elements.length
      part = elements.map((element) => `${element}\n`).join("")
    } else {
      part = new Uint8Array(await response.arrayBuffer()).subarray(0, most - count)
      count += part.length
    }
    const blob = new Blob([part])
    parts.push(blob)
    bytes += blob.size
    onProgress(bytes)
    const next = response.headers.get("stream-next-offset")
    if (next === null || response.headers.has("stream-up-to-date") || count >= most) return parts
    if (bytes > DOWNLOAD_MAX_BYTES) throw new Error(`The range has more than ${formatBytes(DOWNLOAD_MAX_BYTES)}: download a part of it.`)
    query = `offset=${next}`
  }
}

function save(parts: BlobPart[], name: string) {
  const url = URL.createObjectURL(new Blob(parts))
  const link = document.createElement("a")
  link.href = url
  link.download = name
  link.click()
  // The browser reads the URL after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

export function DownloadDialog({ path, contentType }: { path: string; contentType: string }) {
  const kind = kindOf(contentType)
  const [from, setFrom] = useState<Parameters<typeof startOf>[0]>("start")
  const [value, setValue] = useState("")
  const [most, setMost] = useState("")
  const trouble = useSignal<string | undefined>(undefined)
  const progress = useSignal<number | undefined>(undefined)
  const abort = useRef(new AbortController())
  useEffect(() => () => abort.current.abort(), [])
  const choose = (chosen: typeof from) => {
    setFrom(chosen)
    setValue(firstValueOf(chosen))
  }
  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault()
    trouble.value = undefined
    progress.value = 0
    try {
      const range = { path, kind, start: startOf(from, value), most: most === "" ? Infinity : Number(most) }
      const parts = await read(range, abort.current.signal, (bytes) => (progress.value = bytes))
      save(parts, `${path.split("/").at(-1)}.${kind === "json" ? "ndjson" : kind === "text" ? "txt" : "bin"}`)
      announce("Downloaded.")
      closeDialog()
    } catch (error) {
      if (!abort.current.signal.aborted) trouble.value = wordsOf(error)
    }
    progress.value = undefined
  }
  return (
    <Dialog title="Download">
      <form onSubmit={onSubmit}>
        <div class="fields">
          <div class="field" role="group" aria-label="From">
            <span>From</span>
            <StartFields from={from} value={value} onFrom={choose} onValue={setValue} />
          </div>
          <label>
            {kind === "json" ? "At most, in messages" : "At most, in bytes"}
            <input inputMode="numeric" pattern="[0-9]+" placeholder="up to the tail" value={most} onInput={(event) => setMost(event.currentTarget.value)} />
          </label>
        </div>
        <p class="note">{kind === "json" ? "NDJSON: one line for each message." : "The bytes of the stream."}</p>
        <Trouble text={trouble.value} />
        <footer class="bar">
          <button type="submit" class="primary" disabled={progress.value !== undefined}>
            Download
          </button>
          {progress.value !== undefined && <span role="status">{formatBytes(progress.value)}</span>}
        </footer>
      </form>
    </Dialog>
  )
}
