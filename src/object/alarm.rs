//! The alarm: there is one, for all that is to happen without a request. It rings for what comes first, and is then set for
//! what comes next. Setting it is a billed row.

use super::live::Sockets;
use super::{Error, Object, Ports, is_read_live, touch};
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::stream::{Life, Stream, rotate};

/// When what failed is tried again, and what is left to be done in the bucket is begun again.
pub const RETRY: Millis = 60_000;

/// What an alarm did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// The stream had expired and is gone.
    Reclaimed,
    /// Nothing that anybody would notice.
    Nothing,
}

/// What memory knows of the alarm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    /// It rings no later than that; `None` where it may not ring at all.
    rings_at: Option<Millis>,
    /// It has yet to be set for that.
    wanted_at: Option<Millis>,
    /// Something has failed: whether it was set, and for what, is not known.
    is_lost: bool,
}

impl Alarm {
    /// After a failure: the alarm may just have rung, or was never set for what was stored all the same.
    pub(super) fn lost() -> Alarm {
        Alarm { is_lost: true, ..Alarm::default() }
    }

    /// What is known without asking: a stream that ends by itself has had an alarm from its creation on.
    pub(super) fn load(&mut self, stream: Option<&Stream>) {
        if !self.is_lost {
            self.rings_at = stream.and_then(Stream::expires_at);
        }
    }
}

impl Object {
    /// Ends the stream if its time has come. What is to be done in the bucket is done after that, and then comes
    /// [`Object::rearm`].
    pub fn ring<S: Sockets>(&mut self, ports: &Ports<'_, S>, now: Millis) -> Result<Rung, Failure> {
        let was_live = matches!(self.load(ports.sql)?, Life::Live(_));
        self.alarm = Alarm::default();
        self.give_up_asking(now);
        match self.stream(ports, now) {
            Ok(stream) => {
                if is_read_live(stream, ports.sockets) {
                    touch(ports.sql, stream, now)?;
                }
                Ok(Rung::Nothing)
            }
            Err(Error::Refused(_)) if was_live => Ok(Rung::Reclaimed),
            Err(Error::Refused(_)) => Ok(Rung::Nothing),
            Err(Error::Failed(failure)) => {
                self.forget();
                Err(failure)
            }
        }
    }

    /// When the alarm is to be set, if it is: asked after all that changes the stream, in the same turn, so that it is
    /// stored with it.
    pub fn take_alarm(&mut self) -> Option<Millis> {
        let wanted_at = self.alarm.wanted_at.take();
        self.alarm.rings_at = wanted_at.or(self.alarm.rings_at);
        wanted_at
    }

    /// Sees to it that whatever is left to happen by itself has an alarm; what mirror and registry wait for after a
    /// failure included.
    pub fn rearm<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        mirror_at: Option<Millis>,
        registry_at: Option<Millis>,
        now: Millis,
    ) -> Result<(), Failure> {
        self.load(ports.sql)?;
        // What it was wanted for may have been done since.
        self.alarm.wanted_at = None;
        self.arm_for(mirror_at, registry_at, now);
        Ok(())
    }

    /// Wants the alarm for what comes first, unless it rings by then.
    pub(super) fn arm(&mut self, now: Millis) {
        self.arm_for(None, None, now);
    }

    fn arm_for(&mut self, mirror_at: Option<Millis>, registry_at: Option<Millis>, now: Millis) {
        let ends_at = self.life.as_ref().and_then(|life| life.live().ok()).and_then(Stream::expires_at);
        let has_links = self.may_have_releases() || !self.refused.is_empty();
        // One that is lost is set anew, and soon, since what it was to ring for is not known either.
        let is_lost = std::mem::take(&mut self.alarm.is_lost);
        let works_at = (self.has_work() || has_links || is_lost).then_some(now + RETRY);
        // Nobody asks for a stream that has ended, so nobody else would see to it that the registry knows.
        let reports_at = registry_at.or_else(|| self.owes_end().then_some(now + RETRY));
        let reasons = [ends_at, self.trims_at.alarm_at(), works_at, mirror_at, reports_at];
        let Some(at) = reasons.into_iter().flatten().min() else { return };
        // One that should have rung by now may have failed to be set.
        if self.alarm.rings_at.is_none_or(|rings_at| at < rings_at || rings_at < now) {
            self.alarm.wanted_at = Some(at);
        }
    }

    /// After a write: what it sealed goes to the bucket at once, but this object may die before that. Then any alarm will
    /// do: nobody notices a segment that is still in the hot log.
    pub(super) fn arm_for_rotation(&mut self, now: Millis) {
        if let (Some(limits), Some(Life::Live(stream))) = (self.settings.segments, &self.life)
            && self.alarm.rings_at.or(self.alarm.wanted_at).is_none()
            && rotate::due(stream, limits).is_some()
        {
            self.arm(now);
        }
    }
}
