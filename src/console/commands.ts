// The view of a stream as a command for curl, and as code for the client library. Neither contains the token.

import { streamUrl } from "./api"
import type { Message } from "./content"
import type { Reader } from "./reader"
import { mode } from "./token"

const urlOf = (path: string) => `${location.origin}${streamUrl(path)}`

/** Quotes a text for a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

const withToken = (url: string) => `${quoted(url)}${mode.value === "open" ? "" : ' -H "Authorization: Bearer $TOKEN"'}`

export function curlOf({ path, from, isLive }: Reader) {
  return `curl ${isLive ? "-N " : ""}${withToken(`${urlOf(path)}?offset=${encodeURIComponent(from)}${isLive ? "&live=sse" : ""}`)}`
}

export const curlOfMessage = (path: string, { base }: Message) => `curl ${withToken(`${urlOf(path)}?offset=${base}`)}`

/** Code that reads the same. */
export function clientCodeOf({ path, from, isLive, kind }: Reader) {
  const options = [
    `  url: ${JSON.stringify(urlOf(path))},`,
    `  offset: ${JSON.stringify(from)},`,
    `  live: ${isLive ? '"sse"' : "false"},`,
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
