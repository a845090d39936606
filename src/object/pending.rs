//! Tracks whether a part of an object has background work, as far as memory knows.

use crate::protocol::Millis;

/// The backoff after a failure in milliseconds, and how soon the alarm rings for work that the object might
/// not live to do.
pub const RETRY: Millis = 60_000;

/// How long an alarm waits for its work, in milliseconds. If appends fill segments as fast as the bucket
/// takes them, the work never ends. The platform ends an alarm, and its object, after 15 minutes.
pub const RINGS_MAX: Millis = 300_000;

/// The most characters of a cause in memory.
pub const CAUSE_CHARS_MAX: usize = 200;

/// The first line of a cause, without the name of its type in JavaScript.
pub(super) fn shortened(cause: &str) -> String {
    let line = cause.lines().next().unwrap_or_default();
    line.trim_start_matches("JsValue(").chars().take(CAUSE_CHARS_MAX).collect()
}

/// The state of one part. It is `Maybe` at first and after memory is lost: only storage knows then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pending {
    #[default]
    Maybe,
    /// There is no work until the next event.
    Nothing,
    /// Work failed. It is retried at this time and not before.
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

    /// There may be new work. A backoff continues, because the new work would fail too.
    pub(super) fn renew(&mut self) {
        if *self == Pending::Nothing {
            *self = Pending::Maybe;
        }
    }

    /// The end of the backoff, if the part is backing off.
    pub(super) fn rests_until(self, now: Millis) -> Option<Millis> {
        match self {
            Pending::RestsUntil(at) if at > now => Some(at),
            Pending::RestsUntil(_) | Pending::Maybe | Pending::Nothing => None,
        }
    }

    /// When the alarm must ring for this part: at the end of its backoff, or after [`RETRY`], because the
    /// object may die before the work is done.
    pub(super) fn alarm_at(self, now: Millis) -> Millis {
        self.rests_until(now).unwrap_or(now + RETRY)
    }
}
