// The place in the console, as the fragment of the URL: `#/stream/<path>`.

import { signal } from "@preact/signals"

const PREFIX = "#/stream/"

/** The path of the open stream. */
export const openPath = signal(pathOf(location.hash))

addEventListener("hashchange", () => {
  openPath.value = pathOf(location.hash)
})

function pathOf(hash: string) {
  if (!hash.startsWith(PREFIX)) return undefined
  try {
    return decodeURIComponent(hash.slice(PREFIX.length)) || undefined
  } catch {
    return undefined
  }
}

export const linkTo = (path: string) => `${PREFIX}${path.split("/").map(encodeURIComponent).join("/")}`

export function openStream(path: string | undefined) {
  location.hash = path === undefined ? "#/" : linkTo(path)
}
