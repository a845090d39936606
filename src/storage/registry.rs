//! Stores what a stream has reported to its registry, and lists the streams that a registry knows. The
//! stream's row has one number for what was reported. Incarnations that ended unreported have rows of their
//! own. In a registry, each stream is a producer.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::Millis;
use crate::protocol::listing::{ListQuery, ListedStreams};
use crate::protocol::metrics::StreamCounts;
use crate::protocol::path::StreamPath;
use crate::protocol::registry::{Operation, Registries};
use crate::protocol::subscription::SubscriptionName;
use crate::stream::Stream;

/// The most rows that one page of a listing examines, including those of deleted streams.
pub const LISTED_ROWS_MAX: u64 = 1000;

const SELECT: &str =
    "SELECT path, incarnation, live, content_type, created_at, lease_until, reported FROM stream";
const REPORTED: &str = "UPDATE stream SET reported = ?";
const INCARNATION: &str = "SELECT incarnation FROM stream";
const KEEP: &str = "INSERT OR REPLACE INTO unreported (incarnation, content_type, created_at) \
    SELECT incarnation, content_type, created_at FROM stream";
const KEPT: &str = "SELECT incarnation, content_type, created_at FROM unreported WHERE incarnation >= ? \
    ORDER BY incarnation LIMIT +?";
// A row of a stream has its incarnation as the epoch, and a row of a subscription the number of its events.
const COUNTED: &str = "SELECT count(*), ifnull(sum(NOT named AND live), 0), ifnull(sum(iif(named, 0, epoch)), 0), \
    ifnull(sum(named AND live), 0) FROM (SELECT epoch, seq = 0 AS live, (id GLOB '__ds/subscriptions/*' OR \
    substr(id, instr(id, '/') + 1) GLOB '__ds/subscriptions/*') AS named FROM producers LIMIT +?)";
const LISTED: &str = "SELECT id, seq FROM producers WHERE id >= ? AND id < ? ORDER BY id LIMIT +?";

/// The most rows that a count reads. A scrape each minute then costs at most $4.32 a month (docs/cost.md).
pub const COUNTED_ROWS_MAX: u64 = 100_000;

/// The newest events whose delay is measured, and how long ago they may have been recorded.
const LAG_EVENTS: u64 = 100;
const LAG_WINDOW: Millis = 3_600_000;

/// How much of a stream's history the registry has recorded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ReportMark {
    /// The newest recorded incarnation; 0 if there is none.
    pub incarnation: u64,
    pub ended: bool,
}

impl ReportMark {
    /// The two low bits are the end and the kind of registry. A mark from another kind of registry counts as
    /// nothing recorded.
    fn encode(self, registries: Registries) -> u64 {
        self.incarnation << 2 | u64::from(self.ended) << 1 | u64::from(registries == Registries::PerProject)
    }

    fn decode(number: u64, registries: Registries) -> ReportMark {
        if (number & 1 == 1) != (registries == Registries::PerProject) {
            return ReportMark::default();
        }
        ReportMark { incarnation: number >> 2, ended: number & 2 == 2 }
    }
}

/// One incarnation as the registry records it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lived {
    pub incarnation: u64,
    pub content_type: String,
    pub created_at: Millis,
    pub ended: bool,
}

impl Lived {
    fn mark(&self) -> ReportMark {
        ReportMark { incarnation: self.incarnation, ended: self.ended }
    }

    /// The operations to report for this incarnation.
    pub fn operations(&self) -> &'static [Operation] {
        if self.ended { &[Operation::Insert, Operation::Delete] } else { &[Operation::Insert] }
    }
}

/// The next report to the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreported {
    pub path: String,
    pub registry: String,
    pub lives: Vec<Lived>,
    /// The mark to store once the registry has recorded the report.
    pub through: ReportMark,
    /// The time of the oldest change in the report.
    pub since: Millis,
}

/// The columns of the stream's row that matter here.
struct IncarnationRow {
    path: String,
    current: Lived,
    ended_at: Millis,
    mark: ReportMark,
}

