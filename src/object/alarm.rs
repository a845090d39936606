//! Decides when the object's alarm rings. One alarm serves all background work: it rings for the earliest,
//! and is then set for the next. Each time it is set bills one row.
//!
//! `Object::ring` in `driver.rs` runs when it rings; `Object::arm` in `state.rs` decides what it is set for.

use crate::protocol::Millis;
use crate::stream::Stream;

/// The state of the alarm as far as memory knows it.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The alarm rings at this time or earlier; `None` if it might not be set.
    rings_at: Option<Millis>,
    /// The time for which the alarm is yet to be set.
    wanted_at: Option<Millis>,
    /// After a failure, it is unknown whether the alarm is set and for when.
    is_lost: bool,
    /// The alarm rang, was set or was lost since this object started, so the stream's row no longer implies
    /// it.
    is_known: bool,
    /// The alarm must be set soon, for any reason.
    is_wanted_soon: bool,
}

impl Alarm {
    /// The state after a failure. The alarm may just have rung, or may never have been set for a change that
    /// was stored despite the failure.
    pub(super) fn lost() -> Alarm {
        Alarm { is_lost: true, is_known: true, ..Alarm::default() }
    }

    /// The state after a commit that failed but may have been stored. It needs an alarm soon, because the
    /// next object would assume that the stored stream has had one since its creation.
    pub(super) fn after_failed_commit() -> Alarm {
        Alarm { is_wanted_soon: true, ..Alarm::lost() }
    }

    /// Whether the alarm must be set soon. Returns `true` once.
    pub(super) fn take_wanted_soon(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted_soon)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Derives the alarm from the stream when the object loads it. A stream that expires has had an alarm
    /// since its creation.
    pub(super) fn load(&mut self, stream: Option<&Stream>) {
        if !std::mem::replace(&mut self.is_known, true) {
            self.rings_at = stream.and_then(Stream::expires_at);
        }
    }

    /// The alarm has rung, so none is set.
    pub(super) fn rang(&mut self) {
        *self = Alarm { is_known: true, ..Alarm::default() };
    }

    /// Drops the wanted time, because its work may have been done since.
    pub(super) fn forgo(&mut self) {
        self.wanted_at = None;
    }

    /// Requests an alarm by `at`, unless one rings by then. A lost alarm is set again. So is one whose time
    /// has passed, because setting it may have failed.
    pub(super) fn want(&mut self, at: Millis, now: Millis) {
        self.is_lost = false;
        if self.rings_at.is_none_or(|rings_at| at < rings_at || rings_at < now) {
            self.wanted_at = Some(at);
        }
    }

    /// Whether no alarm is set or wanted.
    pub(super) fn is_silent(&self) -> bool {
        self.rings_at.or(self.wanted_at).is_none()
    }

    /// The time for which the alarm must be set now, if any.
    pub(super) fn take(&mut self) -> Option<Millis> {
        let wanted_at = self.wanted_at.take();
        self.rings_at = wanted_at.or(self.rings_at);
        wanted_at
    }
}
