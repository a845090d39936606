//! Holds the parts of one stream's object, and commits changes to storage. Memory is a cache of storage: it
//! may be lost at any time, and is dropped when a commit fails.

use super::alarm::Alarm;
use super::answer::Error;
use super::lanes::Lanes;
use super::links::ForkLinks;
use super::live::{self, LiveReaders, Sockets};
use super::patterns::Patterns;
use super::pending::RETRY;
use super::ports::{Ports, Settings};
use super::reports::Reports;
use super::retention::{self, DropsNext, Retained};
use super::rotation::Rotation;
use super::segment_index::SegmentIndex;
use super::stream_state::StreamState;
use super::subscription::SubscriptionPart;
use super::watchers::Watchers;
use crate::protocol::Millis;
use crate::protocol::cache_policy::Audience;
use crate::protocol::lifetime::Lifetime;
use crate::protocol::refusal::Refusal;
use crate::storage::commit::{self, Change, Released};
use crate::storage::forks as holds;
use crate::storage::registry::is_unreported;
use crate::storage::{Failure, Sql};
use crate::stream::delete::delete;
use crate::stream::rotate;
use crate::stream::{Life, Stream};

/// The server of one stream. Each part tracks its own state and its background work.
///
/// Requests and calls arrive through `serve`, `resume`, `confirm` and `answer`. After each of them, the shell
/// lets the driver continue (see `driver.rs`).
#[derive(Debug)]
pub struct Object {
    pub(super) settings: Settings,
    pub(super) state: StreamState,
    pub(super) rotation: Rotation,
    pub(super) retention: DropsNext,
    pub(super) links: ForkLinks,
    pub(super) reports: Reports,
    pub(super) index: SegmentIndex,
    pub(super) watchers: Watchers,
    pub(super) patterns: Patterns,
    pub(super) subscription: SubscriptionPart,
    pub(super) readers: LiveReaders,
    pub(super) alarm: Alarm,
    pub(super) lanes: Lanes,
}

impl Object {
    /// An object that has not read its state yet.
    pub fn new(settings: Settings) -> Object {
        Object {
            settings,
            state: StreamState::unknown(settings.producers),
            rotation: Rotation::default(),
            retention: DropsNext::default(),
            links: ForkLinks::unknown(),
            reports: Reports::default(),
            index: SegmentIndex::default(),
            watchers: Watchers::default(),
            patterns: Patterns::default(),
            subscription: SubscriptionPart::default(),
            readers: LiveReaders::default(),
            alarm: Alarm::default(),
            lanes: Lanes::default(),
        }
    }

    /// Drops what is in memory of the stream. Effects in flight and backoffs continue.
    pub fn forget(&mut self) {
        *self = Object {
            rotation: self.rotation.forgotten(),
            links: self.links.forgotten(),
            reports: self.reports.forgotten(),
            index: self.index.forgotten(),
            watchers: self.watchers.forgotten(),
            subscription: self.subscription.forgotten(),
            alarm: Alarm::lost(),
            lanes: std::mem::take(&mut self.lanes),
            ..Object::new(self.settings)
        };
    }

    /// Whether the state is in memory.
    pub fn is_loaded(&self) -> bool {
        self.state.life().is_some()
    }

    /// Stores a change. After a failure, the state of storage is unknown, so memory is dropped and read again
    /// when needed.
    pub(super) fn commit(&mut self, sql: &dyn Sql, change: &Change<'_>) -> Result<(), Failure> {
        commit::commit(sql, change).inspect_err(|_| {
            self.forget();
            self.alarm = Alarm::after_failed_commit();
        })
    }

    /// Reads the state, once per object.
    pub(super) fn load(&mut self, sql: &dyn Sql) -> Result<&mut Life, Failure> {
        if let Some(loaded) = self.state.load(sql, self.settings.hides_public)? {
            self.links.loaded(loaded.has_links);
            let incarnation = self.state.live().map(|stream| stream.incarnation);
            let registries = self.settings.registries;
            let is_birth_owed = incarnation
                .zip(loaded.reported)
                .is_some_and(|(incarnation, reported)| is_unreported(reported, incarnation, registries));
            self.reports.loaded(self.state.life(), is_birth_owed);
            let stream = self.state.live();
            if let Some(stream) = stream {
                self.readers.know_all_of(stream);
            }
            self.alarm.load(stream);
            self.load_watchers(sql, loaded.has_watchers, loaded.has_subscription)
                .inspect_err(|_| self.forget())?;
        }
        Ok(self.state.life_mut().expect("the state was loaded above"))
    }

