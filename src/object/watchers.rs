//! The subscriptions that watch a stream. The stream notifies each of them of an append once; after that the subscription
//! remembers, until it sends its new cursor.
//!
//! How far a watcher was notified is in memory only. So each append that a watcher has to be notified of sets the alarm in its
//! own turn: an object that dies before it has notified the watcher does so when the alarm rings.

use super::effect::{About, CallResult, Calls, Effect};
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::offset::Offset;
use crate::protocol::subscription::watch::{
    Noted, Notify, Progress, Unwatch, WATCHERS_MAX, Watch, WatchFrom, Watched, Watcher,
};
use crate::storage::commit::Change;
use crate::storage::watchers::StoredWatcher;
use crate::storage::{Failure, Sql, messages, watchers};
use crate::stream::{Life, Stream};

/// The most subscriptions that are notified at the same time.
pub const NOTIFIED_AT_ONCE_MAX: usize = 32;

/// How far a watcher was notified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notified {
    /// Since the object was loaded, nothing has been appended after this.
    Unknown(Progress),
    /// The watcher has to be notified whatever the tail is.
    Due,
    /// The subscription remembers that the stream is pending.
    Taken,
    /// The subscription has processed all up to there, and waits for the next append.
    Armed(Progress),
}

#[derive(Clone, Debug)]
struct Watching {
    stored: StoredWatcher,
    notified: Notified,
    /// The last try failed; it is repeated when the lane has rested.
    has_failed: bool,
    /// A notification is under way, and the subscription has sent nothing since. Only then does its answer count: it may come
    /// after what the subscription sent later.
    awaits_answer: bool,
}

impl Watching {
    fn new(stored: StoredWatcher, notified: Notified) -> Watching {
        Watching { stored, notified, has_failed: false, awaits_answer: false }
    }

    fn is_due(&self, tail: Option<Progress>) -> bool {
        match (self.notified, tail) {
            (Notified::Due, _) => true,
            // The stream has ended: links of a pattern end with it.
            (_, None) => self.stored.glob,
            (Notified::Unknown(through) | Notified::Armed(through), Some(tail)) => tail > through,
            (Notified::Taken, Some(_)) => false,
        }
    }
}

/// Where the stream's own messages begin, and where it ends, or the next one at its URL begins.
pub(super) struct Extent {
    beginning: Offset,
    end: Progress,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    watching: Vec<Watching>,
    rests_until: Option<Millis>,
    /// The alarm is set for what is due.
    has_alarm: bool,
}

impl Watchers {
    /// The same after memory was lost.
    pub(super) fn forgotten(&self) -> Watchers {
        Watchers { rests_until: self.rests_until, ..Watchers::default() }
    }

    pub(super) fn load(&mut self, sql: &dyn Sql, tail: Option<Progress>) -> Result<(), Failure> {
        let watching = |stored: StoredWatcher| {
            let notified = Notified::Unknown(tail.unwrap_or(stored.start));
            Watching::new(stored, notified)
        };
        self.watching = watchers::load(sql)?.into_iter().map(watching).collect();
        Ok(())
    }

    /// The alarm has rung: the object may have died before it notified anybody.
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

    /// Whether anybody has to be notified.
    pub(super) fn are_due(&self, tail: Option<Progress>) -> bool {
        self.watching.iter().any(|watching| watching.is_due(tail))
    }

    /// When the alarm has to ring for them.
    pub(super) fn alarm_at(&self, tail: Option<Progress>, retry_at: Millis) -> Option<Millis> {
        let at = self.rests_until.map_or(retry_at, |until| until.min(retry_at));
        self.are_due(tail).then_some(at)
    }

    /// Whether the alarm has to be set for something that was not due before.
    pub(super) fn wants_alarm(&mut self, tail: Option<Progress>) -> bool {
        if self.watching.is_empty() {
            return false;
        }
        let is_due = self.are_due(tail);
        is_due && !std::mem::replace(&mut self.has_alarm, is_due)
    }

    pub(super) fn rest_until(&mut self, at: Millis) {
        self.rests_until = Some(at);
        self.watching.iter_mut().for_each(|watching| watching.has_failed = false);
    }

    /// Whether a try of this run has failed.
    pub(super) fn have_failed(&self) -> bool {
        self.watching.iter().any(|watching| watching.has_failed)
    }

