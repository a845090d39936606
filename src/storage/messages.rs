//! Stores messages in the hot log and reads them. An append takes one row (`message_row.rs`), or more if it
//! exceeds the size of a row.

use std::collections::BTreeMap;

use super::array::Array;
use super::chunk::{Chunk, join};
use super::message_row::{MessageRow, PART_BITS, ROW_MAX_BYTES};
use super::run::Run;
use super::{Columns, Failure, Param, Sql, only_row};
use crate::protocol::Millis;
use crate::protocol::content_type::Format;
use crate::protocol::json;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::stream::content::Content;
use crate::stream::fill::Fill;
use crate::stream::producer::ProducerState;

/// A bound above every key.
const KEYS_END: u64 = (1 << 53) - 1;

/// The columns of an append besides its content.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The offset at which the append begins.
    pub at: Offset,
    pub written_at: Millis,
    /// The stream's last accepted `Stream-Seq`, including this append's.
    pub stream_seq: Option<&'a str>,
    /// How full the segment is, including this append.
    pub fill: Fill,
    /// The append's producer, unless it is stored in the table `producers`.
    pub producer: Option<&'a Producer>,
}

/// The last row of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Last {
    /// The position after the row.
    pub next_position: u64,
    pub written_at: Millis,
    pub stream_seq: Option<String>,
    pub fill: Fill,
}

/// Reads the last row of a segment, which describes the tail.
pub fn last(sql: &dyn Sql, segment: u64) -> Result<Option<Last>, Failure> {
    let statement = format!(
        "SELECT key, span, written_at, stream_seq, appends, bytes FROM messages_{segment} ORDER BY key DESC LIMIT 1"
    );
    let Some(row) = only_row(sql, &statement, &[])? else { return Ok(None) };
    let mut columns = Columns::new("messages", row);
    let next_position = (columns.integer()? >> PART_BITS) + columns.integer()?;
    Ok(Some(Last {
        next_position,
        written_at: columns.integer()?,
        stream_seq: columns.optional_text()?,
        fill: Fill { appends: columns.integer()?, bytes: columns.integer()? },
    }))
}

/// The newest state of each producer that has rows in a segment. Reads back from the tail to the row at which
/// the segment had `appends` appends, or a few rows further.
pub fn producers_since(
    sql: &dyn Sql,
    segment: u64,
    appends: u64,
    fill: Fill,
) -> Result<BTreeMap<String, ProducerState>, Failure> {
    let statement = format!(
        "SELECT key, appends, producer_id, producer_epoch, producer_seq FROM messages_{segment} WHERE key < ? \
         ORDER BY key DESC LIMIT +?"
    );
    let (mut newest, mut below, mut left) = (BTreeMap::new(), KEYS_END, fill.appends - appends);
    while left > 0 {
        // The loop repeats only if an append took more than one row.
        let limit = left;
        let mut rows = 0;
        sql.query(&statement, &[Param::Integer(below), Param::Integer(limit)], &mut |row| {
            let mut columns = Columns::new("messages", row);
            rows += 1;
            below = columns.integer()?;
            left = columns.integer()?.saturating_sub(appends + 1);
            if let Some(id) = columns.optional_text()? {
                let state = ProducerState { epoch: columns.integer()?, seq: columns.integer()? };
                newest.entry(id).or_insert(state);
            }
            Ok(())
        })?;
        if rows < limit {
            break;
        }
    }
    Ok(newest)
}

/// Stores an append of one row as its own transaction.
pub(super) fn insert_alone(
    sql: &dyn Sql,
    content: &Content<'_>,
    written: Written<'_>,
) -> Result<(), Failure> {
    let key = written.at.position << PART_BITS;
    let (statement, columns) = insertion(written);
    sql.run_alone(&statement, &values(key, content.span, &content.bytes, written)[..columns])
}

/// Whether an append fits into one row.
pub fn is_one_row(content: &Content<'_>) -> bool {
    content.bytes.len() <= ROW_MAX_BYTES
}

pub(super) fn insert(
    sql: &dyn Sql,
    format: Format,
    content: &Content<'_>,
    written: Written<'_>,
) -> Result<(), Failure> {
    let (statement, columns) = insertion(written);
    each_row(format, content, written.at.position, &mut |key, span, body| {
        sql.run(&statement, &values(key, span, body, written)[..columns])
    })
}

