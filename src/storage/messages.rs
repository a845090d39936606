//! The hot log: one row for each append, whatever it holds, unless its size asks for more.
//!
//! A row's key is `position << 4 | part`: a row begins at a position, and only a single JSON message larger than
//! a row goes on in further parts at the same position. A row's `span` is how far it moves the position; of a
//! message in parts only the last part has one.

use std::ops::ControlFlow;

use super::{Columns, Failure, Param, Sql, first_row};
use crate::protocol::Millis;
use crate::protocol::content_type::Format;
use crate::protocol::json;
use crate::protocol::offset::Offset;
use crate::stream::append::Content;

/// The largest body of a row. The platform's limit is 2 MB for the whole row.
pub const ROW_MAX_BYTES: usize = 1 << 20;
/// The largest append: as many parts as a key can tell apart.
pub const APPEND_MAX_BYTES: usize = ROW_MAX_BYTES << PART_BITS;
const PART_BITS: u32 = 4;

/// What an append leaves besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Where the append begins.
    pub at: Offset,
    /// When.
    pub written_at: Millis,
    /// The stream's last `Stream-Seq`, this append's included.
    pub stream_seq: Option<&'a str>,
}

/// The last row of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Last {
    /// The position after it.
    pub next_position: u64,
    /// When it was written.
    pub written_at: Millis,
    /// The last `Stream-Seq`.
    pub stream_seq: Option<String>,
}

/// Part of a stream, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The bytes; of a JSON stream an array of its messages.
    pub body: Vec<u8>,
    /// Where to read on.
    pub next: Offset,
}

/// Reads the last row: all there is to know of the tail.
pub fn last(sql: &dyn Sql, read_seq: u64) -> Result<Option<Last>, Failure> {
    let statement = format!(
        "SELECT key, span, written_at, stream_seq FROM messages_{read_seq} ORDER BY key DESC LIMIT 1"
    );
    let Some(row) = first_row(sql, &statement, &[])? else { return Ok(None) };
    let mut columns = Columns::new("messages", row);
    let position = columns.integer()? >> PART_BITS;
    Ok(Some(Last {
        next_position: position + columns.integer()?,
        written_at: columns.integer()?,
        stream_seq: columns.optional_text()?,
    }))
}

/// Stores an append.
pub(super) fn insert(
    sql: &dyn Sql,
    format: Format,
    content: Content<'_>,
    written: Written<'_>,
) -> Result<(), Failure> {
    let statement = format!(
        "INSERT INTO messages_{} (key, span, body, written_at, stream_seq) VALUES (?, ?, ?, ?, ?)",
        written.at.read_seq
    );
    each_row(format, content, written.at.position, &mut |key, span, body| {
        let stream_seq = written.stream_seq.map_or(Param::Null, Param::Text);
        let params = [
            Param::Integer(key),
            Param::Integer(span),
            Param::Blob(body),
            Param::Integer(written.written_at),
            stream_seq,
        ];
        sql.run(&statement, &params)
    })
}

type Store<'s> = &'s mut dyn FnMut(u64, u64, &[u8]) -> Result<(), Failure>;

fn each_row(format: Format, content: Content<'_>, position: u64, store: Store<'_>) -> Result<(), Failure> {
    if content.bytes.len() <= ROW_MAX_BYTES {
        return store(position << PART_BITS, content.span, content.bytes);
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

/// Fills rows with whole messages; a message larger than a row gets rows of its own.
fn each_json_row(content: Content<'_>, position: u64, store: Store<'_>) -> Result<(), Failure> {
    let joined = std::str::from_utf8(content.bytes).map_err(|error| Failure::new("split batch", error))?;
    let (mut position, mut span, mut row) = (position, 0, Vec::new());
    let mut result = Ok(());
    json::each_message(joined, &mut |message| {
        let message = message.as_bytes();
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

/// Reads from an offset until the tail or until there is enough: bytes end exactly at `max_bytes`; JSON ends with
/// a row, so it exceeds `max_bytes` by less than one row, or holds a single message.
pub fn read(sql: &dyn Sql, format: Format, from: Offset, max_bytes: usize) -> Result<Chunk, Failure> {
    let table = from.read_seq;
    // From the row that holds the position: the last one that does not begin after it.
    let statement = format!(
        "SELECT key, span, body FROM messages_{table} WHERE key >= \
         (SELECT key FROM messages_{table} WHERE key <= ? ORDER BY key DESC LIMIT 1) ORDER BY key"
    );
    let mut reading =
        Reading { format, from: from.position, next: from.position, max_bytes, body: Vec::new() };
    if format == Format::Json {
        reading.body.push(b'[');
    }
    let from_key = Param::Integer(from.position << PART_BITS);
    sql.query(&statement, &[from_key], &mut |row| reading.take(row))?;
    if format == Format::Json {
        reading.body.push(b']');
    }
    Ok(Chunk { body: reading.body, next: Offset { position: reading.next, ..from } })
}

struct Reading {
    format: Format,
    from: u64,
    next: u64,
    max_bytes: usize,
    body: Vec<u8>,
}

impl Reading {
    fn take(&mut self, row: Vec<super::Column>) -> Result<ControlFlow<()>, Failure> {
        let mut columns = Columns::new("messages", row);
        let key = columns.integer()?;
        let (position, part) = (key >> PART_BITS, key & ((1 << PART_BITS) - 1));
        let span = columns.integer()?;
        if part == 0 && self.body.len() >= self.max_bytes {
            return Ok(ControlFlow::Break(()));
        }
        let body = columns.blob()?;
        let skip = self.from.saturating_sub(position);
        match self.format {
            Format::Json => self.take_json(&body, skip, part)?,
            Format::Text | Format::Binary => return Ok(self.take_bytes(&body, skip)),
        }
        self.next = position + span;
        Ok(ControlFlow::Continue(()))
    }

    fn take_json(&mut self, body: &[u8], skip: u64, part: u64) -> Result<(), Failure> {
        if part == 0 && self.body.len() > 1 {
            self.body.push(b',');
        }
        if skip == 0 {
            self.body.extend_from_slice(body);
        } else {
            let joined = std::str::from_utf8(body).map_err(|error| Failure::new("read batch", error))?;
            self.body.extend_from_slice(json::after(joined, skip).as_bytes());
        }
        Ok(())
    }

    fn take_bytes(&mut self, body: &[u8], skip: u64) -> ControlFlow<()> {
        let rest = usize::try_from(skip).ok().and_then(|skip| body.get(skip..)).unwrap_or_default();
        let room = self.max_bytes - self.body.len();
        let taken = &rest[..rest.len().min(room)];
        self.body.extend_from_slice(taken);
        self.next += taken.len() as u64;
        if taken.len() < rest.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
