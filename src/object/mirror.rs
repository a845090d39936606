//! The mirror: an index of all streams' segments outside of their objects, which is told of each change through the
//! outbox. Nothing waits for it, and it may fail for as long as it likes.

use super::{Object, Ports};
use crate::object::live::Sockets;
use crate::protocol::{Millis, lifetime};
use crate::storage::commit::{Change, commit};
use crate::storage::segments_admin::{Statement, statements};
use crate::storage::{Failure, outbox, schema, stream_row};
use crate::stream::Life;

/// How many notices are delivered at a time: with paths and content types at their longest some 300 kB, of which D1 takes
/// 2 MB.
pub const NOTICES_AT_ONCE_MAX: u64 = 100;

/// How soon the mirror is told again when it failed.
pub const REST_MIN: Millis = 60_000;
/// How late at the latest.
pub const REST_MAX: Millis = 3_600_000;

/// Whether there is something to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outbox {
    Unknown,
    Empty,
}

/// What the mirror is to be told: all of it or nothing; then [`Object::delivered`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The stream.
    pub path: String,
    /// How.
    pub statements: Vec<Statement>,
    count: usize,
    oldest_noted_at: Millis,
    through_id: u64,
}

impl Delivery {
    /// It failed: why, with what is needed to find it, and when it is tried again. The longer it has failed, the longer
    /// it rests; that is stored nowhere, because the oldest notice tells.
    pub fn failed(&self, cause: &str, now: Millis) -> (Failure, Millis) {
        let since = lifetime::rfc3339(self.oldest_noted_at);
        let cause = format_args!("notices: {}, the oldest of {since}: {cause}", self.count);
        let rest = now.saturating_sub(self.oldest_noted_at).clamp(REST_MIN, REST_MAX);
        (Failure::new("mirror segments", cause), now + rest)
    }
}

impl Object {
    /// Whether there may be something to tell.
    pub fn may_have_notices(&self) -> bool {
        self.settings.mirrors
            && self.outbox == Outbox::Unknown
            && match &self.life {
                // One that begins with the first segment of all, and has not rotated it, has nothing to tell.
                Some(Life::Live(stream) | Life::Gone(stream)) => stream.hot_from > 0,
                Some(Life::Ended(_)) => true,
                Some(Life::Unborn) | None => false,
            }
    }

    /// The next thing to tell.
    pub fn next_delivery<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        now: Millis,
    ) -> Result<Option<Delivery>, Failure> {
        let floor = match self.load(ports.sql)? {
            Life::Unborn => return Ok(None),
            Life::Live(stream) | Life::Gone(stream) => stream.hot_from,
            Life::Ended(ended) => ended.next_segment,
        };
        if !self.may_have_notices() {
            return Ok(None);
        }
        if !schema::has_table(ports.sql, schema::OUTBOX)? {
            if !schema::has_table(ports.sql, schema::SEGMENTS)? {
                self.outbox = Outbox::Empty;
                return Ok(None);
            }
            // They were rotated when there was no mirror.
            self.commit_for_mirror(ports, &Change::List { floor, noted_at: now })?;
        }
        let notices = outbox::next(ports.sql, NOTICES_AT_ONCE_MAX)?;
        let (Some(first), Some(last)) = (notices.first(), notices.last()) else {
            self.outbox = Outbox::Empty;
            return Ok(None);
        };
        Ok(Some(Delivery {
            path: stream_row::path(ports.sql)?,
            statements: statements(&notices),
            count: notices.len(),
            oldest_noted_at: first.noted_at,
            through_id: last.id,
        }))
    }

    /// The mirror has been told.
    pub fn delivered<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        delivery: &Delivery,
    ) -> Result<(), Failure> {
        self.commit_for_mirror(ports, &Change::Deliver { through_id: delivery.through_id })
    }

    fn commit_for_mirror<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        let committed = commit(ports.sql, change);
        if committed.is_err() {
            self.forget();
        }
        committed
    }

    /// When it is now, if what happens is to be noted for the mirror.
    pub(super) fn noted_at(&self, now: Millis) -> Option<Millis> {
        self.settings.mirrors.then_some(now)
    }
}
