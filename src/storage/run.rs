//! A run of bytes while it grows, message by message: of the hot log and of segments alike, so that a range has the same bytes
//! wherever it is read, and ends where responses may end (`stream/one_past.rs`).

use super::chunk::{Chunk, Marks};
use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::protocol::sse::Mark;
use crate::protocol::text;
use crate::stream::one_past::{begin_in_message, may_end_in_message};

/// Part of a stream of bytes: from a position until another, or until there is enough.
pub(super) struct Run {
    format: Format,
    from: Offset,
    until: u64,
    max_bytes: usize,
    /// The position of its first byte.
    begins: u64,
    body: Vec<u8>,
    marks: Marks,
    /// Where the last message begins, and how long it is.
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

    /// Takes the message at a position, or what of it belongs to the run; whether it takes more.
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

    /// Takes so much of a message that is longer, about.
    fn cut(&mut self, rest: &[u8], room: usize) {
        // One byte more says whether a character goes on.
        self.body.extend_from_slice(&rest[..=room]);
        match self.last_end(self.body.len() - 1) {
            Some(end) => self.body.truncate(end),
            // Nothing is too little.
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

    /// Up to `end`, the last place where the run may end: inside of its last message, or where any of its messages begins.
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

    /// The chunk. What it ends with may go on in a message that did not come; where the run was to end, it ends.
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
