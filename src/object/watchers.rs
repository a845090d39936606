//! The subscriptions that watch a stream. The stream notifies each of them of an append once. After that, the
//! subscription stores the stream as pending until it sends its new cursor.
//!
//! The progress of notifications is in memory only. So each append that a watcher must learn of sets the alarm in its
//! own turn. If the object dies before it notifies the watcher, the alarm does it.

use super::effect::{About, Calls, Effect};
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::offset::Offset;
use crate::protocol::subscription::watch::{Notify, Progress};
use crate::storage::watchers::{StoredWatcher, load};
use crate::storage::{Failure, Sql};

/// The most subscriptions notified at the same time.
pub const NOTIFIED_AT_ONCE_MAX: usize = 32;

/// The progress of a watcher's notifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notified {
    /// Unknown since the object was loaded. An append beyond this point is due.
    Unknown(Progress),
    /// The watcher must be notified, regardless of the tail.
    Due,
    /// The subscription has stored the stream as pending.
    Taken,
    /// The subscription has processed everything up to this point, and waits for the next append.
    Armed(Progress),
}

#[derive(Clone, Debug)]
pub(super) struct Watching {
    pub(super) stored: StoredWatcher,
    pub(super) notified: Notified,
    /// The last attempt failed. The next one follows after the lane's backoff.
    pub(super) has_failed: bool,
    /// A notification is in flight, and the subscription has sent nothing since. Otherwise its answer is ignored,
    /// because it may be older than the subscription's latest call.
    pub(super) awaits_answer: bool,
}

impl Watching {
    pub(super) fn new(stored: StoredWatcher, notified: Notified) -> Watching {
        Watching { stored, notified, has_failed: false, awaits_answer: false }
    }

    fn is_due(&self, tail: Option<Progress>) -> bool {
        match (self.notified, tail) {
            (Notified::Due, _) => true,
            // The stream has ended, so links made by a pattern end too.
            (_, None) => self.stored.glob,
            (Notified::Unknown(through) | Notified::Armed(through), Some(tail)) => tail > through,
            (Notified::Taken, Some(_)) => false,
        }
    }
}

/// The beginning of the stream's own messages, and its end or the beginning of the next stream at its URL.
pub(super) struct Extent {
    pub(super) created_at: Option<Millis>,
    pub(super) beginning: Offset,
    pub(super) end: Progress,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    pub(super) watching: Vec<Watching>,
    rests_until: Option<Millis>,
    /// Whether the alarm is set for due notifications.
    has_alarm: bool,
}

impl Watchers {
    /// The state after a loss of memory.
    pub(super) fn forgotten(&self) -> Watchers {
        Watchers { rests_until: self.rests_until, ..Watchers::default() }
    }

    pub(super) fn load(&mut self, sql: &dyn Sql, tail: Option<Progress>) -> Result<(), Failure> {
        let watching = |stored: StoredWatcher| {
            let notified = Notified::Unknown(tail.unwrap_or(stored.start));
            Watching::new(stored, notified)
        };
        self.watching = load(sql)?.into_iter().map(watching).collect();
        Ok(())
    }

    /// The alarm has rung: the object may have died before it notified its watchers.
    pub(super) fn rang(&mut self, tail: Option<Progress>) {
        self.has_alarm = false;
        for watching in &mut self.watching {
            if matches!(watching.notified, Notified::Unknown(_))
                && tail.is_some_and(|tail| tail > watching.stored.start)
            {
                watching.notified = Notified::Due;
            }
        }
    }

    pub(super) fn may_begin(&self, tail: Option<Progress>, now: Millis) -> bool {
        self.rests_until.is_none_or(|until| now >= until) && self.are_due(tail)
    }

    /// Whether any watcher must be notified.
    pub(super) fn are_due(&self, tail: Option<Progress>) -> bool {
        self.watching.iter().any(|watching| watching.is_due(tail))
    }

    /// The time of the alarm that the watchers need.
    pub(super) fn alarm_at(&self, tail: Option<Progress>, retry_at: Millis) -> Option<Millis> {
        let at = self.rests_until.map_or(retry_at, |until| until.min(retry_at));
        self.are_due(tail).then_some(at)
    }

    /// Whether an alarm must be set for a notification that has just become due.
    pub(super) fn wants_alarm(&mut self, tail: Option<Progress>) -> bool {
        if self.watching.is_empty() {
            return false;
        }
        let is_due = self.are_due(tail);
        is_due && !std::mem::replace(&mut self.has_alarm, is_due)
    }

    /// The alarm could not be set, so notifications that are due need it again.
    pub(super) fn lost_alarm(&mut self) {
        self.has_alarm = false;
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.rests_until = Some(at);
        self.watching.iter_mut().for_each(|watching| watching.has_failed = false);
    }

    /// Whether an attempt in this run has failed.
    pub(super) fn have_failed(&self) -> bool {
        self.watching.iter().any(|watching| watching.has_failed)
    }

    /// The next notifications in this run.
    pub(super) fn next(
        &mut self,
        path: &str,
        tail: Option<Progress>,
        Extent { created_at, beginning, end }: Extent,
    ) -> Option<Effect> {
        let due = self.watching.iter_mut().filter(|watching| watching.is_due(tail) && !watching.has_failed);
        let notify = |watching: &mut Watching| {
            watching.awaits_answer = true;
            let StoredWatcher { watcher, start, .. } = &watching.stored;
            let notify = Notify {
                incarnation: watcher.incarnation,
                path: path.to_owned(),
                // A start in an earlier incarnation does not apply to this one.
                start: if start.offset < beginning {
                    Progress { offset: beginning, closed: false }
                } else {
                    *start
                },
                tail: tail.unwrap_or(end),
                has_ended: tail.is_none() && watching.stored.glob,
                created_at,
            };
            (watcher.subscription.clone(), Call::Notify(notify))
        };
        let calls: Vec<_> = due.take(NOTIFIED_AT_ONCE_MAX).map(notify).collect();
        (!calls.is_empty()).then_some(Effect::Calls(Calls { calls, about: About::Watchers }))
    }

    /// Adds a watcher, or replaces that of the same subscription.
    pub(super) fn put(&mut self, watching: Watching) {
        match self.position(&watching.stored.watcher.subscription) {
            Some(at) => self.watching[at] = watching,
            None => self.watching.push(watching),
        }
    }

    pub(super) fn position(&self, subscription: &str) -> Option<usize> {
        self.watching.iter().position(|watching| watching.stored.watcher.subscription == subscription)
    }
}
