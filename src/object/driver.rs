//! The driver decides what an object does in the background: in which order, how long it backs off after a
//! failure, and when the alarm rings. A shell performs the effects and decides nothing
//! (`src/cloudflare/object/shell.rs`, in tests `test/host/support/shell.rs`).
//!
//! # The order of calls
//!
//! 1. An event arrives: `serve`, `resume`, `confirm`, `answer`, `swept`, or the alarm ([`Object::ring`]).
//! 2. In the same turn, the shell calls [`Object::poll`] until it returns `None`. It performs
//!    [`Effect::SetAlarm`] and [`Effect::Log`] at once. It starts all other effects without waiting for them.
//! 3. When an effect ends, the shell calls [`Object::done`] with it exactly once, and polls again.
//!
//! Events may arrive between steps 2 and 3. Only the alarm waits for effects, until [`Object::rung`].
//!
//! # When effects start
//!
//! There are four lanes: the registry, the bucket, the segment index, and links to release. Each has at most
//! one effect in flight, so bucket operations never overlap. A request's work starts in a later turn
//! ([`Effect::NextTurn`], one for all lanes), after live readers are notified. The alarm's work starts at
//! once. A lane continues until it has no work. A segment from the hot log is encoded a few rows per turn.
//! While orphans are deleted ([`Object::swept`]), the bucket lane does not start.
//!
//! After a failure, a lane backs off, and the alarm is set for the end of it. The bucket and links back off
//! for one minute; the registry and the index for as long as they are out of date, from one minute to one
//! hour. Requests do not shorten a backoff, except that a new subscription waits for at most one minute after
//! the ended one of its name. While the bucket fails, appends that fill a segment still succeed. Sealed
//! segments stay readable in the hot log until they are uploaded.
//!
//! [`Object::arm`] sets the alarm as soon as there is work that this object might not live to do. It is set
//! again when a lane fails, when the bucket lane runs out of work, and when the work of an alarm has ended or
//! taken [`RINGS_MAX`]. So if the object dies, an alarm makes the next one continue. The platform repeats an
//! alarm that has not completed.
//!
//! # Failures
//!
//! If memory of the stream is lost (`forget`), lanes and backoffs survive. The outcome of an effect is
//! checked against storage. If the whole module is lost, so are outcomes: the next object may perform an
//! effect again.
//!
//! An effect that never ends would block its lane. So a shell limits each effect in time, and reports errors
//! and dropped effects as [`Outcome::Failed`]. If the alarm cannot be set, that is logged, and the next
//! request for an alarm sets it. If it was ringing, the platform repeats it.

use super::alarm::Alarm;
use super::effect::{Calling, Calls, Effect, LogEvent, Outcome};
use super::lanes::{LANES, Lane};
use super::live::Sockets;
use super::pending::{RETRY, RINGS_MAX};
use super::ports::Ports;
use super::state::Object;
use crate::protocol::Millis;
use crate::storage::commit::Change;
use crate::storage::{Failure, Sql};

/// The state of an alarm that has rung.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// Work that it started is in progress.
    NotYet,
    Done,
    /// It could not be set for the next work, so the platform must repeat it.
    Again,
}

/// The next work in a lane.
pub(super) enum NextInLane {
    Effect(Box<Effect>),
    /// The lane continues in a later turn.
    LaterTurn,
    Nothing,
}

