// Subscriptions: those of the open stream, the list of all that the console finds, and one.

import { useComputed, useSignal, type Signal } from "@preact/signals"
import { useEffect } from "preact/hooks"
import { wordsOf } from "./api"
import { Trouble, announce } from "./dialogs"
import { formatCount, formatNumber, formatTime } from "./format"
import { SUBSCRIPTIONS_LINK, linkTo, subscriptionPath, type OpenSubscriptions } from "./location"
import { RefreshBar } from "./refresh"
import {
  PAGES_MAX,
  PAGE_SUBSCRIPTIONS,
  ROOTS_MAX,
  isTroubled,
  listOf,
  resume,
  rootsToAsk,
  subscriptionOf,
  subscriptionsOf,
  wholePath,
  type Linked,
  type Listed,
} from "./subscriptions"
import { ROWS_SHOWN, StreamLink, Table } from "./table"
import { mayDo, mode, token } from "./token"

/** How long after a retry its outcome is read. */
const RETRY_SHOWN_MS = 1_000
/** How often an open view is read, if it is refreshed. */
const REFRESH_MS = 10_000
/** How many streams a card of the list names. */
const STREAMS_NAMED = 5

/** Reads what a view shows: at once, again and again while it is visible and `refreshes`, and when `load` is called. */
function useLoaded<T>(read: (aborted: AbortSignal) => Promise<T>, inputs: unknown[], refreshes: () => boolean) {
  const value = useSignal<T | undefined>(undefined)
  const trouble = useSignal<string | undefined>(undefined)
  const abort = useSignal(new AbortController())
  const load = async () => {
    const { signal } = abort.value
    try {
      const found = await read(signal)
      if (signal.aborted) return
      value.value = found
      trouble.value = undefined
    } catch (error) {
      if (!signal.aborted) trouble.value = wordsOf(error)
    }
  }
  useEffect(() => {
    const current = new AbortController()
    abort.value = current
    value.value = undefined
    trouble.value = undefined
    load()
    const timer = setInterval(() => document.visibilityState === "visible" && refreshes() && load(), REFRESH_MS)
    return () => {
      clearInterval(timer)
      current.abort()
    }
  }, inputs)
  return { value, trouble, load }
}

/** The subscriptions of the open stream, as a part of its state. */
export function SubscriptionsOf({ path }: { path: string }) {
  const read = async (aborted: AbortSignal) => (mayDo("read", path) ? subscriptionsOf(path, mode.value === "projects", aborted) : [])
  const { value, trouble, load } = useLoaded(read, [path], () => false)
  const linked = value.value ?? []
  return (
    <>
      <RefreshBar title="Subscriptions" what="subscriptions" onRefresh={load} />
      <Trouble text={trouble.value} />
      {value.value?.length === 0 && trouble.value === undefined && <p class="note">No subscription is linked to this stream.</p>}
      {linked.map((one) => (
        <Card key={keyOf(one)} linked={one} path={path} trouble={trouble} onResumed={load} />
      ))}
    </>
  )
}

/** The view in place of a stream: the list, or one subscription. */
export function SubscriptionsView({ root, id }: OpenSubscriptions) {
  return (
    <main class="stream" id="main" tabIndex={-1}>
      <header class="stream-head">
        <div class="title">
          <a class="back" href="#/" aria-label="All streams">
            ‹
          </a>
          <h2>{id === undefined ? "Subscriptions" : subscriptionPath(root ?? "", id)}</h2>
        </div>
        {(root !== undefined || id !== undefined) && <a href={SUBSCRIPTIONS_LINK}>All subscriptions</a>}
      </header>
      {mode.value !== undefined && (id === undefined ? <List key={root} root={root} /> : <One key={id} root={root ?? ""} id={id} />)}
    </main>
  )
}

const keyOf = ({ root, subscription }: Linked) => subscriptionPath(root, subscription.id)

function List({ root }: { root: string | undefined }) {
  const asked = useComputed(() => JSON.stringify(root === undefined ? rootsToAsk() : { roots: [root], isWhole: true }))
  const { roots, isWhole }: ReturnType<typeof rootsToAsk> = JSON.parse(asked.value)
  const pages = useSignal(1)
  const read = (aborted: AbortSignal) => listOf(roots, pages.value, aborted)
  // Each subscription that is shown is a request, so a long list is read again only on demand.
  const { value, trouble, load } = useLoaded(read, [asked.value, token.value], () => pages.value === 1)
  const onMore = () => {
    pages.value += 1
    return load()
  }
  const isFiltered = useSignal(false)
  const found = value.value?.found ?? []
  const troubled = found.filter(isTroubled)
  const shown = isFiltered.value ? troubled : found
  const choice = (label: string, filters: boolean) => (
    <button type="button" aria-pressed={isFiltered.value === filters} onClick={() => (isFiltered.value = filters)}>
      {label}
    </button>
  )
  return (
    <section class="state" aria-label="Subscriptions" tabIndex={0}>
      <div class="bar">
        <div class="segmented" role="group" aria-label="Show">
          {choice(`All ${formatNumber(found.length)}`, false)}
          {choice(`Failed or parked ${formatNumber(troubled.length)}`, true)}
        </div>
        <button type="button" onClick={load}>
          Refresh
        </button>
      </div>
      <Trouble text={trouble.value ?? value.value?.trouble} />
      <p class="note">{scopeOf(roots, isWhole, value.value)}</p>
      {value.value && shown.length === 0 && <p>{isFiltered.value && found.length > 0 ? "None has failed." : "There are no subscriptions."}</p>}
      {shown.map((one) => (
        <Card key={keyOf(one)} linked={one} trouble={trouble} onResumed={load} />
      ))}
      {value.value && value.value.cut.length > 0 && pages.value < PAGES_MAX && (
        <button type="button" onClick={onMore}>
          Show more
        </button>
      )}
    </section>
  )
}

