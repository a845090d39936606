//! What a stream has reported of its lives to the registry: one number in its row, and rows only of those lives that
//! ended before the registry had heard it. And what a registry knows: its producers are the streams.

use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::Millis;
use crate::protocol::listing::{ListQuery, ListedStreams};
use crate::protocol::path::StreamPath;
use crate::protocol::registry::{Operation, Registries};

/// How many rows of a registry one page of a listing looks at, those of deleted streams among them.
pub const LISTED_ROWS_MAX: u64 = 1000;

const SELECT: &str =
    "SELECT path, incarnation, live, content_type, created_at, lease_until, reported FROM stream";
const REPORTED: &str = "UPDATE stream SET reported = ?";
const INCARNATION: &str = "SELECT incarnation FROM stream";
const KEEP: &str = "INSERT OR REPLACE INTO unreported (incarnation, content_type, created_at) \
    SELECT incarnation, content_type, created_at FROM stream";
const KEPT: &str = "SELECT incarnation, content_type, created_at FROM unreported WHERE incarnation >= ? \
    ORDER BY incarnation LIMIT +?";
const LISTED: &str = "SELECT id, seq FROM producers WHERE id >= ? AND id < ? ORDER BY id LIMIT +?";

/// How far the registry knows a stream's lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ReportMark {
    /// The newest life that it knows; 0 where it knows none.
    pub incarnation: u64,
    pub ended: bool,
}

impl ReportMark {
    /// Two low bits: the end, and which registry it was. Another one knows nothing.
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

/// A life, as a registry has it.
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

    /// What became of it.
    pub fn operations(&self) -> &'static [Operation] {
        if self.ended { &[Operation::Insert, Operation::Delete] } else { &[Operation::Insert] }
    }
}

/// What is to be reported next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreported {
    pub path: String,
    pub registry: String,
    pub lives: Vec<Lived>,
    /// How far the registry knows them then.
    pub through: ReportMark,
    /// Since when it should know.
    pub since: Millis,
}

/// The stream's row, as far as it matters here.
struct LifeRow {
    path: String,
    current: Lived,
    ended_at: Millis,
    mark: ReportMark,
}

impl LifeRow {
    fn load(sql: &dyn Sql, registries: Registries) -> Result<Option<LifeRow>, Failure> {
        let Some(row) = only_row(sql, SELECT, &[])? else { return Ok(None) };
        let mut columns = Columns::new("stream", row);
        let path = columns.text()?;
        let (incarnation, ended) = (columns.integer()?, columns.integer()? != 1);
        let (content_type, created_at) = (columns.text()?, columns.integer()?);
        Ok(Some(LifeRow {
            path,
            current: Lived { incarnation, content_type, created_at, ended },
            ended_at: columns.integer()?,
            mark: ReportMark::decode(columns.integer()?, registries),
        }))
    }
}

/// What is to be reported of a stream that has a row.
pub fn unreported(
    sql: &dyn Sql,
    registries: Registries,
    lives_max: u64,
) -> Result<Option<Unreported>, Failure> {
    let Some(LifeRow { path, current, ended_at, mark }) = LifeRow::load(sql, registries)? else {
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
    let through = lives.last().expect("one was pushed, or there are as many as may be").mark();
    let since = if is_known { ended_at } else { lives[0].created_at };
    Ok(Some(Unreported { path, registry, lives, through, since }))
}

/// Lives that have ended, from the first that is not known to the end.
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

/// Before the next life takes the row of one that has ended: keeps what the registry does not know of that.
pub(super) fn keep(sql: &dyn Sql, registries: Registries) -> Result<(), Failure> {
    if registries == Registries::Off {
        return Ok(());
    }
    match LifeRow::load(sql, registries)? {
        Some(row) if row.mark < row.current.mark() => {
            sql.run(schema::CREATE_UNREPORTED, &[])?;
            sql.run(KEEP, &[])
        }
        Some(_) | None => Ok(()),
    }
}

/// The registry knows so much. Once that includes the present life, no earlier one is to be kept.
pub(super) fn reported(sql: &dyn Sql, through: ReportMark, registries: Registries) -> Result<(), Failure> {
    sql.run(REPORTED, &[Param::Integer(through.encode(registries))])?;
    let Some(row) = only_row(sql, INCARNATION, &[])? else { return Ok(()) };
    let is_first = through.incarnation == 1;
    if !is_first && Columns::new("stream", row).integer()? == through.incarnation {
        return sql.run(schema::DROP_UNREPORTED, &[]);
    }
    Ok(())
}

/// Lists streams of a registry by its producers: the last sequence of one says whether it is there.
pub fn listed(sql: &dyn Sql, query: &ListQuery) -> Result<ListedStreams, Failure> {
    let mut listed = ListedStreams::default();
    if !schema::has_table(sql, schema::PRODUCERS)? {
        return Ok(listed);
    }
    // What comes right after a text is the same with a NUL.
    let after = if query.after.is_empty() { String::new() } else { format!("{}\0", query.after) };
    let from = Param::Text(query.prefix.as_str().max(after.as_str()));
    let end = end_of(&query.prefix);
    // Every text is below every blob.
    let end = end.as_deref().map_or(Param::Blob(&[]), Param::Text);
    let (mut rows, mut is_full) = (0, false);
    sql.query(LISTED, &[from, end, Param::Integer(LISTED_ROWS_MAX)], &mut |row| {
        rows += 1;
        let mut columns = Columns::new("producers", row);
        let (path, seq) = (columns.text()?, columns.integer()?);
        let is_there = seq == Operation::Insert.seq();
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

/// The first text that is after all those that begin like this; `None` if there is none.
fn end_of(prefix: &str) -> Option<String> {
    let (at, last) = prefix.char_indices().rfind(|(_, last)| *last < char::MAX)?;
    let next = (last..=char::MAX).nth(1)?;
    Some(format!("{}{next}", &prefix[..at]))
}