    /// The next notifications.
    pub(super) fn next(
        &mut self,
        path: &str,
        tail: Option<Progress>,
        Extent { beginning, end }: Extent,
    ) -> Option<Effect> {
        let due = self.watching.iter_mut().filter(|watching| watching.is_due(tail) && !watching.has_failed);
        let notify = |watching: &mut Watching| {
            watching.awaits_answer = true;
            let StoredWatcher { watcher, start, .. } = &watching.stored;
            let notify = Notify {
                incarnation: watcher.incarnation,
                path: path.to_owned(),
                // Where the link began in an earlier incarnation says nothing about this one.
                start: if start.offset < beginning {
                    Progress { offset: beginning, closed: false }
                } else {
                    *start
                },
                tail: tail.unwrap_or(end),
                has_ended: tail.is_none() && watching.stored.glob,
            };
            (watcher.subscription.clone(), Call::Notify(notify))
        };
        let calls: Vec<_> = due.take(NOTIFIED_AT_ONCE_MAX).map(notify).collect();
        (!calls.is_empty()).then_some(Effect::Calls(Calls { calls, about: About::Watchers }))
    }

    /// Puts a watcher in the place of another of the same subscription.
    fn put(&mut self, watching: Watching) {
        match self.position(&watching.stored.watcher.subscription) {
            Some(at) => self.watching[at] = watching,
            None => self.watching.push(watching),
        }
    }

    fn position(&self, subscription: &str) -> Option<usize> {
        self.watching.iter().position(|watching| watching.stored.watcher.subscription == subscription)
    }
}

impl Object {
    /// How far the stream goes, with something to read; `None` if there is none.
    pub(super) fn progress(&self) -> Option<Progress> {
        let stream = self.state.live()?;
        let closed = stream.closure.is_closed();
        // Where a stream has nothing to read, there is no news, wherever a cursor of an earlier incarnation is.
        let is_empty = stream.tail == beginning_of(stream) && !closed;
        let offset = if is_empty { Offset::segment_start(0) } else { stream.tail };
        Some(Progress { offset, closed })
    }

    pub(super) fn extent(&self) -> Extent {
        let none = Progress { offset: Offset::segment_start(0), closed: false };
        let beginning = self.state.live().map_or(none.offset, beginning_of);
        Extent { beginning, end: self.state.life().map_or(none, end_of) }
    }

