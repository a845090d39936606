//! A segment of the hot log from its first message to its last, some rows at a time: whoever asks something meanwhile waits
//! for some rows and not for all.

use super::message_row::MessageRow;
use super::{Failure, Param, Sql};
use crate::protocol::content_type::Format;
use crate::protocol::json;

/// How many bytes are taken at a time, about: some 0.2 ms of work.
const SLICE_BYTES: u64 = 64 << 10;
/// How many rows are taken at first, when it is not known how large they are.
pub const SLICE_ROWS_MIN: u64 = 16;
/// How many rows are taken at a time, however small they are.
const SLICE_ROWS_MAX: u64 = 256;

/// How far a segment has been taken.
#[derive(Debug)]
pub struct Scan {
    statement: String,
    /// The first that has not been taken.
    key: u64,
    rows: u64,
    /// Of a message in parts, those that have been taken.
    parts: Vec<u8>,
}

impl Scan {
    /// Begins with the first message.
    pub fn new(segment: u64) -> Scan {
        let statement =
            format!("SELECT key, span, body FROM messages_{segment} WHERE key >= ? ORDER BY key LIMIT +?");
        Scan { statement, key: 0, rows: SLICE_ROWS_MIN, parts: Vec::new() }
    }

    /// Visits the messages of the next rows, each with how far it moves the position; whether those were the last.
    pub fn slice(
        &mut self,
        sql: &dyn Sql,
        format: Format,
        visit: &mut dyn FnMut(&[u8], u64),
    ) -> Result<bool, Failure> {
        let Scan { statement, key, rows, parts } = self;
        let (mut taken_rows, mut taken_bytes) = (0, 0);
        sql.query(statement, &[Param::Integer(*key), Param::Integer(*rows)], &mut |row| {
            let row = MessageRow::decode(row)?;
            *key = row.key() + 1;
            taken_rows += 1;
            taken_bytes += row.bytes.len() as u64;
            visit_row(row, format, parts, visit)
        })?;
        let is_last = taken_rows < *rows;
        *rows = (SLICE_BYTES * taken_rows / taken_bytes.max(1)).clamp(1, SLICE_ROWS_MAX);
        Ok(is_last)
    }
}

fn visit_row(
    row: MessageRow,
    format: Format,
    parts: &mut Vec<u8>,
    visit: &mut dyn FnMut(&[u8], u64),
) -> Result<(), Failure> {
    match format {
        Format::Text | Format::Binary => visit(&row.bytes, row.span),
        // A message in parts ends with the only part that has a span.
        Format::Json if row.span == 0 => parts.extend_from_slice(&row.bytes),
        Format::Json if row.part > 0 => {
            parts.extend_from_slice(&row.bytes);
            visit(parts, 1);
            parts.clear();
        }
        Format::Json => {
            json::each_message(&row.bytes, &mut |message| {
                visit(message, 1);
                true
            });
        }
    }
    Ok(())
}
