//! When the alarm rings next: there is one, for all that is to happen without a request. It rings for what comes first, and is
//! then set for what comes next. Setting it is a billed row.
//!
//! What happens when it rings is in `driver.rs` (`Object::ring`), and what it is set for in `state.rs` (`Object::arm`).

use crate::protocol::Millis;
use crate::stream::Stream;

/// What memory knows of the alarm.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// It rings no later than that; `None` where it may not ring at all.
    rings_at: Option<Millis>,
    /// It has yet to be set for that.
    wanted_at: Option<Millis>,
    /// Something has failed: whether it was set, and for what, is not known.
    is_lost: bool,
    /// It rang, was set or was lost in this object's life: what storage says of the stream no longer tells of it.
    is_known: bool,
    /// It is to be set soon, whatever for.
    is_wanted_soon: bool,
}

impl Alarm {
    /// After a failure: the alarm may just have rung, or was never set for what was stored all the same.
    pub(super) fn lost() -> Alarm {
        Alarm { is_lost: true, is_known: true, ..Alarm::default() }
    }

    /// After a commit that has failed but may have been stored all the same. The next object would take it that what is stored
    /// has had its alarm from the beginning.
    pub(super) fn after_failed_commit() -> Alarm {
        Alarm { is_wanted_soon: true, ..Alarm::lost() }
    }

    /// Whether it is to be set soon; it is asked for once.
    pub(super) fn take_wanted_soon(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted_soon)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// What a new object knows without asking: a stream that ends by itself has had an alarm from its creation on.
    pub(super) fn load(&mut self, stream: Option<&Stream>) {
        if !std::mem::replace(&mut self.is_known, true) {
            self.rings_at = stream.and_then(Stream::expires_at);
        }
    }

    /// It has rung: there is none.
    pub(super) fn rang(&mut self) {
        *self = Alarm { is_known: true, ..Alarm::default() };
    }

    /// What it was wanted for may have been done since.
    pub(super) fn forgo(&mut self) {
        self.wanted_at = None;
    }

    /// Wants it by then, unless it rings by then. One that is lost is set anew, and one that should have rung by now may have
    /// failed to be set.
    pub(super) fn want(&mut self, at: Millis, now: Millis) {
        self.is_lost = false;
        if self.rings_at.is_none_or(|rings_at| at < rings_at || rings_at < now) {
            self.wanted_at = Some(at);
        }
    }

    /// Whether there is none, nor soon will be.
    pub(super) fn is_silent(&self) -> bool {
        self.rings_at.or(self.wanted_at).is_none()
    }

    /// When it is to be set, if it is.
    pub(super) fn take(&mut self) -> Option<Millis> {
        let wanted_at = self.wanted_at.take();
        self.rings_at = wanted_at.or(self.rings_at);
        wanted_at
    }
}
