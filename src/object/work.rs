//! The work of each of the driver's lanes (`driver.rs`): whether there is any, its next step, and the effects of its
//! end.

use super::driver::NextInLane;
use super::effect::{About, Calling, Effect, LogEvent, Outcome};
use super::lanes::Lane;
use super::pending::RETRY;
use super::reports::Report;
use super::rotation::{BucketWork, Collection, Upload};
use super::segment_index::IndexWork;
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::storage::commit::Change;
use crate::storage::forks::Link;
use crate::storage::{Failure, Sql, stream_row};
use crate::stream::Life;

impl Object {
    /// Whether a lane may have work and is not backing off.
    pub(super) fn may_begin(&self, lane: Lane, now: Millis) -> bool {
        let life = self.state.life();
        match lane {
            Lane::Registry => self.reports.may_begin(life, self.settings.registries, now),
            Lane::Bucket => self.rotation.may_begin(life, self.settings.segments, now),
            Lane::Index => self.settings.has_index && self.index.may_begin(life, now),
            Lane::Links => self.links.may_begin(now),
            Lane::Watchers => self.watchers.may_begin(self.progress(), now),
            Lane::Directory => self.directory_may_begin(now),
            Lane::Watches => self.watches_may_begin(now),
            Lane::Delivery => self.delivery_may_begin(now),
            Lane::Summary => self.summary_may_begin(),
        }
    }

