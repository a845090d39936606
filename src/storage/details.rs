//! Reads what the description of a stream lists. Every query reads a bounded number of rows.

use std::collections::BTreeSet;

use super::schema::{FORKS, PRODUCERS, SEGMENTS, has_table};
use super::{Columns, Failure, Param, Sql, only_row};
use crate::protocol::details::{
    DETAILS_MAX, ForksDetails, ProducerDetails, ProducersDetails, SegmentDetails,
};
use crate::stream::producer::ProducerState;

/// The most rows of a table that a description counts. Beyond that, the count is unknown.
pub const ROWS_COUNTED_MAX: u64 = 10_000;
/// The newest messages in which a description looks for producers.
const ROWS_LOOKED_AT: u64 = 256;

const NEWEST_SEGMENTS: &str = "SELECT read_seq, message_count, object_bytes, written_at FROM segments \
    WHERE read_seq >= ? AND incarnation = ? ORDER BY read_seq DESC LIMIT +?";
const SEGMENTS_BYTES: &str = "SELECT coalesce(sum(object_bytes), 0) FROM segments WHERE read_seq >= ?";
const MESSAGES_BEFORE: &str = "SELECT messages_before FROM segments WHERE read_seq = ?";
const FORK_PATHS: &str = "SELECT path FROM forks WHERE released_until IS NULL LIMIT +?";
const FORK_COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM forks WHERE released_until IS NULL LIMIT +?)";
const PRODUCER_ROWS: &str = "SELECT id, epoch, seq FROM producers LIMIT +?";
const PRODUCER_COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM producers LIMIT +?)";

/// The newest segments from `from` on.
pub fn newest_segments(sql: &dyn Sql, from: u64, incarnation: u64) -> Result<Vec<SegmentDetails>, Failure> {
    let mut found = Vec::new();
    let params = [from, incarnation, DETAILS_MAX as u64].map(Param::Integer);
    sql.query(NEWEST_SEGMENTS, &params, &mut |row| {
        let mut columns = Columns::new(SEGMENTS, row);
        found.push(SegmentDetails {
            number: columns.integer()?,
            messages: columns.integer()?,
            bytes: columns.integer()?,
            written_at: columns.integer()?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// The bytes of all objects of segments from `from` on.
pub fn segments_bytes(sql: &dyn Sql, from: u64) -> Result<u64, Failure> {
    integer(sql, SEGMENTS_BYTES, from)
}

/// How many messages the stream had before a segment; `None` in rows of old versions (`schema.rs`).
pub fn messages_before(sql: &dyn Sql, segment: u64) -> Result<Option<u64>, Failure> {
    let Some(row) = only_row(sql, MESSAGES_BEFORE, &[Param::Integer(segment)])? else { return Ok(None) };
    Columns::new(SEGMENTS, row).optional_integer()
}

/// The forks that reference the stream.
pub fn forks(sql: &dyn Sql) -> Result<ForksDetails, Failure> {
    if !has_table(sql, FORKS)? {
        return Ok(ForksDetails { count: Some(0), paths: Vec::new() });
    }
    let mut paths = Vec::new();
    sql.query(FORK_PATHS, &[Param::Integer(DETAILS_MAX as u64)], &mut |row| {
        paths.push(Columns::new(FORKS, row).text()?);
        Ok(())
    })?;
    Ok(ForksDetails { count: counted(sql, FORK_COUNT)?, paths })
}

/// The producers: first those of the newest messages in a segment, then others.
pub fn producers(sql: &dyn Sql, segment: Option<u64>) -> Result<ProducersDetails, Failure> {
    let (mut newest, mut seen) = (Vec::new(), BTreeSet::new());
    if let Some(segment) = segment {
        let statement = format!(
            "SELECT producer_id, producer_epoch, producer_seq, written_at FROM messages_{segment} \
             ORDER BY key DESC LIMIT +?"
        );
        sql.query(&statement, &[Param::Integer(ROWS_LOOKED_AT)], &mut |row| {
            let mut columns = Columns::new("messages", row);
            let Some(id) = columns.optional_text()? else { return Ok(()) };
            let (epoch, seq, at) = (columns.integer()?, columns.integer()?, Some(columns.integer()?));
            if seen.insert(id.clone()) {
                newest.push(ProducerDetails { id, epoch, seq, at });
            }
            Ok(())
        })?;
    }
    if !has_table(sql, PRODUCERS)? {
        let count = Some(newest.len() as u64);
        newest.truncate(DETAILS_MAX);
        return Ok(ProducersDetails { count, newest });
    }
    let mut unstored = 0;
    for producer in &mut newest {
        match super::producers::load(sql, &producer.id)? {
            Some(ProducerState { epoch, seq }) if (epoch, seq) > (producer.epoch, producer.seq) => {
                (producer.epoch, producer.seq) = (epoch, seq);
            }
            Some(_) => {}
            None => unstored += 1,
        }
    }
    let room = DETAILS_MAX + newest.len();
    sql.query(PRODUCER_ROWS, &[Param::Integer(room as u64)], &mut |row| {
        let mut columns = Columns::new(PRODUCERS, row);
        let (id, epoch, seq) = (columns.text()?, columns.integer()?, columns.integer()?);
        if seen.insert(id.clone()) {
            newest.push(ProducerDetails { id, epoch, seq, at: None });
        }
        Ok(())
    })?;
    newest.truncate(DETAILS_MAX);
    Ok(ProducersDetails { count: counted(sql, PRODUCER_COUNT)?.map(|count| count + unstored), newest })
}

/// The number of rows; `None` above [`ROWS_COUNTED_MAX`].
fn counted(sql: &dyn Sql, statement: &str) -> Result<Option<u64>, Failure> {
    let count = integer(sql, statement, ROWS_COUNTED_MAX + 1)?;
    Ok((count <= ROWS_COUNTED_MAX).then_some(count))
}

fn integer(sql: &dyn Sql, statement: &str, param: u64) -> Result<u64, Failure> {
    let missing = || Failure::new("describe stream", "the query returned no row");
    let row = only_row(sql, statement, &[Param::Integer(param)])?.ok_or_else(missing)?;
    Columns::new("details", row).integer()
}
