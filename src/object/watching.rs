//! A stream's answers to the subscriptions that watch it, and theirs to its notifications.

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
use crate::storage::watchers::StoredWatcher;
use crate::storage::{Failure, Sql, messages};
use crate::stream::{Life, Stream};

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
    ) -> Result<WatchAnswer, Failure> {
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
            return Ok(WatchAnswer::TooMany);
        }
        let start = match (&known, from) {
            (Some(known), _) if known.watcher.incarnation > *incarnation => {
                return Ok(WatchAnswer::From { acked: tail, tail });
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
        Ok(WatchAnswer::From { acked, tail })
    }

    /// A subscription is to be notified no longer.
    pub(super) fn unwatch(&mut self, sql: &dyn Sql, unwatch: &Unwatch) -> Result<(), Failure> {
        let is_unborn = *self.load(sql)? == Life::Unborn;
        let found = self.watchers.position(&unwatch.subscription);
        let found =
            found.filter(|at| self.watchers.watching[*at].stored.watcher.incarnation <= unwatch.incarnation);
        match found {
            Some(_) if unwatch.has_ended => {
                self.drop_watchers(sql, std::slice::from_ref(&unwatch.subscription))
            }
            // There was nothing yet to notify of, and the object does not know its path: the first append asks.
            Some(_) if is_unborn => Ok(()),
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

    /// Takes over what was stored of them.
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
