//! Part of a stream, ready to be sent, and where it may be taken apart: at the beginnings of stored messages.

use super::message_row::ROW_MAX_BYTES;
use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::protocol::sse::{GRAIN_BYTES, Mark};
use crate::protocol::text;

/// Part of a stream, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The bytes; of a JSON stream an array of its messages.
    pub body: Vec<u8>,
    /// Where to read on.
    pub next: Offset,
    /// Where it may be taken apart, if that is known.
    pub marks: Vec<Mark>,
}

impl Chunk {
    pub fn empty(at: Offset) -> Chunk {
        Chunk { body: Vec::new(), next: at, marks: Vec::new() }
    }
}

/// Adds what another segment gave: of JSON, two arrays become one. Only the first message of a chunk may be as large as it
/// is; where the part does not fit, the chunk ends before it.
pub fn join(format: Format, whole: &mut Chunk, part: Chunk, max_bytes: usize) -> bool {
    let fits = whole.body.is_empty() || whole.body.len() + part.body.len() <= max_bytes + ROW_MAX_BYTES;
    if !fits {
        return false;
    }
    whole.next = part.next;
    if whole.body.is_empty() {
        // Most reads are of one segment: nothing is copied.
        (whole.body, whole.marks) = (part.body, part.marks);
        return true;
    }
    let (mut skip, mut first) = (0, 0);
    if format == Format::Json && !part.body.is_empty() {
        whole.body.pop();
        whole.body.push(b',');
        skip = 1;
    } else if format == Format::Text && !text::may_part(&whole.body, part.body.first().copied()) {
        first = 1;
    }
    let at = whole.body.len();
    if part.marks.is_empty() != part.body.is_empty() || whole.marks.is_empty() {
        // Where the one may be taken apart says nothing of the other.
        whole.marks.clear();
    } else {
        let marks = part.marks.iter().skip(first);
        whole.marks.extend(marks.map(|mark| Mark { at: mark.at + at - skip, offset: mark.offset }));
    }
    whole.body.extend_from_slice(&part.body[skip..]);
    true
}

/// The marks of a chunk while it grows: few enough to be kept for each, and so close that less than [`GRAIN_BYTES`] lie between
/// two, or one message.
#[derive(Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    /// The last place that could have one.
    last: Option<Mark>,
}

impl Marks {
    /// A message of so many bytes begins; whether the chunk may be taken apart there.
    pub(super) fn begins(&mut self, mark: Mark, bytes: usize, may_part: bool) {
        if may_part || self.marks.is_empty() {
            self.last = Some(mark);
        }
        let marked = self.marks.last().map(|last| last.at);
        let is_due = marked.is_none_or(|at| mark.at + bytes - at > GRAIN_BYTES);
        if let Some(last) = self.last
            && is_due
            && marked.is_none_or(|at| at < last.at)
        {
            self.marks.push(last);
        }
    }

    /// The last place where it may be taken apart, if that leaves something before it.
    pub(super) fn last(&self) -> Option<usize> {
        self.last.map(|last| last.at).filter(|at| *at > 0)
    }

    /// The marks of what is left of the chunk.
    pub(super) fn finish(mut self, bytes: usize) -> Vec<Mark> {
        while self.marks.pop_if(|last| last.at >= bytes).is_some() {}
        self.marks
    }
}