impl IncarnationRow {
    fn load(sql: &dyn Sql, registries: Registries) -> Result<Option<IncarnationRow>, Failure> {
        let Some(row) = only_row(sql, SELECT, &[])? else { return Ok(None) };
        let mut columns = Columns::new("stream", row);
        let path = columns.text()?;
        let (incarnation, ended) = (columns.integer()?, columns.integer()? != 1);
        let (content_type, created_at) = (columns.text()?, columns.integer()?);
        Ok(Some(IncarnationRow {
            path,
            current: Lived { incarnation, content_type, created_at, ended },
            ended_at: columns.integer()?,
            mark: ReportMark::decode(columns.integer()?, registries),
        }))
    }
}

/// Whether the registry has not heard of the creation of a live incarnation.
pub fn is_unreported(reported: u64, incarnation: u64, registries: Registries) -> bool {
    registries != Registries::Off && ReportMark::decode(reported, registries).incarnation < incarnation
}

/// The next report of at most `lives_max` incarnations; `None` if nothing is unreported.
pub fn unreported(
    sql: &dyn Sql,
    registries: Registries,
    lives_max: u64,
) -> Result<Option<Unreported>, Failure> {
    let Some(IncarnationRow { path, current, ended_at, mark }) = IncarnationRow::load(sql, registries)?
    else {
        return Ok(None);
    };
    let invalid = |refusal| Failure::new("report stream", format_args!("{path}: {refusal:?}"));
    let Some(registry) = registries.path_for(&StreamPath::of_text(path.clone()).map_err(invalid)?) else {
        return Ok(None);
    };
    if mark >= current.mark() {
        return Ok(None);
    }
    let is_known = mark.incarnation == current.incarnation;
    let mut lives = if is_known { Vec::new() } else { kept(sql, mark, lives_max)? };
    if (lives.len() as u64) < lives_max {
        lives.push(current);
    }
    let through = lives.last().expect("one was pushed, or `kept` returned `lives_max`").mark();
    let since = if is_known { ended_at } else { lives[0].created_at };
    Ok(Some(Unreported { path, registry, lives, through, since }))
}

/// The incarnations that have ended unreported, oldest first.
fn kept(sql: &dyn Sql, mark: ReportMark, lives_max: u64) -> Result<Vec<Lived>, Failure> {
    let mut lives = Vec::new();
    if !schema::has_table(sql, schema::UNREPORTED)? {
        return Ok(lives);
    }
    let from = Param::Integer(mark.incarnation + u64::from(mark.ended));
    sql.query(KEPT, &[from, Param::Integer(lives_max)], &mut |row| {
        let mut columns = Columns::new("unreported", row);
        let incarnation = columns.integer()?;
        let (content_type, created_at) = (columns.text()?, columns.integer()?);
        lives.push(Lived { incarnation, content_type, created_at, ended: true });
        Ok(())
    })?;
    Ok(lives)
}

/// Copies an unreported incarnation to a row of its own before the next one replaces it.
pub(super) fn keep(sql: &dyn Sql, registries: Registries) -> Result<(), Failure> {
    if registries == Registries::Off {
        return Ok(());
    }
    match IncarnationRow::load(sql, registries)? {
        Some(row) if row.mark < row.current.mark() => {
            sql.run(schema::CREATE_UNREPORTED, &[])?;
            sql.run(KEEP, &[])
        }
        Some(_) | None => Ok(()),
    }
}

/// Stores how much the registry has recorded. Once that includes the current incarnation, the rows of earlier
/// ones are dropped.
pub(super) fn reported(sql: &dyn Sql, through: ReportMark, registries: Registries) -> Result<(), Failure> {
    sql.run(REPORTED, &[Param::Integer(through.encode(registries))])?;
    let Some(row) = only_row(sql, INCARNATION, &[])? else { return Ok(()) };
    let is_first = through.incarnation == 1;
    if !is_first && Columns::new("stream", row).integer()? == through.incarnation {
        return sql.run(schema::DROP_UNREPORTED, &[]);
    }
    Ok(())
}

