//! Counts messages across the ends of segments: forward to the offset at which a fork leaves its source (PROTOCOL.md
//! 4.2), and back from the tail to the beginning of a read.

use super::answer::Error;
use crate::protocol::content_type::Format;
use crate::protocol::fork::Walked;
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;
use crate::storage::seek::{Rows, rows_before};
use crate::storage::{Failure, Sql, messages, segments};
use crate::stream::Stream;

/// Counts positions across a stream's own segments.
pub(super) struct Ends<'e> {
    pub(super) sql: &'e dyn Sql,
    pub(super) stream: &'e Stream,
}

impl Ends<'_> {
    pub(super) fn end_of(&self, segment: u64) -> Result<u64, Failure> {
        if segment < self.stream.hot_from {
            return segments::end_position(self.sql, segment);
        }
        // An empty segment ends where it begins.
        let begins = self.stream.segment_start(segment).position;
        Ok(messages::end_of(self.sql, segment)?.max(begins))
    }

    /// The offset at which a fork leaves the stream: `sub_offset` messages or bytes after `anchor`. `None` if
    /// only other streams can count those. Refuses offsets outside the stream.
    pub(super) fn leave(&self, anchor: Offset, sub_offset: u64) -> Result<Option<Offset>, Error> {
        let tail = self.stream.tail;
        let refused = |refusal| Err(Refusal::Fork(refusal).into());
        if anchor > tail {
            return refused(ForkRefusal::OffsetBeyond { tail });
        }
        if anchor < self.stream.start() {
            return refused(ForkRefusal::OffsetBefore { start: self.stream.start() });
        }
        if anchor < self.stream.own_start() {
            return Ok(None);
        }
        // A closed stream that was fully trimmed has a tail but no segment for it.
        if anchor < tail && anchor.position > self.end_of(anchor.segment)? {
            return refused(ForkRefusal::OffsetBeyond { tail });
        }
        let Walked { at, left } = self.walk(anchor, tail, sub_offset)?;
        if left > 0 {
            return refused(ForkRefusal::SubOffsetBeyond { max: sub_offset - left });
        }
        Ok(Some(at))
    }

    /// Counts `count` messages (JSON) or rows of appends back from `until`, at most to `from`. In streams of bytes, a
    /// segment in the bucket does not say where its messages begin, so there the way ends at the segment's start.
    pub(super) fn walk_back(&self, from: Offset, until: Offset, count: u64) -> Result<Walked, Failure> {
        let (mut at, mut left) = (until, count);
        while left > 0 && at > from {
            let begins = self.stream.segment_start(at.segment).max(from);
            if at <= begins {
                let segment = at.segment - 1;
                at = Offset { segment, position: self.end_of(segment)? };
                continue;
            }
            let found = self.rows_back(begins, at, left)?;
            at = Offset { position: found.first, ..at };
            left = left.saturating_sub(found.count);
        }
        Ok(Walked { at, left })
    }

    /// Counts at most `count_max` messages back in one segment.
    fn rows_back(&self, begins: Offset, until: Offset, count_max: u64) -> Result<Rows, Failure> {
        let segment = until.segment;
        if self.stream.content_type.format() == Format::Json {
            let count = count_max.min(until.position - begins.position);
            return Ok(Rows { count, first: until.position - count });
        }
        if segment >= self.stream.hot_from {
            let found = rows_before(self.sql, segment, begins.position, until.position, count_max)?;
            let first = if found.count < count_max { begins.position } else { found.first };
            return Ok(Rows { first, ..found });
        }
        let is_whole = until.position == segments::end_position(self.sql, segment)?;
        // A fork may leave a segment anywhere, and at least one message is before that place.
        let count = if is_whole { segments::message_count(self.sql, segment)? } else { 1 };
        Ok(Rows { count, first: begins.position })
    }

    pub(super) fn walk(&self, from: Offset, until: Offset, count: u64) -> Result<Walked, Failure> {
        let (mut at, mut left) = (from, count);
        while at < until {
            let is_last = at.segment == until.segment;
            let end = if is_last { until.position } else { self.end_of(at.segment)? };
            let room = end.saturating_sub(at.position);
            if left < room {
                return Ok(Walked { at: Offset { position: at.position + left, ..at }, left: 0 });
            }
            left -= room;
            at = if is_last { until } else { Offset::segment_start(at.segment + 1) };
        }
        Ok(Walked { at, left })
    }
}
