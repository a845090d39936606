//! Reads an object's state from storage when the object starts. Data of older versions is upgraded first, so
//! all other code knows only the current schema.

use super::commit::{Change, commit};
use super::schema::{self, SCHEMA_VERSION};
use super::segments::{self, LastSegment};
use super::stream_row::{self, StreamRow};
use super::{Columns, Failure, Sql, messages};
use crate::protocol::lifetime::Lifetime;
use crate::protocol::path::StreamPath;
use crate::stream::{Life, Stream};

/// The state that an object has in memory.
#[derive(Debug)]
pub struct Loaded {
    pub life: Life,
    /// The column of that name (`registry.rs`); `None` if the stream never reports, because it is a registry.
    pub reported: Option<u64>,
    /// Whether there may be links to sources.
    pub has_links: bool,
    /// Whether there may be subscriptions to notify.
    pub has_watchers: bool,
    /// Whether the object is a subscription's.
    pub has_subscription: bool,
}

/// Reads the state. Fails if an older schema cannot be upgraded.
pub fn load(sql: &dyn Sql) -> Result<Loaded, Failure> {
    let tables = Tables::load(sql)?;
    let row = if tables.stream { row(sql)? } else { None };
    let reported = row.as_ref().and_then(reported);
    let life = row.map_or(Ok(Life::Unborn), |row| life(sql, row, &tables))?;
    let Tables { links, watchers, subscription, .. } = tables;
    Ok(Loaded { life, reported, has_links: links, has_watchers: watchers, has_subscription: subscription })
}

fn reported(row: &StreamRow) -> Option<u64> {
    let is_registry = StreamPath::of_text(row.path.clone()).is_ok_and(|path| path.is_registry());
    (!is_registry).then_some(row.reported)
}

/// The stream's row in the current schema. An object without a row has nothing to upgrade.
fn row(sql: &dyn Sql) -> Result<Option<StreamRow>, Failure> {
    let Some(mut found) = stream_row::find(sql)? else { return Ok(None) };
    let version = found.version()?;
    if version != SCHEMA_VERSION {
        // The upgrade is one transaction: if it fails, the older version is intact.
        commit(sql, &Change::Upgrade { from: version })?;
        let lost = || Failure::new("load stream", "the upgrade left no row");
        found = stream_row::find(sql)?.ok_or_else(lost)?;
    }
    found.decode().map(Some)
}

fn life(sql: &dyn Sql, row: StreamRow, tables: &Tables) -> Result<Life, Failure> {
    let live = row.live;
    if live == 0 {
        return Ok(Life::Ended(row.ended()));
    }
    let mut stream = row.into_stream()?;
    let rotated = if tables.segments { segments::last(sql)? } else { None };
    let incarnation = stream.incarnation;
    find_tail(sql, &mut stream, rotated.filter(|last| last.incarnation == incarnation))?;
    if let Lifetime::Ttl { seconds } = stream.lifetime {
        // The lease may record a read after the last write.
        stream.touched_at = stream.touched_at.max(stream.lease_until.saturating_sub(seconds * 1000));
    }
    Ok(if live == 1 { Life::Live(Box::new(stream)) } else { Life::Gone(Box::new(stream)) })
}

/// Finds the tail. If the last segment has messages, they are in the hot log or in the bucket. If it is
/// empty, the previous segment describes the last message. If all segments were trimmed, the stream's row
/// does.
fn find_tail(sql: &dyn Sql, stream: &mut Stream, rotated: Option<LastSegment>) -> Result<(), Failure> {
    let segment = stream.tail.segment;
    stream.hot_from = rotated.as_ref().map_or(0, |last| last.number + 1).max(stream.first_segment);
    stream.rotated_bytes = rotated.as_ref().map_or(0, |last| last.bytes_through);
    if let Some(messages) = rotated.as_ref().and_then(|last| last.messages_through) {
        stream.rotated_messages = messages;
    }
    let last = if stream.hot_from <= segment { messages::last(sql, segment)? } else { None };
    let before =
        if last.is_none() && stream.hot_from < segment { messages::last(sql, segment - 1)? } else { None };
    if let Some(last) = &last {
        stream.tail.position = last.next_position;
        stream.fill = last.fill;
    }
    let newest = last.or(before).map(|last| (last.written_at, last.stream_seq));
    let newest = newest.or_else(|| {
        let rotated = rotated?;
        if rotated.number == segment {
            stream.tail.position = rotated.end_position;
        }
        Some((rotated.written_at, rotated.stream_seq))
    });
    if let Some((written_at, stream_seq)) = newest {
        stream.stream_seq = stream_seq;
        stream.written_at = written_at;
        stream.touched_at = stream.touched_at.max(written_at);
    }
    Ok(())
}

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('stream', 'segments', 'edges', 'watchers', \
    'subscription')";

#[derive(Default)]
struct Tables {
    stream: bool,
    segments: bool,
    links: bool,
    watchers: bool,
    subscription: bool,
}

impl Tables {
    fn load(sql: &dyn Sql) -> Result<Tables, Failure> {
        let mut tables = Tables::default();
        sql.query(TABLES, &[], &mut |row| {
            match Columns::new("sqlite_master", row).text()?.as_str() {
                "stream" => tables.stream = true,
                schema::LINKS => tables.links = true,
                schema::WATCHERS => tables.watchers = true,
                schema::SUBSCRIPTION => tables.subscription = true,
                _ => tables.segments = true,
            }
            Ok(())
        })?;
        Ok(tables)
    }
}
