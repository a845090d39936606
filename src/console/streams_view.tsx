// The list of streams, with a search by prefix.

import { useEffect, useRef, useState } from "preact/hooks"
import { Trouble } from "./dialogs"
import { formatBytes, formatNumber } from "./format"
import { SUBSCRIPTIONS_LINK, linkTo, openPath, openStream, openSubscriptions } from "./location"
import { connect, isLive, isLoading, loadMore, next, search, registryPath, streams, trouble } from "./streams"
import { forget, growths, isMeasuring, measure, type Growth } from "./tails"
import { mayCreate, mode, token } from "./token"

const SEARCH_DELAY_MS = 200
/** How many streams are rendered at first, and how many more at each request. */
const SHOWN_STEP = 200

export function Streams() {
  const [shown, setShown] = useState(SHOWN_STEP)
  useEffect(() => {
    forget()
    if (mode.value !== undefined) connect()
  }, [token.value, mode.value])
  const rates = growths.value
  const visible = streams.value.slice(0, shown)
  const hasMore = rates === undefined && (streams.value.length > shown || next.value !== null)
  const showMore = () => {
    setShown(shown + SHOWN_STEP)
    if (streams.value.length <= shown + SHOWN_STEP && next.value !== null) loadMore()
  }
  return (
    <nav class="streams" aria-label="Streams">
      <Search />
      <Tools />
      <Trouble text={trouble.value} />
      <ul class="stream-list">
        {rates
          ? rates.map((growth) => <Item key={growth.stream.path} path={growth.stream.path} text={textOfGrowth(growth)} />)
          : visible.map(({ path, contentType, closed }) => <Item key={path} path={path} text={`${contentType ?? "unknown"}${closed ? ", closed" : ""}`} />)}
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

function Item({ path, text }: { path: string; text: string }) {
  return (
    <li>
      <a href={linkTo(path)} aria-current={openPath.value === path ? "page" : undefined}>
        <span class="path">{path}</span>
        <span class="type">{text}</span>
      </a>
    </li>
  )
}

function textOfGrowth({ perSecond, isJson, isAtLeast }: Growth) {
  const rate = perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)
  return `${isAtLeast ? "at least " : ""}${isJson ? `${formatNumber(Number(rate))} messages/s` : `${formatBytes(Math.round(perSecond))}/s`}`
}

const RATES_TITLE =
  "Reads the first 100 streams with this prefix twice, 3 seconds apart, and shows the fastest first. " +
  "Each time costs an object request for each stream."

/** What else the list can show: rates, and subscriptions. */
function Tools() {
  const hasRates = growths.value !== undefined
  return (
    <div class="bar tools">
      {mayCreate() && (
        <button type="button" title={RATES_TITLE} disabled={isMeasuring.value} onClick={measure}>
          {isMeasuring.value ? "Measuring" : hasRates ? "Rates again" : "Rates"}
        </button>
      )}
      {hasRates && (
        <button type="button" onClick={forget}>
          By path
        </button>
      )}
      <a class="button" href={SUBSCRIPTIONS_LINK} aria-current={openSubscriptions.value ? "page" : undefined}>
        Subscriptions
      </a>
    </div>
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
    const timer = setTimeout(() => {
      forget()
      search(prefix.trim())
    }, SEARCH_DELAY_MS)
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
  const rates = growths.value
  const loaded = rates ? `${formatNumber(rates.length)} by rate` : `${formatNumber(count)}${next.value === null ? "" : "+"} ${count === 1 ? "stream" : "streams"}`
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