    pub(super) fn next(&mut self, lane: Lane, sql: &dyn Sql, now: Millis) -> Result<NextInLane, Failure> {
        self.load(sql)?;
        let effect = match (lane, self.settings.segments) {
            _ if !self.may_begin(lane, now) => None,
            (Lane::Registry, _) => {
                self.reports.next(sql, self.settings.registries)?.map(Calling::report).map(Effect::Call)
            }
            (Lane::Bucket, None) => None,
            (Lane::Bucket, Some(limits)) => {
                let life = self.state.life().expect("the state was loaded above");
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
            (Lane::Watchers, _) => self.next_notifications(sql)?,
            (Lane::Directory, _) => self.next_in_directory(),
            (Lane::Watches, _) => self.next_watches(sql, now)?,
            (Lane::Delivery, _) => self.next_delivery_of_wake(sql, now)?,
            (Lane::Summary, _) => self.next_summary(),
        };
        Ok(effect.map_or(NextInLane::Nothing, |effect| NextInLane::Effect(Box::new(effect))))
    }

    fn next_delivery(&mut self, sql: &dyn Sql, now: Millis) -> Result<Option<Effect>, Failure> {
        loop {
            self.load(sql)?;
            match self.index.next(sql, self.state.life().expect("the state was loaded above"))? {
                Some(IndexWork::List { floor }) => {
                    self.commit(sql, &Change::List { floor, noted_at: now })?;
                }
                Some(IndexWork::Deliver(delivery)) => return Ok(Some(Effect::Index(delivery))),
                None => return Ok(None),
            }
        }
    }

    /// Drops an uploaded segment from the hot log, if it is still there.
    pub(super) fn has_put(
        &mut self,
        sql: &dyn Sql,
        upload: &Upload,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
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
        // In the same turn, so that the platform stores both changes or neither.
        self.trim(sql, now)?;
        // Trimmed segments are deleted next, and the alarm is set after that.
        self.alarm.forgo();
        Ok(event)
    }

    pub(super) fn has_deleted(
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

    /// The current time, if a segment index receives changes.
    fn noted_at(&self, now: Millis) -> Option<Millis> {
        self.settings.has_index.then_some(now)
    }

    /// Handles the registry's answer to a report.
    fn has_reported(&mut self, sql: &dyn Sql, report: &Report, outcome: &Outcome, now: Millis) {
        // The subscriptions in the answer watch this stream, and would be lost without it.
        if let Err(failure) = self.load(sql).map(drop) {
            return self.fail_lane(Lane::Registry, failure, report.again_at(now), sql, now);
        }
        let found = if let Outcome::Answered(Answered::RecordedFor(watchers)) = outcome {
            Some(self.found_watchers(watchers))
        } else {
            (*outcome == Outcome::Answered(Answered::Recorded)).then(Vec::new)
        };
        if let Some(watchers) = found {
            let change = Change::Report {
                through: report.through,
                registries: self.settings.registries,
                watchers: &watchers,
            };
            self.reports.has_ended(None);
            let done = self.commit(sql, &change).map(|()| LogEvent::Reported);
            if done.is_ok() {
                self.watched_from_birth(watchers);
            }
            return self.go_on(Lane::Registry, done, now + RETRY, sql, now);
        }
        self.reports.has_ended(Some(match outcome {
            Outcome::Failed(failure) => &failure.cause,
            Outcome::Done | Outcome::Answered(_) | Outcome::AllAnswered(_) | Outcome::Delivered(_) => {
                "the registry gave no answer that is known"
            }
        }));
        let failure = report.failure(&format!("{outcome:?}"));
        self.fail_lane(Lane::Registry, failure, report.again_at(now), sql, now);
    }

    /// Handles a source's answer to a release. A source that does not answer does not delay the others.
    fn released(&mut self, sql: &dyn Sql, link: &Link, outcome: &Outcome, now: Millis) {
        if *outcome == Outcome::Answered(Answered::Released) {
            let forgone = self.commit(sql, &Change::Forgo { link: &link.id });
            return self.go_on(Lane::Links, forgone.map(|()| LogEvent::Released), now + RETRY, sql, now);
        }
        if self.links.failed(link) {
            let failure = Failure::new("release source", format_args!("{outcome:?}"));
            self.lanes.log(LogEvent::Failed(failure));
        }
        self.lanes.next(Lane::Links);
    }

    /// Handles the answers to calls from or to subscriptions.
    pub(super) fn answered(
        &mut self,
        sql: &dyn Sql,
        about: &About,
        calls: &[(String, Call)],
        outcome: &Outcome,
        now: Millis,
    ) {
        let (lane, done) = match about {
            About::Enlist { incarnation, adds } => {
                (Lane::Directory, self.enlisted(sql, *incarnation, *adds, outcome, now))
            }
            About::Summary => {
                let recorded = outcome.answer("report subscription").map(|_| LogEvent::Reported);
                (Lane::Summary, recorded)
            }
            About::Events { through } => (Lane::Directory, self.events_recorded(sql, *through, outcome, now)),
            About::Page { incarnation } => (Lane::Watches, self.page_listed(sql, *incarnation, outcome, now)),
            About::Watches => (
                Lane::Watches,
                outcome.results().and_then(|results| self.have_watched(sql, calls, results, now)),
            ),
            About::WakeEvent { generation } => {
                (Lane::Delivery, self.wake_event_written(sql, *generation, outcome, now))
            }
            About::Watchers => {
                let noted = outcome.results().and_then(|results| self.have_noted(sql, calls, results));
                (Lane::Watchers, noted.map(|()| LogEvent::Notified))
            }
            About::Report(report) => return self.has_reported(sql, report, outcome, now),
            About::Release(link) => return self.released(sql, link, outcome, now),
        };
        self.go_on(lane, done, now + RETRY, sql, now);
    }

    fn next_notifications(&mut self, sql: &dyn Sql) -> Result<Option<Effect>, Failure> {
        if !self.watchers.are_due(self.progress()) {
            return Ok(None);
        }
        let tail = self.progress();
        let path = stream_row::path_if_any(sql)?.unwrap_or_default();
        let extent = self.extent();
        match self.watchers.next(&path, tail, extent) {
            None if self.watchers.have_failed() => {
                Err(Failure::new("notify subscriptions", "some did not answer"))
            }
            effect => Ok(effect),
        }
    }
}
