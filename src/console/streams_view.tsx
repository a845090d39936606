// The list of streams, with a search by prefix.

import { useEffect, useRef, useState } from "preact/hooks"
import { Trouble } from "./dialogs"
import { formatNumber } from "./format"
import { linkTo, openPath, openStream } from "./location"
import { connect, isLive, isLoading, loadMore, next, search, registryPath, streams, trouble } from "./streams"
import { mode, token } from "./token"

const SEARCH_DELAY_MS = 200
/** How many streams are rendered at first, and how many more at each request. */
const SHOWN_STEP = 200

export function Streams() {
  const [shown, setShown] = useState(SHOWN_STEP)
  useEffect(() => {
    if (mode.value !== undefined) connect()
  }, [token.value, mode.value])
  const visible = streams.value.slice(0, shown)
  const hasMore = streams.value.length > shown || next.value !== null
  const showMore = () => {
    setShown(shown + SHOWN_STEP)
    if (streams.value.length <= shown + SHOWN_STEP && next.value !== null) loadMore()
  }
  return (
    <nav class="streams" aria-label="Streams">
      <Search />
      <Trouble text={trouble.value} />
      <ul class="stream-list">
        {visible.map(({ path, contentType, closed }) => (
          <li key={path}>
            <a href={linkTo(path)} aria-current={openPath.value === path ? "page" : undefined}>
              <span class="path">{path}</span>
              <span class="type">
                {contentType ?? "unknown"}
                {closed ? ", closed" : ""}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {hasMore && (
        <button type="button" class="link" disabled={isLoading.value} onClick={showMore}>
          Show more
        </button>
      )}
      <Foot />
    </nav>
  )
}

function Search() {
  const [prefix, setPrefix] = useState("")
  const isFirst = useRef(true)
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false
      return undefined
    }
    const timer = setTimeout(() => search(prefix.trim()), SEARCH_DELAY_MS)
    return () => clearTimeout(timer)
  }, [prefix])
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        if (prefix.trim() !== "") openStream(prefix.trim())
      }}
    >
      <input
        id="search"
        type="search"
        aria-label="Search streams by prefix; Enter opens the path"
        placeholder="Prefix, or a whole path and Enter"
        value={prefix}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setPrefix(event.currentTarget.value)}
      />
    </form>
  )
}

function Foot() {
  const count = streams.value.length
  const loaded = `${formatNumber(count)}${next.value === null ? "" : "+"} ${count === 1 ? "stream" : "streams"}`
  const registry = registryPath()
  return (
    <footer class="streams-foot">
      <span>
        <span class={`dot ${isLive.value ? "following" : "paused"}`} aria-hidden="true" />
        {isLive.value ? "Live" : "Not live"}
      </span>
      <span>{isLoading.value ? "Loading" : loaded}</span>
      <a href={linkTo(registry)}>Registry</a>
      <a href="/openapi.json">API</a>
    </footer>
  )
}
