//! The driver: decides what an object does in its own time, in which order, how long it rests after a failure, and when the
//! alarm must ring. A shell (`src/cloudflare/object/shell.rs`, and in tests `test/host/support/shell.rs`) carries out what it
//! asks for, and decides nothing.
//!
//! # The order of calls
//!
//! 1. Something comes in: `serve`, `resume`, `confirm`, `answer`, `swept`, or the alarm: [`Object::ring`].
//! 2. In the same turn the shell calls [`Object::poll`] until there is nothing more. [`Effect::SetAlarm`] and [`Effect::Log`]
//!    it carries out at once; all others it begins, and nobody waits for them.
//! 3. When an effect has ended, however it has, the shell calls [`Object::done`] with it, once, and polls again as in 2.
//!
//! Between 2 and 3 anything may come in. No answer waits for an effect but the alarm's, which waits for [`Object::rung`].
//!
//! # What is begun when
//!
//! There are four lanes: the registry, the bucket, the segment index, and links to release. In each there is one thing under
//! way at most, so there never are two operations of the bucket at once. What a request leaves to do begins in a later turn
//! ([`Effect::NextTurn`], one for all lanes), after the live readers have been told; what an alarm rings for begins at once.
//! A lane goes on until there is nothing left to do in it. A segment that has to be read from the hot log is encoded some rows
//! a turn. While orphans are deleted ([`Object::swept`]) nothing begins in the bucket.
//!
//! What failed rests, and the alarm is set for the end of the rest: a minute in the bucket and for links, as long as they have
//! not known, from a minute to an hour, for registry and index. Requests do not shorten a rest. So an append that fills a
//! segment while the bucket is failing is answered as any other; the segment stays in the hot log, where it is read, and all
//! that are sealed until then go when the rest is over.
//!
//! The alarm is set for whatever comes first as soon as there is something that this object might not live to do
//! ([`Object::arm`]), and again when a lane has failed, when the bucket has nothing to do any more, and when all has ended that
//! an alarm began, or has taken [`RINGS_MAX`]. So if the object dies at any point, an alarm is set that makes a new one go on.
//! The platform rings an alarm again that has not come to its end.
//!
//! # What may go wrong
//!
//! Memory of the stream may be lost (`forget`) while something is under way: lanes and rests stay, and whatever comes of the
//! effect is held against what storage says by then. Where all of the module's memory is lost, the effects that are under way
//! are so for nobody; the next object begins with what storage says, and each of them can be done twice.
//!
//! An effect that is never said to have ended would keep its lane for as long as the object lives. So a shell gives each a
//! limit in time, reports errors as [`Outcome::Failed`], and reports one that it drops as failed, too. An alarm that could not
//! be set is logged; it is set with whatever wants it next, and where it was ringing, the platform rings it again.

use super::alarm::Alarm;
use super::effect::{About, Calling, Effect, LogEvent, Outcome};
use super::lanes::{LANES, Lane};
use super::live::Sockets;
use super::pending::{RETRY, RINGS_MAX};
use super::ports::Ports;
use super::reports::Report;
use super::rotation::{BucketWork, Collection, Upload};
use super::segment_index::IndexWork;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::Answered;
use crate::storage::commit::Change;
use crate::storage::forks::Link;
use crate::storage::{Failure, Sql};
use crate::stream::Life;

/// How it stands with an alarm that has rung.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// Something that it began is under way.
    NotYet,
    Done,
    /// It could not be set for what comes next: the platform is to ring it again.
    Again,
}

/// What there is to do in a lane.
enum NextInLane {
    Effect(Effect),
    /// It goes on in a later turn.
    LaterTurn,
    Nothing,
}

