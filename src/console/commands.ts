// The view of a stream as a command for curl, and as code for the client library. Neither contains the token.

import { streamUrl } from "./api"
import type { Message } from "./content"
import { queryOf, type Reader } from "./reader"
import { mode } from "./token"

const urlOf = (path: string) => `${location.origin}${streamUrl(path)}`

/** Quotes a text for a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

const withToken = (url: string) => `${quoted(url)}${mode.value === "open" ? "" : ' -H "Authorization: Bearer $TOKEN"'}`

export function curlOf({ path, start, phase }: Reader) {
  const live = ["following", "waiting", "reading"].includes(phase.value)
  return `curl ${live ? "-N " : ""}${withToken(`${urlOf(path)}?${queryOf(start)}${live ? "&live=sse" : ""}`)}`
}

export const curlOfMessage = (path: string, { base }: Message) => `curl ${withToken(`${urlOf(path)}?offset=${base}`)}`

/** Code that reads on from the first message of the view. */
export function clientCodeOf({ path, kept, kind, start }: Reader) {
  const first = start.from === "offset" ? start.offset : kept[0]?.base
  const options = [
    `  url: ${JSON.stringify(urlOf(path))},`,
    `  offset: ${JSON.stringify(first ?? "-1")},`,
    '  live: "sse",',
    ...(mode.value === "open" ? [] : ["  headers: { Authorization: `Bearer ${process.env.TOKEN}` },"]),
  ]
  const messages = { json: "jsonStream", text: "textStream", bytes: "bodyStream" }[kind]
  return [
    'import { stream } from "@durable-streams/client"',
    "",
    "const reader = await stream({",
    ...options,
    "})",
    `for await (const message of reader.${messages}()) console.log(message)`,
    "",
  ].join("\n")
}
