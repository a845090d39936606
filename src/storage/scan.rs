//! Reads a segment of the hot log in slices of a few rows. Other requests run between two slices, so none
//! waits for the whole segment.

use super::message_row::MessageRow;
use super::{Failure, Param, Sql};
use crate::protocol::content_type::Format;
use crate::protocol::json;

/// The target size of a slice, in bytes: about 0.2 ms of work.
const SLICE_BYTES: u64 = 64 << 10;
/// The rows of the first slice, before the size of rows is known.
pub const SLICE_ROWS_MIN: u64 = 16;
/// The most rows of a slice, however small they are.
const SLICE_ROWS_MAX: u64 = 256;

/// The progress of a scan.
#[derive(Debug)]
pub struct Scan {
    statement: String,
    /// The first key that was not read.
    key: u64,
    rows: u64,
    /// The parts of an incomplete message.
    parts: Vec<u8>,
}

impl Scan {
    pub fn new(segment: u64) -> Scan {
        let statement =
            format!("SELECT key, span, body FROM messages_{segment} WHERE key >= ? ORDER BY key LIMIT +?");
        Scan { statement, key: 0, rows: SLICE_ROWS_MIN, parts: Vec::new() }
    }

    /// Visits the messages of the next slice, each with its span. Returns whether that was the last slice.
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
        // The last part of a message is the only one with a span.
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
