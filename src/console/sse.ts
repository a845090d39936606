// Reads server-sent events with `fetch`, because an `EventSource` cannot send `Authorization`.

export interface ServerEvent {
  name: string
  data: string
}

/** Yields the events of a response until it ends. */
export async function* eventsOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  // The rest of a line that has not ended is kept in parts: a line of a megabyte arrives in many.
  let rest: string[] = []
  let name = ""
  let data: string[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const lines = value.split("\n")
      const last = lines.pop() ?? ""
      for (const part of lines) {
        const line = rest.length > 0 ? rest.join("") + part : part
        rest = []
        if (line === "") {
          if (data.length > 0) yield { name, data: data.join("\n") }
          name = ""
          data = []
        } else if (line.startsWith("data:")) {
          data.push(line.startsWith("data: ") ? line.slice(6) : line.slice(5))
        } else if (line.startsWith("event:")) {
          name = line.slice(6).trim()
        }
      }
      if (last !== "") rest.push(last)
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

/** What a `control` event says. */
export interface Control {
  streamNextOffset: string
  upToDate?: boolean
  streamClosed?: boolean
}
