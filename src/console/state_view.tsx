// The state of the open stream, its subscriptions, and the chart.

import { useSignal, type Signal } from "@preact/signals"
import type { ComponentChildren } from "preact"
import { useEffect } from "preact/hooks"
import { wordsOf } from "./api"
import { Chart } from "./chart"
import { Trouble, announce } from "./dialogs"
import { formatBytes, formatCount, formatDuration, formatNumber, formatTime } from "./format"
import { linkTo } from "./location"
import type { Reader } from "./reader"
import { resume, subscriptionsOf, type Description, type Lag, type Linked } from "./state"
import { mayDo, mode } from "./token"

/** How many rows of each table are shown. */
const ROWS_SHOWN = 20
/** How long after a retry its outcome is read. */
const RETRY_SHOWN_MS = 1_000

interface StateProps {
  reader: Reader
  description: Description
  onRefresh: () => void
}

export function StateView({ reader, description, onRefresh }: StateProps) {
  return (
    <section class="state" aria-label="State" tabIndex={0}>
      <div class="bar">
        <h3>State</h3>
        <button type="button" onClick={onRefresh}>
          Refresh
        </button>
      </div>
      <Facts description={description} />
      <h3>Arrivals</h3>
      <Chart rates={reader.rates} />
      <Segments description={description} />
      <Producers description={description} />
      <Subscriptions path={reader.path} />
    </section>
  )
}

/** What cannot be known without extra cost has no row. */
const ifKnown = <T,>(value: T | null | undefined, format: (value: T) => ComponentChildren) =>
  value === null || value === undefined ? null : format(value)