    fn load_watchers(
        &mut self,
        sql: &dyn Sql,
        has_watchers: bool,
        has_subscription: bool,
    ) -> Result<(), Failure> {
        if has_watchers {
            let tail = self.progress();
            self.watchers.load(sql, tail)?;
        }
        if has_subscription {
            self.subscription.load(sql)
        } else {
            self.subscription.is_none();
            Ok(())
        }
    }

    /// The stream, if it exists. An expired stream ends here, whether or not its alarm has rung, so that it
    /// does not come back after memory is lost. While live readers are connected, a stream with a TTL does
    /// not expire (PROTOCOL.md 5.1). Segments that retention no longer keeps are dropped here too.
    pub(super) fn stream<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        now: Millis,
    ) -> Result<&mut Stream, Error> {
        if let Life::Live(stream) = self.load(ports.sql)?
            && stream.expires_at().is_some_and(|at| now >= at)
        {
            if is_read_live(stream, ports.sockets) {
                let _kept_in_memory = stream.touch(now);
            } else {
                self.end(ports, now)?;
            }
        }
        if self.retention.is_due(now) {
            self.trim(ports.sql, now)?;
        }
        match self.state.life_mut().expect("the state was loaded above") {
            Life::Live(stream) => Ok(stream),
            Life::Gone(_) => Err(Refusal::Gone.into()),
            Life::Unborn | Life::Ended(_) => Err(Refusal::NotFound.into()),
        }
    }

    /// Ends the stream if its time has come.
    pub(super) fn end_expired<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        now: Millis,
    ) -> Result<(), Failure> {
        match self.stream(ports, now) {
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(Error::Failed(failure)) => Err(failure),
        }
    }

    /// Renews the TTL after a read or a write, and stores the lease if it must be stored.
    pub(super) fn touch(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        let Some(lease_until) = self.state.live_mut().and_then(|stream| stream.touch(now)) else {
            return Ok(());
        };
        self.commit(sql, &Change::Touch { lease_until })?;
        if let Some(stream) = self.state.live_mut() {
            stream.lease_until = lease_until;
        }
        Ok(())
    }

    /// Ends the stream if it has expired when the alarm rings. Returns whether it ended.
    pub(super) fn reclaim<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<bool, Failure> {
        let was_live = matches!(self.load(ports.sql)?, Life::Live(_));
        self.alarm.rang();
        self.links.give_up(now);
        match self.stream(ports, now) {
            Ok(stream) => {
                if is_read_live(stream, ports.sockets) {
                    self.touch(ports.sql, now)?;
                }
                Ok(false)
            }
            Err(Error::Refused(_)) => Ok(was_live),
            Err(Error::Failed(failure)) => Err(failure),
        }
    }

    /// Ends the live stream and its readers. A stream with forks becomes gone instead.
    // Not a part of the functions that find it expired, because most never do.
    #[inline(never)]
    pub(super) fn end<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<(), Failure> {
        if !holds::is_held(ports.sql, "")? {
            return self.end_now(ports, None, now);
        }
        self.commit(ports.sql, &Change::Leave { now })?;
        if let Some(Life::Live(stream)) = self.state.take_life() {
            self.dismiss_readers(ports, &stream, &Refusal::Gone);
            self.state.put_life(Life::Gone(stream));
            self.reports.renew();
        }
        self.has_ended();
        if self.reports.owe_end(self.state.life(), self.settings.registries) {
            self.arm(now);
        }
        Ok(())
    }

    /// Ends the stream permanently.
    pub(super) fn end_now<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        released: Option<Released<'_>>,
        now: Millis,
    ) -> Result<(), Failure> {
        self.load(ports.sql)?;
        let (was_live, stream) = match self.state.take_life() {
            Some(Life::Live(stream)) => (true, stream),
            Some(Life::Gone(stream)) => (false, stream),
            Some(other @ (Life::Unborn | Life::Ended(_))) => {
                self.state.put_life(other);
                return Ok(());
            }
            None => return Ok(()),
        };
        let ended = delete(&stream);
        let uploading = self.settings.segments.and_then(|limits| rotate::due(&stream, limits));
        self.commit(ports.sql, &Change::End { stream: &stream, ended, uploading, released, now })?;
        self.state.put_life(Life::Ended(ended));
        if was_live {
            self.dismiss_readers(ports, &stream, &Refusal::NotFound);
            self.reports.renew();
        }
        self.has_ended();
        let has_garbage = stream.hot_from > stream.first_segment || uploading.is_some() || released.is_some();
        if has_garbage {
            self.rotation.has_garbage();
        }
        if stream.fork.is_some() {
            self.links.renew();
        }
        let owes_end = self.reports.owe_end(self.state.life(), self.settings.registries);
        if has_garbage || stream.fork.is_some() || owes_end {
            // If this object dies before the work is done, the alarm starts it.
            self.arm(now);
        }
        Ok(())
    }

    fn dismiss_readers<S: Sockets>(&self, ports: &Ports<'_, S>, stream: &Stream, refusal: &Refusal) {
        let audience = Audience::of(self.settings.guarded, stream.public, false);
        live::dismiss(ports.sockets, audience, refusal, stream);
    }

    fn has_ended(&mut self) {
        self.readers.ended();
        self.state.forget_producers(self.settings.producers);
        self.retention = DropsNext::NextRotation;
        self.rotation.ended();
    }

    /// Drops segments that retention no longer keeps, and decides when to check again.
    pub(super) fn trim(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        // If this fails, the next request checks again.
        self.retention = DropsNext::Unknown;
        self.load(sql)?;
        let kept = match self.state.live() {
            Some(stream) => retention::kept(sql, stream, self.settings, now)?,
            None => None,
        };
        let Some(Retained { first_segment, then }) = kept else {
            self.retention = DropsNext::NextRotation;
            return Ok(());
        };
        if self.state.live().is_some_and(|stream| first_segment != stream.first_segment)
            && let Some(Life::Live(mut stream)) = self.state.take_life()
        {
            self.commit(sql, &Change::Trim { stream: &stream, first_segment })?;
            stream.first_segment = first_segment;
            self.state.put_life(Life::Live(stream));
            self.rotation.has_garbage();
            self.retention = then;
            self.arm(now);
        }
        self.retention = then;
        Ok(())
    }

    /// Sends new data to all live readers.
    pub(super) fn announce<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<(), Failure> {
        let Some(stream) = self.state.live() else { return Ok(()) };
        self.readers.announce(ports, stream, self.settings.guarded, now)
    }

    /// Requests the alarm for the earliest background work, unless it rings by then.
    pub(super) fn arm(&mut self, now: Millis) {
        let Settings { segments, registries, .. } = self.settings;
        let life = self.state.life();
        let reasons = [
            self.state.live().and_then(Stream::expires_at),
            self.retention.alarm_at(),
            self.rotation.alarm_at(life, segments, now),
            self.links.alarm_at(now),
            self.index.alarm_at(now),
            self.reports.alarm_at(life, registries, now),
            self.watchers.alarm_at(self.progress(), now + RETRY),
            self.subscription_alarm_at(now),
            // The purpose of a lost alarm is unknown, so it rings soon.
            self.alarm.is_lost().then_some(now + RETRY),
        ];
        if let Some(at) = reasons.into_iter().flatten().min() {
            self.alarm.want(at, now);
        }
    }

    /// Requests the alarm after a write that sealed a segment, because this object may die before the upload.
    /// Any alarm suffices: until the upload, readers find the segment in the hot log.
    pub(super) fn arm_for_rotation(&mut self, now: Millis) {
        if let (Some(limits), Some(stream)) = (self.settings.segments, self.state.live())
            && self.alarm.is_silent()
            && rotate::due(stream, limits).is_some()
        {
            self.arm(now);
        }
    }
}

fn is_read_live<S: Sockets>(stream: &Stream, sockets: &S) -> bool {
    matches!(stream.lifetime, Lifetime::Ttl { .. }) && sockets.count() > 0
}
