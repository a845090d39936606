//! Builds a JSON array from rows of the hot log. The array holds whole messages only.

use super::chunk::{Chunk, Marks};
use super::message_row::{MessageRow, ROW_MAX_BYTES};
use crate::protocol::json;
use crate::protocol::offset::Offset;
use crate::protocol::sse::Mark;

/// A range of a JSON stream as one array. It ends at position `until`, or after `max_bytes`.
pub(super) struct Array {
    from: Offset,
    until: u64,
    max_bytes: usize,
    body: Vec<u8>,
    marks: Marks,
    /// The length of the body up to the end of the last whole message.
    whole_bytes: usize,
    next: u64,
    is_full: bool,
}

impl Array {
    pub(super) fn new(from: Offset, until: u64, max_bytes: usize) -> Array {
        Array {
            from,
            until,
            max_bytes,
            body: vec![b'['],
            marks: Marks::default(),
            whole_bytes: 1,
            next: from.position,
            is_full: false,
        }
    }

    /// Whether the array accepts no more rows.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The length of the array so far, without its closing bracket.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Reserves space once per page, because growing row by row would copy the body again and again.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.body.reserve(bytes);
    }

    pub(super) fn finish(mut self) -> Chunk {
        let marks = self.marks.finish(self.body.len());
        self.body.push(b']');
        Chunk { body: self.body, next: Offset { position: self.next, ..self.from }, marks }
    }

    pub(super) fn take(&mut self, row: &MessageRow) {
        self.is_full |= row.part == 0 && self.body.len() >= self.max_bytes || row.position >= self.until;
        if self.is_full {
            return;
        }
        if self.whole_bytes > 1 && self.body.len() + row.bytes.len() > self.max_bytes + ROW_MAX_BYTES {
            // Only the first message of a chunk may exceed the limit. This one is split over rows and does
            // not fit.
            self.body.truncate(self.whole_bytes);
            self.is_full = true;
            return;
        }
        if row.part == 0 && self.body.len() > 1 {
            self.body.push(b',');
        }
        let skip = self.from.position.saturating_sub(row.position);
        if row.part == 0 {
            let offset = Offset { position: row.position + skip, ..self.from };
            self.marks.begins(Mark { at: self.body.len(), offset }, row.bytes.len(), true);
        }
        let end = row.position + row.span;
        if skip == 0 && end <= self.until {
            self.body.extend_from_slice(&row.bytes);
        } else {
            let rest = json::after(&row.bytes, skip);
            let whole = end <= self.until;
            let left = self.until - (row.position + skip);
            let rest = if whole { rest } else { json::first(rest, left) };
            self.body.extend_from_slice(rest);
        }
        self.next = end.min(self.until);
        if row.span > 0 {
            self.whole_bytes = self.body.len();
        }
    }
}
