//! Finds the offset at which a fork leaves its source (PROTOCOL.md 4.2). A sub-offset may lead across the
//! ends of segments.

use super::answer::Error;
use crate::protocol::fork::Walked;
use crate::protocol::fork_refusal::ForkRefusal;
use crate::protocol::offset::Offset;
use crate::protocol::refusal::Refusal;
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