const namesOf = (roots: string[]) => roots.map((root) => root || "/v1/stream").join(", ")

/** Says which subscriptions the list has. */
function scopeOf(roots: string[], isWhole: boolean, listed: Listed | undefined) {
  const parts = [roots.length === 0 ? "Search for a prefix to see its project." : `Of ${namesOf(roots)}.`]
  if (!isWhole) parts.push(`These are the first ${ROOTS_MAX} projects in the list of streams: search for a prefix to see others.`)
  if (listed?.cut.length) parts.push(`Of ${namesOf(listed.cut)} only the first ${formatNumber(listed.pages * PAGE_SUBSCRIPTIONS)}.`)
  if (listed && listed.pages > 1) parts.push("A list of several pages is not refreshed by itself.")
  return parts.join(" ")
}

function One({ root, id }: { root: string; id: string }) {
  const { value, trouble, load } = useLoaded((aborted) => subscriptionOf(root, id, aborted), [root, id, token.value], () => true)
  const linked = value.value
  return (
    <section class="state" aria-label="Subscription" tabIndex={0}>
      <RefreshBar title="Subscription" onRefresh={load} />
      <Trouble text={trouble.value} />
      {linked && <Card linked={linked} isAlone trouble={trouble} onResumed={load} />}
      {linked && <Links linked={linked} />}
    </section>
  )
}

/** The streams of a subscription with their cursors, pending ones first. */
function Links({ linked: { root, subscription } }: { linked: Linked }) {
  const { streams = [], pending = [], stream_count: count = streams.length } = subscription
  if (streams.length === 0) return null
  const waiting = new Set(pending)
  const sorted = [...streams.filter(({ path }) => waiting.has(path)), ...streams.filter(({ path }) => !waiting.has(path))]
  const rows = sorted
    .slice(0, ROWS_SHOWN)
    .map(({ path, acked_offset: acked }) => [<StreamLink key="path" path={wholePath(root, path)} />, <code key="acked">{acked}</code>, waiting.has(path) ? "yes" : "no"])
  return <Table caption={`Streams: ${formatNumber(count)}`} heads={["Path", "Acknowledged", "Pending"]} rows={rows} />
}

interface CardProps {
  linked: Linked
  /** The stream whose state has the card. */
  path?: string
  /** Whether a table below it has the streams. */
  isAlone?: boolean
  trouble: Signal<string | undefined>
  onResumed: () => Promise<void>
}

function Card({ linked, path, isAlone, trouble, onResumed }: CardProps) {
  const { root, subscription } = linked
  const { id, type, phase, status, last_error: error, next_attempt_at: next, streams = [] } = subscription
  const isParked = phase === "parked"
  // In a stream's state and below the heading of one subscription, a card is part of a section.
  const Heading = path === undefined && !isAlone ? "h3" : "h4"
  const first = streams[0]
  const covered = path ?? (first ? wholePath(root, first.path) : root)
  const onResume = async () => {
    try {
      await resume(linked)
      announce(isParked ? "Resumed." : "Retrying.")
      if (!isParked) await new Promise((resolve) => setTimeout(resolve, RETRY_SHOWN_MS))
      await onResumed()
    } catch (failed) {
      trouble.value = wordsOf(failed)
    }
  }
  return (
    <article class="card">
      <Heading>
        {path === undefined && root !== "" && <span class="note">{root}/ </span>}
        <a href={linkTo(keyOf(linked))}>
          <code>{id}</code>
        </a>{" "}
        <span class={`chip ${isTroubled(linked) ? "failed" : status}`}>{phase === "active" || phase === undefined ? status : phase}</span>
      </Heading>
      <p>{type === "unknown" ? "It does not answer." : sentenceOf(linked)}</p>
      {path === undefined && <Sources linked={linked} streamsNamed={isAlone ? 0 : STREAMS_NAMED} />}
      {error && (
        <p>
          Last error, {formatTime(Date.parse(error.at))}: {error.message}
        </p>
      )}
      {next && <p>Next attempt: {formatTime(Date.parse(next))}</p>}
      {(isParked || status === "failed") && mayDo("manage", covered) && (
        <button type="button" onClick={onResume}>
          {isParked ? "Resume" : "Retry now:"} {id}
        </button>
      )}
    </article>
  )
}

function sentenceOf({ subscription }: Linked) {
  const { type, webhook, wake_stream: wakes, holder, pending = [] } = subscription
  const parts = [
    `${type}${webhook ? ` to ${webhook.url}` : ""}${wakes ? ` through ${wakes}` : ""}`,
    holder ? `held by ${holder}` : "",
    pending.length > 0 ? `${formatCount(pending.length, "stream")} pending` : "",
  ]
  return parts.filter(Boolean).join(", ")
}

/** The pattern, and the first streams. */
function Sources({ linked: { root, subscription }, streamsNamed }: { linked: Linked; streamsNamed: number }) {
  const { pattern, streams = [], stream_count: count = streams.length, pending = [] } = subscription
  const waiting = new Set(pending)
  const named = [...streams.filter(({ path }) => waiting.has(path)), ...streams.filter(({ path }) => !waiting.has(path))].slice(0, streamsNamed)
  return (
    <>
      {pattern && (
        <p>
          Pattern: <code>{wholePath(root, pattern)}</code>
        </p>
      )}
      {named.length > 0 && (
        <p>
          {formatCount(count, "stream")}:{" "}
          {named.map(({ path }) => (
            <StreamLink key={path} path={wholePath(root, path)} />
          ))}
          {count > named.length && "…"}
        </p>
      )}
    </>
  )
}
