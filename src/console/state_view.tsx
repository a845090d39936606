// The state of the open stream, its subscriptions, and the chart.

import type { ComponentChildren } from "preact"
import { Chart } from "./chart"
import { formatBytes, formatCount, formatDuration, formatNumber, formatTime } from "./format"
import type { Reader } from "./reader"
import { RefreshBar } from "./refresh"
import type { Description, Lag } from "./state"
import { SubscriptionsOf } from "./subscriptions_view"
import { ROWS_SHOWN, StreamLink, Table } from "./table"
import { isReserved } from "./token"

interface StateProps {
  reader: Reader
  description: Description
  onRefresh: () => void
}

export function StateView({ reader, description, onRefresh }: StateProps) {
  return (
    <section class="state" aria-label="State" tabIndex={0}>
      <RefreshBar title="State" onRefresh={onRefresh} />
      <Facts description={description} isFollowing={reader.phase.value === "following"} />
      <h3>Arrivals</h3>
      <Chart rates={reader.rates} />
      <Segments description={description} />
      <Producers description={description} />
      {!isReserved(reader.path) && <SubscriptionsOf path={reader.path} />}
    </section>
  )
}

/** What cannot be known without extra cost has no row. */
const ifKnown = <T,>(value: T | null | undefined, format: (value: T) => ComponentChildren) =>
  value === null || value === undefined ? null : format(value)

function Facts({ description: d, isFollowing }: { description: Description; isFollowing: boolean }) {
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
    ["Live readers", ifKnown(d.readers, ({ sse, longPoll }) => `${sse} by SSE${isFollowing && sse > 0 ? " (including this page)" : ""}, ${longPoll} by long-poll`)],
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
