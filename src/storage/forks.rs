//! Stores the links between streams: those from this stream to its sources, and those from forks to this
//! stream. Each link has a unique id, so a repeated or late message about it has no further effect.

use super::schema::{FORKS, LINKS, has_table};
use super::{Columns, Failure, Param, Sql, only_row, schema};
use crate::protocol::Millis;

const INSERT_LINK: &str = "INSERT INTO edges (id, source, valid_until) VALUES (?, ?, ?)";
const NEXT_LINK: &str =
    "SELECT id, source, valid_until FROM edges WHERE id <> ? AND id > ? ORDER BY id LIMIT 1";
const DELETE_LINK: &str = "DELETE FROM edges WHERE id = ?";

// The first grant stands. If the request arrives again, the stream may have been trimmed since, but the fork
// needs what it was granted.
const HOLD: &str = "INSERT OR IGNORE INTO forks (edge, path, first_read_seq) VALUES (?, ?, ?)";
const STATE: &str = "SELECT released_until FROM forks WHERE edge = ?";
const HOLDS: &str = "SELECT 1 FROM forks WHERE released_until IS NULL AND edge <> ? LIMIT 1";
const FLOOR: &str = "SELECT MIN(first_read_seq) FROM forks WHERE released_until IS NULL";
const RELEASE: &str = "DELETE FROM forks WHERE edge = ? OR released_until < ?";
const REMEMBER_RELEASE: &str =
    "INSERT OR REPLACE INTO forks (edge, path, first_read_seq, released_until) VALUES (?, '', 0, ?)";

/// A link from this stream to a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub id: String,
    pub source: String,
    /// The time until which the source may still receive the link for the first time.
    pub valid_until: Millis,
}

/// Stores a link before its source receives it, so that it can be released after any failure.
pub(super) fn intend(sql: &dyn Sql, link: &Link) -> Result<(), Failure> {
    sql.run(schema::CREATE_LINKS, &[])?;
    let params = [Param::Text(&link.id), Param::Text(&link.source), Param::Integer(link.valid_until)];
    sql.run(INSERT_LINK, &params)
}

/// The first link whose id comes after `after`, skipping the link `kept`.
pub fn next_link(sql: &dyn Sql, kept: &str, after: &str) -> Result<Option<Link>, Failure> {
    if !has_table(sql, LINKS)? {
        return Ok(None);
    }
    let params = [Param::Text(kept), Param::Text(after)];
    let Some(row) = only_row(sql, NEXT_LINK, &params)? else { return Ok(None) };
    let mut columns = Columns::new("edges", row);
    Ok(Some(Link { id: columns.text()?, source: columns.text()?, valid_until: columns.integer()? }))
}

/// Deletes a link that its source has released or never knew.
pub(super) fn forgo(sql: &dyn Sql, id: &str) -> Result<(), Failure> {
    sql.run(DELETE_LINK, &[Param::Text(id)])
}

/// The state of a link at its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    Unknown,
    Held,
    Released,
}

/// The state of a link at this stream, which is its source.
pub fn hold(sql: &dyn Sql, link: &str) -> Result<Hold, Failure> {
    if !has_table(sql, FORKS)? {
        return Ok(Hold::Unknown);
    }
    let Some(row) = only_row(sql, STATE, &[Param::Text(link)])? else { return Ok(Hold::Unknown) };
    let released_until = Columns::new("forks", row).optional_integer()?;
    Ok(if released_until.is_some() { Hold::Released } else { Hold::Held })
}

/// Whether forks reference the stream through links other than `besides`.
pub fn is_held(sql: &dyn Sql, besides: &str) -> Result<bool, Failure> {
    Ok(has_table(sql, FORKS)? && only_row(sql, HOLDS, &[Param::Text(besides)])?.is_some())
}

/// The first segment that any fork still needs.
pub fn floor(sql: &dyn Sql) -> Result<Option<u64>, Failure> {
    if !has_table(sql, FORKS)? {
        return Ok(None);
    }
    let Some(row) = only_row(sql, FLOOR, &[])? else { return Ok(None) };
    Columns::new("forks", row).optional_integer()
}

/// Stores that a fork references the stream from a segment on.
pub(super) fn put(sql: &dyn Sql, link: &str, path: &str, first_segment: u64) -> Result<(), Failure> {
    sql.run(schema::CREATE_FORKS, &[])?;
    sql.run(HOLD, &[Param::Text(link), Param::Text(path), Param::Integer(first_segment)])
}

/// Deletes a fork's link. If its request may still arrive, stores until when that must be refused.
pub(super) fn release(
    sql: &dyn Sql,
    link: &str,
    remember_until: Option<Millis>,
    now: Millis,
) -> Result<(), Failure> {
    sql.run(schema::CREATE_FORKS, &[])?;
    sql.run(RELEASE, &[Param::Text(link), Param::Integer(now)])?;
    match remember_until {
        Some(until) => sql.run(REMEMBER_RELEASE, &[Param::Text(link), Param::Integer(until)]),
        None => Ok(()),
    }
}