impl Object {
    /// The next effect to start, if any.
    pub fn poll<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Option<Effect> {
        loop {
            // Log events come first, so that a log line has the row count of the work it describes.
            if let Some(event) = self.lanes.next_to_log() {
                return Some(Effect::Log(event));
            }
            let Some(lane) = self.lanes.begin() else { break };
            match self.next(lane, ports.sql, now) {
                Ok(NextInLane::Effect(effect)) => return Some(*effect),
                Ok(NextInLane::LaterTurn) => self.lanes.over(lane),
                Ok(NextInLane::Nothing) => self.finish_lane(lane, ports.sql, now),
                Err(failure) => self.fail_lane(lane, failure, now + RETRY, ports.sql, now),
            }
        }
        self.end_ringing(ports.sql, now);
        // While the alarm rings, the platform repeats it if the object dies.
        let rings = self.lanes.rings_since.is_some();
        let wants_alarm = self.reports.wants_alarm(self.state.life(), self.settings.registries)
            | (!rings && self.watchers.wants_alarm(self.progress()))
            | self.alarm.take_wanted_soon();
        if wants_alarm {
            self.arm(now);
        }
        let has_rearmed = std::mem::take(&mut self.lanes.has_rearmed);
        if let Some(at) = self.alarm.take() {
            if has_rearmed {
                self.lanes.log(LogEvent::Rearmed);
            }
            return Some(Effect::SetAlarm(at));
        }
        if !self.lanes.awaits_turn && (self.has_news(ports) || self.is_any_due(now)) {
            self.lanes.awaits_turn = true;
            return Some(Effect::NextTurn);
        }
        self.lanes.next_to_log().map(Effect::Log)
    }

    /// Records that an effect ended.
    pub fn done<S: Sockets>(&mut self, ports: &Ports<'_, S>, effect: Effect, outcome: Outcome, now: Millis) {
        let sql = ports.sql;
        match effect {
            Effect::Log(_) => {}
            Effect::SetAlarm(_) => {
                if let Outcome::Failed(failure) = outcome {
                    self.alarm = Alarm::lost();
                    self.lanes.log(LogEvent::Failed(failure));
                }
            }
            Effect::NextTurn => self.turn(ports, now),
            Effect::Put(upload) => {
                let done = outcome.result().and_then(|()| self.has_put(sql, &upload, now));
                self.go_on(Lane::Bucket, done, now + RETRY, sql, now);
            }
            Effect::Delete(collection) => {
                let done = outcome.result().and_then(|()| self.has_deleted(sql, &collection, now));
                self.go_on(Lane::Bucket, done, now + RETRY, sql, now);
            }
            Effect::Index(delivery) => match outcome.result() {
                Ok(()) => {
                    self.index.has_ended(None);
                    let done = self.commit(sql, &Change::Deliver { through_id: delivery.through_id });
                    self.go_on(Lane::Index, done.map(|()| LogEvent::Indexed), now + RETRY, sql, now);
                }
                Err(failure) => {
                    self.index.has_ended(Some(&failure));
                    let failure = delivery.failure(&failure.cause);
                    self.fail_lane(Lane::Index, failure, delivery.again_at(now), sql, now);
                }
            },
            Effect::Call(Calling { about, .. }) => self.answered(sql, &about, &[], &outcome, now),
            Effect::Calls(Calls { calls, about }) => self.answered(sql, &about, &calls, &outcome, now),
            Effect::Post(post) => {
                let done = self.wake_delivered(sql, &post, &outcome, now);
                self.go_on(Lane::Delivery, done, now + RETRY, sql, now);
            }
        }
    }

