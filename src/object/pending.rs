//! Whether a part of an object has something to do in its own time, as far as memory knows.

use crate::protocol::Millis;

/// When what failed is tried again, and when the alarm rings for what an object might not live to do.
pub const RETRY: Millis = 60_000;

/// How long an alarm waits for what is under way: where appends fill segments as fast as the bucket takes them, that never
/// ends. The platform ends an alarm, and the object with it, after 15 minutes.
pub const RINGS_MAX: Millis = 300_000;

/// A part begins with `Maybe`, and so does it after memory was lost: storage has to be asked then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pending {
    #[default]
    Maybe,
    /// Not until something happens.
    Nothing,
    /// There is something, but it failed: it is tried again from then on, and not before.
    RestsUntil(Millis),
}

impl Pending {
    pub(super) fn may_begin(self, now: Millis) -> bool {
        match self {
            Pending::Maybe => true,
            Pending::Nothing => false,
            Pending::RestsUntil(at) => now >= at,
        }
    }

    /// Something happened. What rests goes on resting: what failed would fail with the next thing, too.
    pub(super) fn renew(&mut self) {
        if *self == Pending::Nothing {
            *self = Pending::Maybe;
        }
    }

    /// The end of its rest, if it rests.
    pub(super) fn rests_until(self, now: Millis) -> Option<Millis> {
        match self {
            Pending::RestsUntil(at) if at > now => Some(at),
            Pending::RestsUntil(_) | Pending::Maybe | Pending::Nothing => None,
        }
    }

    /// When the alarm has to ring for it: at the end of its rest, or in a while, because the object may die before it has
    /// done it.
    pub(super) fn alarm_at(self, now: Millis) -> Millis {
        self.rests_until(now).unwrap_or(now + RETRY)
    }
}
