//! A stream's answers to the subscriptions that watch it, and their answers to its notifications.

use super::effect::CallResult;
use super::live::Sockets;
use super::ports::Ports;
use super::state::Object;
use super::watchers::{Extent, Notified, Watching};
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::offset::Offset;
use crate::protocol::subscription::watch::{
    Noted, Progress, Unwatch, WATCHERS_MAX, Watch, WatchAnswer, WatchFrom, Watcher,
};
use crate::storage::commit::Change;
use crate::storage::seek::first_since;
use crate::storage::watchers::StoredWatcher;
use crate::storage::{Failure, Sql};
use crate::stream::{Life, Stream};

impl Object {
    /// The tail of a live stream; `None` if it has ended. For an open stream without messages, it is offset zero, and also
    /// for one that has never existed: a link to it has not ended.
    pub(super) fn progress(&self) -> Option<Progress> {
        let life = self.state.life()?;
        if *life == Life::Unborn {
            return Some(end_of(life));
        }
        let stream = self.state.live()?;
        let closed = stream.closure.is_closed();
        // An empty stream has nothing pending, even if a cursor is left from an earlier incarnation.
        let is_empty = stream.tail == beginning_of(stream) && !closed;
        let offset = if is_empty { Offset::segment_start(0) } else { stream.tail };
        Some(Progress { offset, closed })
    }

    pub(super) fn extent(&self) -> Extent {
        let none = Progress { offset: Offset::segment_start(0), closed: false };
        let beginning = self.state.live().map_or(none.offset, beginning_of);
        let created_at = self.state.live().map(|stream| stream.created_at);
        Extent { created_at, beginning, end: self.state.life().map_or(none, end_of) }
    }