function Facts({ description: d }: { description: Description }) {
  const rows: [string, ComponentChildren][] = [
    ["Type", <code key="type">{d.contentType}</code>],
    ["Tail", <code key="tail">{d.tail}</code>],
    ["Start", ifKnown(d.start, (start) => <code>{start}</code>)],
    // A fork counts its own messages only, and shows those of its source too.
    [d.forkedFrom ? "Own messages" : "Messages", ifKnown(d.messages, formatNumber)],
    ["Created", ifKnown(d.createdAt, formatTime)],
    ["Last message", ifKnown(d.writtenAt, formatTime)],
    ["TTL", ifKnown(d.ttlSeconds, formatDuration)],
    ["Expiry", ifKnown(d.expiresAt, formatTime) ?? (d.ttlSeconds === null ? "never" : null)],
    ["Closed", d.closed ? "yes" : "no"],
    ["Public", d.public ? "yes" : "no"],
    ["Retention", retentionOf(d.retention)],
    ["Forked from", ifKnown(d.forkedFrom, ({ path, offset }) => [path ? <StreamLink key="source" path={path} /> : "a stream ", <code key="at">{offset}</code>])],
    ["Forks", ifKnown(d.forks, ({ count, paths }) => [`${count ?? "many"} `, ...paths.slice(0, ROWS_SHOWN).map((path) => <StreamLink key={path} path={path} />)])],
    ["Hot log", ifKnown(d.hotMessages, (count) => `${formatCount(count, "message")}, ${formatBytes(d.hotBytes ?? 0)}`)],
    ["Registry", ifKnown(d.registry, wordsOfLag)],
    ["Segment index", ifKnown(d.segmentIndex, wordsOfLag)],
    ["Live readers", ifKnown(d.readers, ({ sse, longPoll }) => `${sse} by SSE, ${longPoll} by long-poll`)],
  ]
  return (
    <>
      <dl class="facts">
        {rows
          .filter(([, value]) => value !== null)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      {d.start === undefined && <p class="note">The server shows the rest to tokens with the scope manage.</p>}
    </>
  )
}

function wordsOfLag({ behindSince, error }: Lag) {
  if (behindSince === null) return "up to date"
  return `behind since ${formatTime(behindSince)}${error === null ? "" : `: ${error}`}`
}

function retentionOf(retention: Description["retention"]) {
  if (retention === null || typeof retention === "string") return retention ?? "none"
  const { seconds, bytes, segments } = retention
  const parts = [ifKnown(seconds, formatDuration), ifKnown(bytes, formatBytes), ifKnown(segments, (count) => formatCount(count, "segment"))]
  return parts.filter((part) => part !== null).join(" or ")
}

const StreamLink = ({ path }: { path: string }) => (
  <a class="stream-link" href={linkTo(path)}>
    {path}
  </a>
)

interface TableProps {
  caption: string
  heads: string[]
  rows: ComponentChildren[][]
}

function Table({ caption, heads, rows }: TableProps) {
  return (
    <div class="table" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, column) => (
                <td key={heads[column]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Segments({ description: { segments } }: { description: Description }) {
  if (segments === undefined || segments.count === 0) return null
  const rows = segments.newest
    .slice(0, ROWS_SHOWN)
    .map(({ number, messages, bytes, writtenAt }) => [number, formatNumber(messages), formatBytes(bytes), formatTime(writtenAt)])
  const size = segments.bytes === null ? "" : `, ${formatBytes(segments.bytes)}`
  return <Table caption={`Segments: ${formatNumber(segments.count)}${size}`} heads={["Number", "Messages", "Size", "Last message"]} rows={rows} />
}

function Producers({ description: { producers } }: { description: Description }) {
  if (producers === undefined || producers.newest.length === 0) return null
  const rows = producers.newest
    .slice(0, ROWS_SHOWN)
    .map(({ id, epoch, seq, at }) => [<code key="id">{id}</code>, epoch, seq, ifKnown(at, formatTime) ?? "earlier"])
  const count = producers.count === null ? "many" : formatNumber(producers.count)
  return <Table caption={`Producers: ${count}`} heads={["Id", "Epoch", "Seq", "Last append"]} rows={rows} />
}

function Subscriptions({ path }: { path: string }) {
  const linked = useSignal<Linked[]>([])
  const trouble = useSignal<string | undefined>(undefined)
  const load = async (aborted?: AbortSignal) => {
    try {
      linked.value = await subscriptionsOf(path, mode.value === "projects", aborted)
      trouble.value = undefined
    } catch (error) {
      if (!aborted?.aborted) trouble.value = wordsOf(error)
    }
  }
  useEffect(() => {
    const abort = new AbortController()
    linked.value = []
    if (mayDo("read", path)) load(abort.signal)
    return () => abort.abort()
  }, [path])
  return (
    <>
      <div class="bar">
        <h3>Subscriptions</h3>
        <button type="button" onClick={() => load()}>
          Refresh<span class="hidden"> subscriptions</span>
        </button>
      </div>
      <Trouble text={trouble.value} />
      {linked.value.length === 0 && trouble.value === undefined && <p class="note">No subscription is linked to this stream.</p>}
      {linked.value.map((one) => (
        <SubscriptionCard key={`${one.root}/${one.subscription.id}`} linked={one} path={path} trouble={trouble} onResumed={load} />
      ))}
    </>
  )
}

interface CardProps {
  linked: Linked
  path: string
  trouble: Signal<string | undefined>
  onResumed: () => Promise<void>
}

function SubscriptionCard({ linked, path, trouble, onResumed }: CardProps) {
  const { id, type, phase, status, last_error: error, next_attempt_at: next, holder, pending, webhook, wake_stream: wakes } = linked.subscription
  const isParked = phase === "parked"
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
      <h4>
        <code>{id}</code> <span class={`chip ${status}`}>{phase === "active" ? status : phase}</span>
      </h4>
      <p>
        {type}
        {webhook ? ` to ${webhook.url}` : ""}
        {wakes ? ` through ${wakes}` : ""}
        {holder ? `, held by ${holder}` : ""}
        {pending.length > 0 ? `, ${formatCount(pending.length, "stream")} pending` : ""}
      </p>
      {error && (
        <p>
          Last error, {formatTime(Date.parse(error.at))}: {error.message}
        </p>
      )}
      {next && <p>Next attempt: {formatTime(Date.parse(next))}</p>}
      {(isParked || status === "failed") && mayDo("manage", path) && (
        <button type="button" onClick={onResume}>
          {isParked ? "Resume" : "Retry now:"} {id}
        </button>
      )}
    </article>
  )
}
