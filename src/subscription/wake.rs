//! A wake (PROTOCOL.md 7): what is in flight while somebody is to process messages.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;
use crate::protocol::subscription::watch::Progress;

/// The most streams in one wake; others wait for the next.
pub const WAKE_STREAMS_MAX: usize = 1_000;
/// The most bytes of their paths and offsets together, about.
pub const WAKE_MAX_BYTES: usize = 256 << 10;
/// What a stream takes in a wake besides its path.
pub(super) const WOKEN_BYTES: usize = 160;

/// A wake in flight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wake {
    pub id: String,
    pub generation: u64,
    pub step: WakeStep,
    /// What was pending when it began: a webhook that answers `done` acks exactly that.
    pub streams: Vec<Snapshot>,
    /// Of a pull-wake, the worker that has claimed it.
    pub holder: Option<String>,
    /// When it ends if its holder says nothing.
    pub lease_until: Option<Millis>,
    /// When a wake event is written again if nobody claims it.
    #[serde(default)]
    pub unclaimed_until: Option<Millis>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WakeStep {
    /// It is to be delivered: to the webhook, or as an event.
    Due,
    /// It was delivered, or claimed without that.
    Delivered,
}

/// A stream of a wake, and its tail when the wake began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub path: String,
    pub tail: Progress,
}

impl Wake {
    /// When something is due: a delivery, or the end of the lease.
    pub(super) fn due_at(&self, not_before: Option<Millis>) -> Option<Millis> {
        let delivery_at = (self.step == WakeStep::Due).then(|| not_before.unwrap_or(0));
        [delivery_at, self.lease_until, self.unclaimed_until].into_iter().flatten().min()
    }
}
