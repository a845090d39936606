// The place in the console, as the fragment of the URL: `#/stream/<path>` or `#/subscriptions`. The path of a subscription's URL
// is a place too: `#/stream/<root>/__ds/subscriptions/<id>`.

import { computed, signal } from "@preact/signals"

const PREFIX = "#/stream/"
export const SUBSCRIPTIONS_LINK = "#/subscriptions"

/** The subscriptions that are open: all that the console finds, those of a root, or one. The root of all streams is "". */
export interface OpenSubscriptions {
  root?: string
  id?: string
}

interface Place {
  path?: string
  subscriptions?: OpenSubscriptions
}

const place = signal(placeOf(location.hash))

/** The path of the open stream. */
export const openPath = computed(() => place.value.path)
export const openSubscriptions = computed(() => place.value.subscriptions)

addEventListener("hashchange", () => {
  place.value = placeOf(location.hash)
})

function placeOf(hash: string): Place {
  if (hash === SUBSCRIPTIONS_LINK) return { subscriptions: {} }
  if (!hash.startsWith(PREFIX)) return {}
  try {
    const path = decodeURIComponent(hash.slice(PREFIX.length))
    const control = /^(?:([^/]+)\/)?__ds\/subscriptions(?:\/(.*))?$/su.exec(path)
    if (control) return { subscriptions: { root: control[1] ?? "", id: control[2] || undefined } }
    return { path: path || undefined }
  } catch {
    return {}
  }
}

export const linkTo = (path: string) => `${PREFIX}${path.split("/").map(encodeURIComponent).join("/")}`

/** The path of a subscription's URL, which the registry's events have too. */
export const subscriptionPath = (root: string, id: string) => `${root === "" ? "" : `${root}/`}__ds/subscriptions/${id}`

export function openStream(path: string | undefined) {
  location.hash = path === undefined ? "#/" : linkTo(path)
}