    /// Runs when the alarm rings: ends the stream if it has expired, and starts all lanes.
    pub fn ring<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) {
        self.lanes.rings_since = Some(now);
        match self.reclaim(ports, now) {
            Ok(true) => self.lanes.log(LogEvent::Reclaimed),
            Ok(false) => {}
            Err(failure) => {
                self.alarm = Alarm::lost();
                self.lanes.log(LogEvent::Failed(failure));
            }
        }
        self.watchers.rang(self.progress());
        // The alarm is set after the work. Until then, the platform repeats this one if the object dies.
        self.alarm.forgo();
        self.begin_what_is_due(now);
    }

    /// Whether the work of the alarm is complete.
    pub fn rung(&self) -> Rung {
        if self.lanes.rings_since.is_some() {
            Rung::NotYet
        } else if self.alarm.is_lost() {
            Rung::Again
        } else {
            Rung::Done
        }
    }

    fn turn<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) {
        self.lanes.awaits_turn = false;
        if self.alarm.is_lost() {
            // It is set again once in each turn, so that a failure does not repeat itself at once.
            self.watchers.lost_alarm();
            self.reports.lost_alarm();
        }
        if let Err(failure) = self.announce(ports, now) {
            self.lanes.log(LogEvent::Failed(failure));
        }
        self.begin_what_is_due(now);
    }

    fn begin_what_is_due(&mut self, now: Millis) {
        for lane in LANES {
            if self.is_due(lane, now) {
                self.lanes.next(lane);
            }
        }
    }

    /// Whether live readers must be notified. Without readers, everything counts as announced.
    fn has_news<S: Sockets>(&mut self, ports: &Ports<'_, S>) -> bool {
        let Some(stream) = self.state.live().filter(|stream| self.readers.has_news(stream)) else {
            return false;
        };
        if ports.sockets.count() == 0 {
            self.readers.know_all_of(stream);
            return false;
        }
        true
    }

    fn is_any_due(&self, now: Millis) -> bool {
        LANES.into_iter().any(|lane| self.is_due(lane, now))
    }

    fn is_due(&self, lane: Lane, now: Millis) -> bool {
        self.lanes.is_idle(lane) && self.may_begin(lane, now)
    }

    pub(super) fn go_on(
        &mut self,
        lane: Lane,
        done: Result<LogEvent, Failure>,
        again_at: Millis,
        sql: &dyn Sql,
        now: Millis,
    ) {
        match done {
            Ok(event) => {
                self.lanes.log(event);
                self.lanes.next(lane);
            }
            Err(failure) => self.fail_lane(lane, failure, again_at, sql, now),
        }
    }

    pub(super) fn fail_lane(
        &mut self,
        lane: Lane,
        failure: Failure,
        again_at: Millis,
        sql: &dyn Sql,
        now: Millis,
    ) {
        self.lanes.log(LogEvent::Failed(failure));
        self.back_off(lane, again_at, sql, now);
    }

    /// Handles a lane that has run out of work.
    fn finish_lane(&mut self, lane: Lane, sql: &dyn Sql, now: Millis) {
        if lane == Lane::Links && self.links.take_failed() {
            return self.back_off(lane, now + RETRY, sql, now);
        }
        self.lanes.over(lane);
        if lane == Lane::Bucket {
            // A rotation can change when retention next drops a segment.
            self.rearm(sql, now);
        }
    }

    fn back_off(&mut self, lane: Lane, until: Millis, sql: &dyn Sql, now: Millis) {
        self.lanes.over(lane);
        match lane {
            Lane::Registry => self.reports.rest_until(until),
            Lane::Bucket => self.rotation.rest_until(until),
            Lane::Index => self.index.rest_until(until),
            Lane::Links => self.links.rest_until(until),
            Lane::Watchers => self.watchers.rest_until(until),
            Lane::Directory => self.rest_directory_until(until),
            Lane::Watches => self.rest_watches_until(until, now),
            Lane::Delivery => self.rest_delivery_until(until),
            // The next change of the subscription sends the next summary.
            Lane::Summary => return,
        }
        self.rearm(sql, now);
    }

    /// Sets the alarm for the next work, once the work of the last alarm is complete or took too long.
    fn end_ringing(&mut self, sql: &dyn Sql, now: Millis) {
        let Some(since) = self.lanes.rings_since else { return };
        let is_done = || self.lanes.are_all_idle() && !self.lanes.awaits_turn && !self.is_any_due(now);
        if now >= since + RINGS_MAX || is_done() {
            self.lanes.rings_since = None;
            self.rearm(sql, now);
        }
    }

    /// Sets the alarm for the next background work.
    fn rearm(&mut self, sql: &dyn Sql, now: Millis) {
        if self.lanes.rings_since.is_some() {
            return;
        }
        self.lanes.has_rearmed = true;
        match self.load(sql) {
            Ok(_) => {
                self.alarm.forgo();
                self.arm(now);
            }
            Err(failure) => {
                self.lanes.log(LogEvent::Failed(failure));
                self.alarm.want(now + RETRY, now);
            }
        }
    }
}