    /// A subscription is to be notified of what comes after its cursor.
    pub(super) fn watch<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        watch: &Watch,
        now: Millis,
    ) -> Result<Watched, Failure> {
        self.end_expired(ports, now)?;
        let life = self.load(ports.sql)?;
        let tail = end_of(life);
        let Watch { subscription, incarnation, glob, from } = watch;
        let found = self.watchers.position(subscription);
        let known = found.map(|at| self.watchers.watching[at].stored.clone());
        let is_full = found.is_none() && self.watchers.watching.len() >= WATCHERS_MAX;
        if is_full {
            if self.state.live().is_some() {
                // Some of them may be gone.
                self.watchers.watching.iter_mut().for_each(|watching| watching.notified = Notified::Due);
            }
            return Ok(Watched::TooMany);
        }
        let start = match (&known, from) {
            (Some(known), _) if known.watcher.incarnation > *incarnation => {
                return Ok(Watched::From { acked: tail, tail });
            }
            (Some(known), _) if known.watcher.incarnation == *incarnation => known.start,
            (_, WatchFrom::Tail) => tail,
            (_, WatchFrom::Since(since)) => {
                self.written_since(ports.sql, *since)?.map_or(tail, |start| start.min(tail))
            }
            (_, WatchFrom::Acked(acked)) => *acked,
        };
        let watcher = Watcher { subscription: subscription.clone(), incarnation: *incarnation };
        let stored = StoredWatcher { watcher, glob: *glob, start };
        if known.as_ref() != Some(&stored) {
            self.commit(ports.sql, &Change::Watch { watcher: &stored })?;
            self.load(ports.sql)?;
        }
        let acked = if let WatchFrom::Acked(acked) = from { *acked } else { start };
        let tail = self.progress().unwrap_or(acked);
        // That there is something after the cursor is in the answer. Until the subscription has taken a notification, it is
        // not sure to have stored that: the answer may get lost, and so may the subscription's memory that it has called.
        let before = self.watchers.position(subscription).map(|at| self.watchers.watching[at].notified);
        let notified = match before {
            _ if tail <= acked => Notified::Armed(tail),
            Some(before) => before,
            None => Notified::Unknown(tail),
        };
        self.watchers.put(Watching::new(stored, notified));
        Ok(Watched::From { acked, tail })
    }

    /// A subscription is to be notified no longer.
    pub(super) fn unwatch(&mut self, sql: &dyn Sql, unwatch: &Unwatch) -> Result<(), Failure> {
        self.load(sql)?;
        let found = self.watchers.position(&unwatch.subscription);
        let found =
            found.filter(|at| self.watchers.watching[*at].stored.watcher.incarnation <= unwatch.incarnation);
        match found {
            Some(_) if unwatch.has_ended => {
                self.drop_watchers(sql, std::slice::from_ref(&unwatch.subscription))
            }
            // The call may come late, after the stream was linked again. So the subscription is called, and says what holds.
            Some(at) => {
                let watching = &mut self.watchers.watching[at];
                (watching.notified, watching.awaits_answer) = (Notified::Due, false);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn drop_watchers(&mut self, sql: &dyn Sql, subscriptions: &[String]) -> Result<(), Failure> {
        let is_left = |watching: &Watching| !subscriptions.contains(&watching.stored.watcher.subscription);
        let is_last = !self.watchers.watching.iter().any(is_left);
        self.commit(sql, &Change::Unwatch { subscriptions, is_last })?;
        self.watchers.watching.retain(is_left);
        Ok(())
    }

    /// The registry has answered the report of a new stream with subscriptions whose patterns match.
    pub(super) fn found_watchers(&self, watchers: &[Watcher]) -> Vec<StoredWatcher> {
        let Some(stream) = self.state.live() else { return Vec::new() };
        let start = Progress { offset: beginning_of(stream), closed: false };
        let room = WATCHERS_MAX.saturating_sub(self.watchers.watching.len());
        let is_new = |watcher: &&Watcher| match self.watchers.position(&watcher.subscription) {
            Some(at) => self.watchers.watching[at].stored.watcher.incarnation < watcher.incarnation,
            None => true,
        };
        let stored = |watcher: &Watcher| StoredWatcher { watcher: watcher.clone(), glob: true, start };
        watchers.iter().filter(is_new).take(room).map(stored).collect()
    }

    /// They are stored.
    pub(super) fn watched_from_birth(&mut self, found: Vec<StoredWatcher>) {
        for stored in found {
            let notified = Notified::Armed(stored.start);
            self.watchers.put(Watching::new(stored, notified));
        }
    }

    /// Subscriptions have answered notifications.
    pub(super) fn have_noted(
        &mut self,
        sql: &dyn Sql,
        calls: &[(String, Call)],
        results: &[CallResult],
    ) -> Result<(), Failure> {
        let is_live = self.state.live().is_some();
        let mut gone = Vec::new();
        for ((subscription, call), result) in calls.iter().zip(results) {
            let Call::Notify(notify) = call else { continue };
            let Some(at) = self.watchers.position(subscription) else { continue };
            let watching = &mut self.watchers.watching[at];
            let counts = std::mem::take(&mut watching.awaits_answer);
            if !counts || watching.stored.watcher.incarnation != notify.incarnation {
                continue;
            }
            match result {
                // Meanwhile there is another stream at this URL, which the subscription is notified of next.
                Ok(Answered::Noted(_)) if notify.has_ended && is_live => watching.notified = Notified::Due,
                Ok(Answered::Noted(Noted::Taken)) if notify.has_ended => gone.push(subscription.clone()),
                Ok(Answered::Noted(Noted::Taken)) => watching.notified = Notified::Taken,
                Ok(Answered::Noted(Noted::Acked(acked))) => watching.notified = Notified::Armed(*acked),
                Ok(Answered::Noted(Noted::Gone)) => gone.push(subscription.clone()),
                Ok(_) | Err(_) => watching.has_failed = true,
            }
        }
        if gone.is_empty() { Ok(()) } else { self.drop_watchers(sql, &gone) }
    }

    /// Where that begins which was written at this time or later, as far as segments tell; `None` if there is nothing.
    fn written_since(&self, sql: &dyn Sql, since: Millis) -> Result<Option<Progress>, Failure> {
        let Some(stream) = self.state.live() else { return Ok(None) };
        if stream.written_at < since {
            return Ok(None);
        }
        let offset = if stream.created_at >= since {
            beginning_of(stream)
        } else {
            messages::first_since(sql, stream, since)?.unwrap_or(stream.tail)
        };
        Ok(Some(Progress { offset, closed: false }))
    }
}

/// Where the stream's own messages begin.
fn beginning_of(stream: &Stream) -> Offset {
    stream.segment_start(stream.first_segment)
}

/// The tail of a stream, or where the next one at its URL begins.
fn end_of(life: &Life) -> Progress {
    match life {
        Life::Unborn => Progress { offset: Offset::segment_start(0), closed: false },
        Life::Ended(ended) => Progress { offset: Offset::segment_start(ended.next_segment), closed: false },
        Life::Live(stream) | Life::Gone(stream) => {
            Progress { offset: stream.tail, closed: stream.closure.is_closed() }
        }
    }
}