/// Lists the streams of a registry, or its subscriptions. Both are its producers. A producer's last sequence number says
/// whether it exists.
pub fn listed(sql: &dyn Sql, query: &ListQuery) -> Result<ListedStreams, Failure> {
    let mut listed = ListedStreams::default();
    if !schema::has_table(sql, schema::PRODUCERS)? {
        return Ok(listed);
    }
    // The smallest text after `after` is `after` followed by NUL.
    let after = if query.after.is_empty() { String::new() } else { format!("{}\0", query.after) };
    let from = Param::Text(query.prefix.as_str().max(after.as_str()));
    let end = end_of(&query.prefix);
    // SQLite orders every text before every blob.
    let end = end.as_deref().map_or(Param::Blob(&[]), Param::Text);
    let (mut rows, mut is_full) = (0, false);
    sql.query(LISTED, &[from, end, Param::Integer(LISTED_ROWS_MAX)], &mut |row| {
        rows += 1;
        let mut columns = Columns::new("producers", row);
        let (path, seq) = (columns.text()?, columns.integer()?);
        let is_asked_for = SubscriptionName::parse(&path).is_some() == query.subscriptions;
        let is_there = seq == Operation::Insert.seq() && is_asked_for;
        if is_there && listed.paths.len() as u64 == query.limit {
            is_full = true;
        }
        if !is_full {
            listed.next = Some(path.clone());
            listed.paths.extend(is_there.then_some(path));
        }
        Ok(())
    })?;
    if !is_full && rows < LISTED_ROWS_MAX {
        listed.next = None;
    }
    Ok(listed)
}

/// Counts the streams and subscriptions of a registry. `None` if it has more than [`COUNTED_ROWS_MAX`] rows.
pub fn counted(sql: &dyn Sql) -> Result<Option<StreamCounts>, Failure> {
    if !schema::has_table(sql, schema::PRODUCERS)? {
        return Ok(Some(StreamCounts::default()));
    }
    let Some(row) = only_row(sql, COUNTED, &[Param::Integer(COUNTED_ROWS_MAX + 1)])? else { return Ok(None) };
    let mut columns = Columns::new("producers", row);
    if columns.integer()? > COUNTED_ROWS_MAX {
        return Ok(None);
    }
    let (streams, created, subscriptions) = (columns.integer()?, columns.integer()?, columns.integer()?);
    Ok(Some(StreamCounts { streams, created, deleted: created.saturating_sub(streams), subscriptions }))
}

/// The longest delay between an event and its record, in milliseconds: among the newest [`LAG_EVENTS`] events, those recorded
/// in the last [`LAG_WINDOW`]. Deletions do not count, because their event has only the time of the creation. `None` if
/// there are none.
pub fn lag(sql: &dyn Sql, registry: &Stream, now: Millis) -> Result<Option<Millis>, Failure> {
    let (mut longest, mut left) = (None, LAG_EVENTS);
    for segment in (registry.hot_from..=registry.tail.segment).rev() {
        let statement = format!("SELECT written_at, body FROM messages_{segment} ORDER BY key DESC LIMIT +?");
        sql.query(&statement, &[Param::Integer(left)], &mut |row| {
            left = left.saturating_sub(1);
            let mut columns = Columns::new("messages", row);
            let (written_at, body) = (columns.integer()?, columns.blob()?);
            if written_at + LAG_WINDOW >= now {
                longest = longest.max(happened_at(&body).map(|at| written_at.saturating_sub(at)));
            }
            Ok(())
        })?;
        if left == 0 {
            break;
        }
    }
    Ok(longest)
}

/// When the event happened: its own time, or that of the creation.
fn happened_at(message: &[u8]) -> Option<Millis> {
    let message: serde_json::Value = serde_json::from_slice(message).ok()?;
    let value = &message["value"];
    let is_creation = message["headers"]["operation"] == Operation::Insert.name();
    value["at"].as_u64().or_else(|| value["createdAt"].as_u64().filter(|_| is_creation))
}

/// The smallest text after all texts with this prefix; `None` if there is none.
fn end_of(prefix: &str) -> Option<String> {
    let (at, last) = prefix.char_indices().rfind(|(_, last)| *last < char::MAX)?;
    let next = (last..=char::MAX).nth(1)?;
    Some(format!("{}{next}", &prefix[..at]))
}