    /// Begins to notify a subscription of everything after its cursor.
    pub(super) fn watch<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        watch: &Watch,
        now: Millis,
    ) -> Result<WatchAnswer, Failure> {
        self.end_expired(ports, now)?;
        let life = self.load(ports.sql)?;
        let tail = end_of(life);
        let Watch { subscription, incarnation, glob, .. } = watch;
        let found = self.watchers.position(subscription);
        let known = found.map(|at| self.watchers.watching[at].stored.clone());
        let is_known = known.as_ref().is_some_and(|known| known.watcher.incarnation == *incarnation);
        let from = match (watch.begins(now), watch.added_at) {
            // The watcher may be of an earlier link, which was removed and added again.
            (WatchFrom::Tail, Some(added_at)) if is_known => WatchFrom::since(added_at),
            (from, _) => from,
        };
        let is_full = found.is_none() && self.watchers.watching.len() >= WATCHERS_MAX;
        if is_full {
            if self.state.live().is_some() {
                // Some of these subscriptions may be gone, and notifying them reveals it.
                self.watchers.watching.iter_mut().for_each(|watching| watching.notified = Notified::Due);
            }
            return Ok(WatchAnswer::TooMany);
        }
        let start = match (&known, &from) {
            (Some(known), _) if known.watcher.incarnation > *incarnation => {
                return Ok(WatchAnswer::From { acked: tail, tail });
            }
            (known, WatchFrom::Since(since)) => {
                let known = known.as_ref().filter(|_| is_known).map(|known| known.start);
                // If nothing was written since, the stream may still have been closed since.
                let at_tail = known.filter(|known| known.offset == tail.offset).unwrap_or(tail);
                let start = self.written_since(ports.sql, *since)?.map_or(at_tail, |start| start.min(tail));
                // A link that the registry has found begins with the stream, which may be older.
                known.map_or(start, |known| start.max(known))
            }
            (Some(known), _) if is_known => known.start,
            (_, WatchFrom::Tail) => tail,
            (_, WatchFrom::Acked(acked)) => *acked,
        };
        let watcher = Watcher { subscription: subscription.clone(), incarnation: *incarnation };
        let stored = StoredWatcher { watcher, glob: *glob, start };
        if known.as_ref() != Some(&stored) {
            self.commit(ports.sql, &Change::Watch { watcher: &stored })?;
            self.load(ports.sql)?;
        }
        let acked = if let WatchFrom::Acked(acked) = from { acked } else { start };
        let tail = self.progress().unwrap_or(acked);
        // The answer shows that something follows the cursor, but the state of the notification stays unchanged. Only a
        // notification that was taken proves that the subscription has stored it. Either the answer to this call may be
        // lost, or the subscription's memory that it has called.
        let before = self.watchers.position(subscription).map(|at| self.watchers.watching[at].notified);
        let notified = match before {
            _ if tail <= acked => Notified::Armed(tail),
            Some(before) => before,
            None => Notified::Unknown(tail),
        };
        self.watchers.put(Watching::new(stored, notified));
        Ok(WatchAnswer::From { acked, tail })
    }

    /// Stops notifying a subscription.
    pub(super) fn unwatch(&mut self, sql: &dyn Sql, unwatch: &Unwatch) -> Result<(), Failure> {
        let is_unborn = *self.load(sql)? == Life::Unborn;
        let found = self.watchers.position(&unwatch.subscription);
        let found =
            found.filter(|at| self.watchers.watching[*at].stored.watcher.incarnation <= unwatch.incarnation);
        match found {
            Some(_) if unwatch.has_ended => {
                self.drop_watchers(sql, std::slice::from_ref(&unwatch.subscription))
            }
            // The stream has never existed, so nothing is due, and the object does not know its path. The first append
            // notifies.
            Some(_) if is_unborn => Ok(()),
            // The call may be late, after the stream was linked again. So notify the subscription, whose answer is
            // current.
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

    /// The new watchers in the registry's answer to the report of this stream.
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

    /// Takes over watchers that were stored for the new stream.
    pub(super) fn watched_from_birth(&mut self, found: Vec<StoredWatcher>) {
        for stored in found {
            let notified = Notified::Armed(stored.start);
            self.watchers.put(Watching::new(stored, notified));
        }
    }

    /// Applies the answers of subscriptions to notifications.
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
                // Another stream exists at this URL by now, so the subscription is notified of that one next.
                Ok(Answered::Noted(_)) if notify.has_ended && is_live => watching.notified = Notified::Due,
                Ok(Answered::Noted(Noted::Taken)) if notify.has_ended => gone.push(subscription.clone()),
                Ok(Answered::Noted(Noted::Taken)) => watching.notified = Notified::Taken,
                Ok(Answered::Noted(Noted::Acked(acked))) => watching.notified = Notified::Armed(*acked),
                Ok(Answered::Noted(Noted::Gone)) => gone.push(subscription.clone()),
                Ok(_) | Err(_) => {
                    watching.has_failed = true;
                    if notify.has_ended {
                        // The call may still arrive, and end a link that the next stream at this URL needs.
                        watching.notified = Notified::Due;
                    }
                }
            }
        }
        if gone.is_empty() { Ok(()) } else { self.drop_watchers(sql, &gone) }
    }

    /// The start of everything written since this time, as precisely as segments tell; `None` if nothing was.
    fn written_since(&self, sql: &dyn Sql, since: Millis) -> Result<Option<Progress>, Failure> {
        let Some(stream) = self.state.live() else { return Ok(None) };
        let found = first_since(sql, stream, stream.first_segment, since)?;
        Ok(found.map(|offset| Progress { offset, closed: false }))
    }
}

/// The beginning of the stream's own messages.
fn beginning_of(stream: &Stream) -> Offset {
    stream.segment_start(stream.first_segment)
}

/// The tail of a stream, or the beginning of the next one at its URL.
fn end_of(life: &Life) -> Progress {
    match life {
        Life::Unborn => Progress { offset: Offset::segment_start(0), closed: false },
        Life::Ended(ended) => Progress { offset: Offset::segment_start(ended.next_segment), closed: false },
        Life::Live(stream) | Life::Gone(stream) => {
            Progress { offset: stream.tail, closed: stream.closure.is_closed() }
        }
    }
}
