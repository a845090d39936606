//! Builds a range of bytes message by message, from the hot log or from segments. A range has the same bytes
//! wherever it is read from, and ends only where a response may end (`stream/one_past.rs`).

use super::chunk::{Chunk, Marks};
use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::protocol::sse::Mark;
use crate::protocol::text;
use crate::stream::one_past::{begin_in_message, may_end_in_message};

/// A range of a byte stream. It ends at position `until`, or after about `max_bytes`.
pub(super) struct Run {
    format: Format,
    from: Offset,
    until: u64,
    max_bytes: usize,
    /// The position of the first byte.
    begins: u64,
    body: Vec<u8>,
    marks: Marks,
    /// The position of the last message, and its length.
    last: (u64, usize),
    is_full: bool,
}

impl Run {
    pub(super) fn new(format: Format, from: Offset, until: u64, max_bytes: usize) -> Run {
        let left = usize::try_from(until.saturating_sub(from.position)).unwrap_or(usize::MAX);
        Run {
            format,
            from,
            until,
            max_bytes,
            begins: from.position,
            body: Vec::with_capacity(left.min(max_bytes) + 1),
            marks: Marks::default(),
            last: (from.position, 0),
            is_full: false,
        }
    }

    /// Adds the part of a message that belongs to the range. Returns whether more messages fit.
    pub(super) fn take(&mut self, position: u64, message: &[u8]) -> bool {
        let left = usize::try_from(self.until.saturating_sub(position)).unwrap_or(usize::MAX);
        if self.is_full || left == 0 {
            return false;
        }
        let message = &message[..message.len().min(left)];
        let at = self.body.len();
        let skip = if at == 0 { begin_in_message(self.from.position, position, message.len()) } else { 0 };
        let rest = message.get(skip..).unwrap_or_default();
        let Some(first) = rest.first() else { return true };
        if at == 0 {
            self.begins = position + skip as u64;
        }
        let mark = Mark { at, offset: self.offset_at(at) };
        self.marks.begins(mark, rest.len(), self.may_part(at, Some(*first)));
        self.last = (position, message.len());
        let room = self.max_bytes.saturating_sub(at);
        if rest.len() > room {
            self.cut(rest, room);
            self.is_full = true;
        } else {
            self.body.extend_from_slice(rest);
            self.is_full = self.body.len() >= self.max_bytes;
        }
        !self.is_full
    }

    /// Adds the first `room` bytes of a longer message, or a few bytes fewer or more.
    fn cut(&mut self, rest: &[u8], room: usize) {
        // One extra byte shows whether a character continues.
        self.body.extend_from_slice(&rest[..=room]);
        match self.last_end(self.body.len() - 1) {
            Some(end) => self.body.truncate(end),
            // The body must not be empty, so it grows to the next valid end.
            None => {
                for after in &rest[room + 1..] {
                    if self.may_end(self.body.len(), Some(*after)) {
                        break;
                    }
                    self.body.push(*after);
                }
            }
        }
    }

    /// The last valid end at or before `end`: inside the last message, or at the beginning of any message.
    fn last_end(&self, end: usize) -> Option<usize> {
        let inside = (1..=end).rev().take(char::MAX_LEN_UTF8);
        let mut inside = inside.take_while(|end| self.offset_at(*end).position > self.last.0);
        inside.find(|end| self.may_end(*end, self.body.get(*end).copied())).or_else(|| self.marks.last())
    }

    fn may_end(&self, end: usize, after: Option<u8>) -> bool {
        let (begins, bytes) = self.last;
        let inside = (self.offset_at(end).position - begins) as usize;
        may_end_in_message(inside, bytes) && self.may_part(end, after)
    }

    fn may_part(&self, end: usize, after: Option<u8>) -> bool {
        self.format != Format::Text || text::may_part(&self.body[..end], after)
    }

    fn offset_at(&self, at: usize) -> Offset {
        Offset { position: self.begins + at as u64, ..self.from }
    }

    /// Returns the chunk. Its last character may continue in a message that was not read, so the chunk ends
    /// before such a character, unless it has reached `until`.
    pub(super) fn finish(mut self) -> Chunk {
        let end = self.offset_at(self.body.len()).position;
        let is_with_message = end == self.last.0 + self.last.1 as u64;
        if is_with_message
            && end < self.until
            && let Some(end) = self.last_end(self.body.len())
        {
            self.body.truncate(end);
        }
        let next = self.offset_at(self.body.len());
        let marks = self.marks.finish(self.body.len());
        Chunk { body: self.body, next, marks }
    }
}
