//! A range of a stream, ready to be sent, with the places where it may be split. It may be split only where a
//! stored message begins.

use super::message_row::ROW_MAX_BYTES;
use crate::protocol::content_type::Format;
use crate::protocol::offset::Offset;
use crate::protocol::sse::{GRAIN_BYTES, Mark};
use crate::protocol::text;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The content. For a JSON stream this is an array of messages.
    pub body: Vec<u8>,
    /// The offset at which to continue reading.
    pub next: Offset,
    /// The places where the body may be split. Empty if they are unknown.
    pub marks: Vec<Mark>,
}

impl Chunk {
    pub fn empty(at: Offset) -> Chunk {
        Chunk { body: Vec::new(), next: at, marks: Vec::new() }
    }
}

/// Appends `part`, which comes from the next segment, to `whole`, and returns whether it fits. Two JSON
/// arrays become one. Only the first message of a chunk may be larger than `max_bytes` plus one row; the
/// chunk ends before a part that does not fit.
pub fn join(format: Format, whole: &mut Chunk, part: Chunk, max_bytes: usize) -> bool {
    let fits = whole.body.is_empty() || whole.body.len() + part.body.len() <= max_bytes + ROW_MAX_BYTES;
    if !fits {
        return false;
    }
    whole.next = part.next;
    if whole.body.is_empty() {
        // Most reads are of one segment, so this moves the bytes instead of copying them.
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
        // One side's marks are unknown, so those of the whole are too.
        whole.marks.clear();
    } else {
        let marks = part.marks.iter().skip(first);
        whole.marks.extend(marks.map(|mark| Mark { at: mark.at + at - skip, offset: mark.offset }));
    }
    whole.body.extend_from_slice(&part.body[skip..]);
    true
}

/// Collects the marks of a chunk as it grows. They are few enough to store for each chunk, and two neighbors
/// are less than [`GRAIN_BYTES`] or one message apart.
#[derive(Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    /// The last place where a mark is possible.
    last: Option<Mark>,
}

impl Marks {
    /// Records that a message of `bytes` bytes begins at `mark`. `may_part` says whether the chunk may be
    /// split there.
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

    /// The last place where the chunk may be split, unless that is its beginning.
    pub(super) fn last(&self) -> Option<usize> {
        self.last.map(|last| last.at).filter(|at| *at > 0)
    }

    /// The marks within the first `bytes` bytes of the chunk.
    pub(super) fn finish(mut self, bytes: usize) -> Vec<Mark> {
        while self.marks.pop_if(|last| last.at >= bytes).is_some() {}
        self.marks
    }
}