/// The statement, and how many of the values it takes. Most appends have no producer.
fn insertion(written: Written<'_>) -> (String, usize) {
    let segment = written.at.segment;
    let columns = "key, span, body, written_at, stream_seq, appends, bytes";
    if written.producer.is_none() {
        (format!("INSERT INTO messages_{segment} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"), 7)
    } else {
        let columns = format_args!("{columns}, producer_id, producer_epoch, producer_seq");
        (format!("INSERT INTO messages_{segment} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"), 10)
    }
}

fn values<'v>(key: u64, span: u64, body: &'v [u8], written: Written<'v>) -> [Param<'v>; 10] {
    let of_producer = |value: fn(&Producer) -> u64| {
        written.producer.map_or(Param::Null, |producer| Param::Integer(value(producer)))
    };
    [
        Param::Integer(key),
        Param::Integer(span),
        Param::Blob(body),
        Param::Integer(written.written_at),
        written.stream_seq.map_or(Param::Null, Param::Text),
        Param::Integer(written.fill.appends),
        Param::Integer(written.fill.bytes),
        written.producer.map_or(Param::Null, |producer| Param::Text(&producer.id)),
        of_producer(|producer| producer.epoch),
        of_producer(|producer| producer.seq),
    ]
}

type Store<'s> = &'s mut dyn FnMut(u64, u64, &[u8]) -> Result<(), Failure>;

fn each_row(format: Format, content: &Content<'_>, position: u64, store: Store<'_>) -> Result<(), Failure> {
    if is_one_row(content) {
        return store(position << PART_BITS, content.span, &content.bytes);
    }
    match format {
        Format::Json => each_json_row(content, position, store),
        Format::Text | Format::Binary => {
            let mut position = position;
            for row in content.bytes.chunks(ROW_MAX_BYTES) {
                store(position << PART_BITS, row.len() as u64, row)?;
                position += row.len() as u64;
            }
            Ok(())
        }
    }
}

/// Fills rows with whole messages. A message larger than a row gets rows of its own.
fn each_json_row(content: &Content<'_>, position: u64, store: Store<'_>) -> Result<(), Failure> {
    let (mut position, mut span, mut row) = (position, 0, Vec::new());
    let mut result = Ok(());
    json::each_message(&content.bytes, &mut |message| {
        if !row.is_empty() && row.len() + 1 + message.len() > ROW_MAX_BYTES {
            result = store(position << PART_BITS, span, &row);
            position += span;
            span = 0;
            row.clear();
        }
        if message.len() > ROW_MAX_BYTES {
            result = result.clone().and_then(|()| each_part(message, position, store));
            position += 1;
        } else {
            if !row.is_empty() {
                row.push(b',');
            }
            row.extend_from_slice(message);
            span += 1;
        }
        result.is_ok()
    });
    result?;
    if row.is_empty() { Ok(()) } else { store(position << PART_BITS, span, &row) }
}

fn each_part(message: &[u8], position: u64, store: Store<'_>) -> Result<(), Failure> {
    let parts = message.len().div_ceil(ROW_MAX_BYTES);
    for (part, bytes) in message.chunks(ROW_MAX_BYTES).enumerate() {
        let span = u64::from(part + 1 == parts);
        store(position << PART_BITS | part as u64, span, bytes)?;
    }
    Ok(())
}

/// Reads the hot log between two offsets, up to about `max_bytes`. A range of bytes may end a few bytes
/// earlier or later, because a response must not end there (`run.rs`). A JSON chunk ends with a row, so it
/// exceeds `max_bytes` by at most one row, unless it holds a single message. Fails if there are no messages
/// at `from`.
pub fn read(
    sql: &dyn Sql,
    format: Format,
    from: Offset,
    until: Offset,
    max_bytes: usize,
) -> Result<Chunk, Failure> {
    let mut whole = Chunk::empty(from);
    while whole.next < until {
        let from = whole.next;
        // Segments that wait for rotation are read as one range.
        let end = if from.segment < until.segment { Some(end_of(sql, from.segment)?) } else { None };
        let last = end.unwrap_or(until.position);
        let left = max_bytes.saturating_sub(whole.body.len());
        if end.is_none_or(|end| from.position < end) {
            let part = match format {
                // A bracket and at least one message.
                Format::Json => read_json(sql, from, last, left.max(2))?,
                Format::Text | Format::Binary => read_bytes(sql, format, from, last, left)?,
            };
            if part.next <= from {
                return Err(Failure::new("read messages", format_args!("there are no messages at {from}")));
            }
            if !join(format, &mut whole, part, max_bytes) {
                break;
            }
        }
        match end {
            Some(end) if whole.next.position >= end => {
                whole.next = Offset::segment_start(from.segment + 1);
            }
            Some(_) | None => break,
        }
        if whole.body.len() >= max_bytes {
            break;
        }
    }
    Ok(whole)
}