impl Object {
    /// What is to be begun now, if there is anything.
    pub fn poll<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Option<Effect> {
        loop {
            // Before the next thing, so that the rows that are logged are those of this one.
            if let Some(event) = self.lanes.next_to_log() {
                return Some(Effect::Log(event));
            }
            let Some(lane) = self.lanes.begin() else { break };
            match self.next(lane, ports.sql, now) {
                Ok(NextInLane::Effect(effect)) => return Some(effect),
                Ok(NextInLane::LaterTurn) => self.lanes.over(lane),
                Ok(NextInLane::Nothing) => self.is_done(lane, ports.sql, now),
                Err(failure) => self.has_failed(lane, failure, now + RETRY, ports.sql, now),
            }
        }
        self.end_ringing(ports.sql, now);
        if self.alarm.take_wanted_soon() {
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

    /// An effect has ended.
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
                self.goes_on(Lane::Bucket, done, now + RETRY, sql, now);
            }
            Effect::Delete(collection) => {
                let done = outcome.result().and_then(|()| self.has_deleted(sql, &collection, now));
                self.goes_on(Lane::Bucket, done, now + RETRY, sql, now);
            }
            Effect::Index(delivery) => match outcome.result() {
                Ok(()) => {
                    let done = self.commit(sql, &Change::Deliver { through_id: delivery.through_id });
                    self.goes_on(Lane::Index, done.map(|()| LogEvent::Indexed), now + RETRY, sql, now);
                }
                Err(failure) => {
                    let failure = delivery.failure(&failure.cause);
                    self.has_failed(Lane::Index, failure, delivery.again_at(now), sql, now);
                }
            },
            Effect::Call(Calling { about: About::Report(report), .. }) => {
                self.has_reported(sql, &report, &outcome, now);
            }
            Effect::Call(Calling { about: About::Release(link), .. }) => {
                self.has_asked(sql, &link, &outcome, now);
            }
        }
    }

    /// The alarm rings: the stream ends if its time has come, and all lanes begin.
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
        // It is set once all has been done: until then the platform would ring it again.
        self.alarm.forgo();
        self.begin_what_is_due(now);
    }

    /// Whether all has been done that the alarm rang for.
    pub fn rung(&self) -> Rung {
        if self.lanes.rings_since.is_some() {
            Rung::NotYet
        } else if self.alarm.is_lost() {
            Rung::Again
        } else {
            Rung::Done
        }
    }

    /// The later turn has come.
    fn turn<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) {
        self.lanes.awaits_turn = false;
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

    /// Whether somebody has to be told something. Where there is nobody, all are told.
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

    /// Whether there may be something to do in a lane that does not rest.
    fn may_begin(&self, lane: Lane, now: Millis) -> bool {
        let life = self.state.life();
        match lane {
            Lane::Registry => self.reports.may_begin(life, self.settings.registries, now),
            Lane::Bucket => self.rotation.may_begin(life, self.settings.segments, now),
            Lane::Index => self.settings.has_index && self.index.may_begin(life, now),
            Lane::Links => self.links.may_begin(now),
        }
    }

    fn next(&mut self, lane: Lane, sql: &dyn Sql, now: Millis) -> Result<NextInLane, Failure> {
        self.load(sql)?;
        let effect = match (lane, self.settings.segments) {
            _ if !self.may_begin(lane, now) => None,
            (Lane::Registry, _) => {
                self.reports.next(sql, self.settings.registries)?.map(Calling::report).map(Effect::Call)
            }
            (Lane::Bucket, None) => None,
            (Lane::Bucket, Some(limits)) => {
                let life = self.state.life().expect("it was loaded above");
                match self.rotation.next(sql, life, limits)? {
                    Some(BucketWork::Encode) => return Ok(NextInLane::LaterTurn),
                    Some(BucketWork::Upload(upload)) => Some(Effect::Put(upload)),
                    Some(BucketWork::Collect(collection)) => Some(Effect::Delete(collection)),
                    None => None,
                }
            }
            (Lane::Index, _) => self.next_delivery(sql, now)?,
            (Lane::Links, _) => {
                let fork = self.state.life().and_then(Life::stored).and_then(|stream| stream.fork.as_ref());
                let own = fork.map_or("", |fork| fork.link.as_str());
                self.links.next(sql, own)?.map(Calling::release).map(Effect::Call)
            }
        };
        Ok(effect.map_or(NextInLane::Nothing, NextInLane::Effect))
    }

    fn next_delivery(&mut self, sql: &dyn Sql, now: Millis) -> Result<Option<Effect>, Failure> {
        loop {
            self.load(sql)?;
            match self.index.next(sql, self.state.life().expect("it was loaded above"))? {
                Some(IndexWork::List { floor }) => {
                    self.commit(sql, &Change::List { floor, noted_at: now })?;
                }
                Some(IndexWork::Deliver(delivery)) => return Ok(Some(Effect::Index(delivery))),
                None => return Ok(None),
            }
        }
    }

    /// A segment has arrived in the bucket: if the stream still has it in the hot log, it is dropped there.
    fn has_put(&mut self, sql: &dyn Sql, upload: &Upload, now: Millis) -> Result<LogEvent, Failure> {
        let (segment, limits) = (&upload.segment, self.settings.segments);
        let event = LogEvent::Rotated { segment: segment.number };
        if !self.load(sql)?.stored().is_some_and(|stream| upload.is_due(stream, limits)) {
            return Ok(event);
        }
        self.commit(sql, &Change::Rotate { segment, noted_at: self.noted_at(now) })?;
        if let Some(stream) = self.load(sql)?.stored_mut() {
            stream.hot_from = segment.number + 1;
            stream.rotated_bytes = segment.bytes_through;
            stream.rotated_messages = segment.messages_through();
        }
        self.index.renew();
        // In the same turn: the platform stores both changes or none.
        self.trim(sql, now)?;
        // What was trimmed is deleted next, and the alarm is set after that.
        self.alarm.forgo();
        Ok(event)
    }

    /// Objects are no longer in the bucket.
    fn has_deleted(
        &mut self,
        sql: &dyn Sql,
        collection: &Collection,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        let through_segment = collection.through_segment;
        self.commit(sql, &Change::Forget { through_segment, noted_at: self.noted_at(now) })?;
        self.index.renew();
        Ok(LogEvent::Collected { through_segment })
    }

    /// When it is now, if what happens is to be noted for the index.
    fn noted_at(&self, now: Millis) -> Option<Millis> {
        self.settings.has_index.then_some(now)
    }

    /// The registry was told of the stream's lives.
    fn has_reported(&mut self, sql: &dyn Sql, report: &Report, outcome: &Outcome, now: Millis) {
        if *outcome == Outcome::Answered(Answered::Recorded) {
            let change = Change::Report { through: report.through, registries: self.settings.registries };
            let done = self.commit(sql, &change).map(|()| LogEvent::Reported);
            return self.goes_on(Lane::Registry, done, now + RETRY, sql, now);
        }
        let failure = report.failure(&format!("{outcome:?}"));
        self.has_failed(Lane::Registry, failure, report.again_at(now), sql, now);
    }

    /// A source was told that it is no longer needed. One that does not answer holds up no other.
    fn has_asked(&mut self, sql: &dyn Sql, link: &Link, outcome: &Outcome, now: Millis) {
        if *outcome == Outcome::Answered(Answered::Released) {
            let forgone = self.commit(sql, &Change::Forgo { link: &link.id });
            return self.goes_on(Lane::Links, forgone.map(|()| LogEvent::Released), now + RETRY, sql, now);
        }
        if self.links.failed(link) {
            let failure = Failure::new("release source", format_args!("{outcome:?}"));
            self.lanes.log(LogEvent::Failed(failure));
        }
        self.lanes.next(Lane::Links);
    }

    fn goes_on(
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
            Err(failure) => self.has_failed(lane, failure, again_at, sql, now),
        }
    }

    fn has_failed(&mut self, lane: Lane, failure: Failure, again_at: Millis, sql: &dyn Sql, now: Millis) {
        self.lanes.log(LogEvent::Failed(failure));
        self.rests(lane, again_at, sql, now);
    }

    /// There is nothing more to do in a lane.
    fn is_done(&mut self, lane: Lane, sql: &dyn Sql, now: Millis) {
        if lane == Lane::Links && self.links.take_failed() {
            return self.rests(lane, now + RETRY, sql, now);
        }
        self.lanes.over(lane);
        if lane == Lane::Bucket {
            // What it did may have made another time the next one, such as that of a segment to be dropped.
            self.rearm(sql, now);
        }
    }

    fn rests(&mut self, lane: Lane, until: Millis, sql: &dyn Sql, now: Millis) {
        self.lanes.over(lane);
        match lane {
            Lane::Registry => self.reports.rest_until(until),
            Lane::Bucket => self.rotation.rest_until(until),
            Lane::Index => self.index.rest_until(until),
            Lane::Links => self.links.rest_until(until),
        }
        self.rearm(sql, now);
    }

    /// Once all has been done that the alarm rang for, or that took too long, it is set for what comes next.
    fn end_ringing(&mut self, sql: &dyn Sql, now: Millis) {
        let Some(since) = self.lanes.rings_since else { return };
        let is_done = || self.lanes.are_all_idle() && !self.lanes.awaits_turn && !self.is_any_due(now);
        if now >= since + RINGS_MAX || is_done() {
            self.lanes.rings_since = None;
            self.rearm(sql, now);
        }
    }

    /// Sees to it that whatever is left to happen by itself has an alarm.
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
