//! A wake (PROTOCOL.md 7): one round of processing pending messages, by a webhook or a worker.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;
use crate::protocol::subscription::watch::Progress;

/// The most streams in one wake. Others wait for the next wake.
pub const WAKE_STREAMS_MAX: usize = 1_000;
/// The approximate limit for their paths and offsets together, in bytes.
pub const WAKE_MAX_BYTES: usize = 256 << 10;
/// The size of a stream in a wake without its path, in bytes.
pub(super) const WOKEN_BYTES: usize = 160;

/// A wake in flight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wake {
    pub id: String,
    pub generation: u64,
    pub step: WakeStep,
    /// The streams that were pending at the beginning. A webhook that answers `done` acks exactly these.
    pub streams: Vec<Snapshot>,
    /// The worker that has claimed a pull-wake.
    pub holder: Option<String>,
    /// The end of the wake if its holder sends nothing.
    pub lease_until: Option<Millis>,
    /// The time at which an unclaimed wake event is written again.
    #[serde(default)]
    pub unclaimed_until: Option<Millis>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WakeStep {
    /// The wake must be delivered to the webhook, or as an event.
    Due,
    /// The wake was delivered, or claimed without a delivery.
    Delivered,
}

/// A stream of a wake, with its tail at the beginning of the wake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub path: String,
    pub tail: Progress,
}

impl Wake {
    /// The time of the next delivery or of the lease's end.
    pub(super) fn due_at(&self, not_before: Option<Millis>) -> Option<Millis> {
        let delivery_at = (self.step == WakeStep::Due).then(|| not_before.unwrap_or(0));
        [delivery_at, self.lease_until, self.unclaimed_until].into_iter().flatten().min()
    }
}