/// The position after the last message of a segment in the hot log.
pub fn end_of(sql: &dyn Sql, segment: u64) -> Result<u64, Failure> {
    Ok(last(sql, segment)?.map_or(0, |last| last.next_position))
}

fn key_of(position: u64) -> Param<'static> {
    Param::Integer(position << PART_BITS)
}

/// Selects rows, beginning with the one that contains a position: the last one that does not begin after it.
///
/// SQLite plans for the value of a bare `LIMIT ?` and prepares the statement again whenever it is bound. With
/// `+?` it does not, so all limits here are written that way.
fn rows_from(segment: u64, bound: &str) -> String {
    format!(
        "SELECT key, span, body FROM messages_{segment} WHERE key >= \
         (SELECT key FROM messages_{segment} WHERE key <= ? ORDER BY key DESC LIMIT 1) {bound}"
    )
}

fn read_bytes(
    sql: &dyn Sql,
    format: Format,
    from: Offset,
    until: u64,
    max_bytes: usize,
) -> Result<Chunk, Failure> {
    let statement = rows_from(from.segment, "AND key < ? ORDER BY key LIMIT +?");
    let mut run = Run::new(format, from, until, max_bytes);
    let end = key_of(until.min(from.position + max_bytes as u64));
    let params = [key_of(from.position), end, Param::Integer(CHUNK_ROWS_MAX)];
    sql.query(&statement, &params, &mut |row| {
        let MessageRow { position, bytes, .. } = MessageRow::decode(row)?;
        run.take(position, &bytes);
        Ok(())
    })?;
    Ok(run.finish())
}

/// The most rows in one chunk, so that one read of tiny rows does not block other requests for long.
pub const CHUNK_ROWS_MAX: u64 = 10_000;

/// Reads fetch rows in pages, because the size of a row is unknown until it is read. The first page is small:
/// most reads are at the tail, and rows after the end of a chunk are read for nothing.
const PAGE_ROWS_MIN: u64 = 4;
const PAGE_ROWS_MAX: u64 = 64;

fn read_json(sql: &dyn Sql, from: Offset, until: u64, max_bytes: usize) -> Result<Chunk, Failure> {
    let first = rows_from(from.segment, "ORDER BY key LIMIT +?");
    let further =
        format!("SELECT key, span, body FROM messages_{} WHERE key > ? ORDER BY key LIMIT +?", from.segment);
    let mut array = Array::new(from, until, max_bytes);
    let (mut statement, mut key, mut limit) = (&first, from.position << PART_BITS, PAGE_ROWS_MIN);
    let (mut rows, mut is_whole) = (0, true);
    loop {
        let wanted = rows + limit;
        sql.query(statement, &[Param::Integer(key), Param::Integer(limit)], &mut |row| {
            let row = MessageRow::decode(row)?;
            rows += 1;
            // Of a message in parts, only the last row has a span.
            is_whole = row.span > 0;
            key = row.key();
            array.take(&row);
            Ok(())
        })?;
        if array.is_full() || rows < wanted || (rows >= CHUNK_ROWS_MAX && is_whole) {
            break;
        }
        let row_bytes = (array.bytes() / rows as usize).max(1);
        let missing_rows = max_bytes.saturating_sub(array.bytes()) / row_bytes;
        (statement, limit) = (&further, (missing_rows as u64).clamp(1, PAGE_ROWS_MAX));
        array.reserve(limit as usize * row_bytes);
    }
    Ok(array.finish())
}
