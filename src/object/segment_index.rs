//! Keeps the segment index up to date: a table outside the objects that lists the segments of all streams.
//! Each change reaches it through the outbox. No request waits for it, and it may fail indefinitely.

use super::pending::{Pending, shortened};
use crate::protocol::{Millis, lifetime};
use crate::storage::segments_admin::{Statement, statements};
use crate::storage::{Failure, Sql, outbox, schema, stream_row};
use crate::stream::Life;

/// The most notices in one delivery: about 300 kB with paths and content types of maximal length. D1 accepts
/// 2 MB.
pub const NOTICES_AT_ONCE_MAX: u64 = 100;

/// The shortest backoff after a failed delivery, in milliseconds.
pub const REST_MIN: Millis = 60_000;
/// The longest backoff after a failed delivery, in milliseconds.
pub const REST_MAX: Millis = 3_600_000;

/// A delivery to the index. The index applies all of its statements or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub path: String,
    pub statements: Vec<Statement>,
    count: usize,
    oldest_noted_at: Millis,
    pub(super) through_id: u64,
}

impl Delivery {
    /// When a failed delivery is retried. The longer deliveries have failed, the longer the backoff. Nothing
    /// stores it, because the oldest notice has its time.
    pub fn again_at(&self, now: Millis) -> Millis {
        now + now.saturating_sub(self.oldest_noted_at).clamp(REST_MIN, REST_MAX)
    }

    pub fn failure(&self, cause: &str) -> Failure {
        let since = lifetime::rfc3339(self.oldest_noted_at);
        let cause = format_args!("notices: {}, the oldest of {since}: {cause}", self.count);
        Failure::new("mirror segments", cause)
    }
}

/// The next work for the index.
pub(super) enum IndexWork {
    /// The index does not know the segments before `floor`, which were rotated without an index. They must be
    /// noted first.
    List {
        floor: u64,
    },
    Deliver(Delivery),
}

#[derive(Debug, Default)]
pub(super) struct SegmentIndex {
    pending: Pending,
    /// Why the last delivery failed.
    error: Option<String>,
}

impl SegmentIndex {
    pub(super) fn forgotten(&self) -> SegmentIndex {
        let mut pending = self.pending;
        pending.renew();
        SegmentIndex { pending, error: self.error.clone() }
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The result of a delivery.
    pub(super) fn has_ended(&mut self, failure: Option<&Failure>) {
        self.error = failure.map(|failure| shortened(&failure.cause));
    }

    /// The time of the oldest change that was not delivered.
    pub(super) fn behind_since(&self, sql: &dyn Sql) -> Result<Option<Millis>, Failure> {
        if self.pending == Pending::Nothing || !schema::has_table(sql, schema::OUTBOX)? {
            return Ok(None);
        }
        outbox::oldest(sql)
    }

    pub(super) fn may_begin(&self, life: Option<&Life>, now: Millis) -> bool {
        self.pending.may_begin(now)
            && match life {
                // A stream that has rotated nothing and still has segment 0 has nothing to report.
                Some(Life::Live(stream) | Life::Gone(stream)) => stream.hot_from > 0,
                Some(Life::Ended(_)) => true,
                Some(Life::Unborn) | None => false,
            }
    }

    /// When the alarm must ring for the index: only after a failure.
    pub(super) fn alarm_at(&self, now: Millis) -> Option<Millis> {
        self.pending.rests_until(now)
    }

    /// A change was noted for the index.
    pub(super) fn renew(&mut self) {
        self.pending.renew();
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.pending = Pending::RestsUntil(at);
    }

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
