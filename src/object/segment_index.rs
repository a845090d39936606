//! The segment index: an index of all streams' segments outside of their objects, which is told of each change through the
//! outbox. Nothing waits for it, and it may fail for as long as it likes.

use super::pending::Pending;
use crate::protocol::{Millis, lifetime};
use crate::storage::segments_admin::{Statement, statements};
use crate::storage::{Failure, Sql, outbox, schema, stream_row};
use crate::stream::Life;

/// How many notices are delivered at a time: with paths and content types at their longest some 300 kB, of which D1 takes
/// 2 MB.
pub const NOTICES_AT_ONCE_MAX: u64 = 100;

/// How soon the index is told again when it failed.
pub const REST_MIN: Millis = 60_000;
/// How late at the latest.
pub const REST_MAX: Millis = 3_600_000;

/// What the index is to be told: all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub path: String,
    pub statements: Vec<Statement>,
    count: usize,
    oldest_noted_at: Millis,
    pub(super) through_id: u64,
}

impl Delivery {
    /// When it is tried again: the longer it has failed, the longer it rests. That is stored nowhere, because the oldest notice
    /// tells.
    pub fn again_at(&self, now: Millis) -> Millis {
        now + now.saturating_sub(self.oldest_noted_at).clamp(REST_MIN, REST_MAX)
    }

    pub fn failure(&self, cause: &str) -> Failure {
        let since = lifetime::rfc3339(self.oldest_noted_at);
        let cause = format_args!("notices: {}, the oldest of {since}: {cause}", self.count);
        Failure::new("mirror segments", cause)
    }
}

/// What is to be done for the index.
pub(super) enum IndexWork {
    /// It knows nothing of the segments before this one, which were rotated when there was no index: to be noted first.
    List {
        floor: u64,
    },
    Deliver(Delivery),
}

#[derive(Debug, Default)]
pub(super) struct SegmentIndex {
    pending: Pending,
}

impl SegmentIndex {
    pub(super) fn forgotten(&self) -> SegmentIndex {
        let mut pending = self.pending;
        pending.renew();
        SegmentIndex { pending }
    }

    /// Whether something may have to be told now.
    pub(super) fn may_begin(&self, life: Option<&Life>, now: Millis) -> bool {
        self.pending.may_begin(now)
            && match life {
                // One that begins with the first segment of all, and has not rotated it, has nothing to tell.
                Some(Life::Live(stream) | Life::Gone(stream)) => stream.hot_from > 0,
                Some(Life::Ended(_)) => true,
                Some(Life::Unborn) | None => false,
            }
    }

    /// When the alarm has to ring for it: only after a failure.
    pub(super) fn alarm_at(&self, now: Millis) -> Option<Millis> {
        self.pending.rests_until(now)
    }

    /// Something was noted for it.
    pub(super) fn renew(&mut self) {
        self.pending.renew();
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }

    /// The next thing to tell.
    pub(super) fn next(&mut self, sql: &dyn Sql, life: &Life) -> Result<Option<IndexWork>, Failure> {
        let floor = match life {
            Life::Unborn => return Ok(None),
            Life::Live(stream) | Life::Gone(stream) => stream.hot_from,
            Life::Ended(ended) => ended.next_segment,
        };
        if !schema::has_table(sql, schema::OUTBOX)? {
            if !schema::has_table(sql, schema::SEGMENTS)? {
                self.pending = Pending::Nothing;
                return Ok(None);
            }
            return Ok(Some(IndexWork::List { floor }));
        }
        let notices = outbox::next(sql, NOTICES_AT_ONCE_MAX)?;
        let (Some(first), Some(last)) = (notices.first(), notices.last()) else {
            self.pending = Pending::Nothing;
            return Ok(None);
        };
        self.pending = Pending::Maybe;
        Ok(Some(IndexWork::Deliver(Delivery {
            path: stream_row::path(sql)?,
            statements: statements(&notices),
            count: notices.len(),
            oldest_noted_at: first.noted_at,
            through_id: last.id,
        })))
    }
}
