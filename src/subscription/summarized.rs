//! The last summary that a subscription sent to its registry without an event.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;

/// The shortest time between two summaries without an event, in milliseconds.
pub const SUMMARY_MIN: Millis = 300_000;
/// The same while a wake is in flight. It is longer, so that the summary is usually one after the end of a wake.
pub(super) const SUMMARY_IN_FLIGHT_MIN: Millis = 2 * SUMMARY_MIN;

/// When a summary was sent, and the sum of its totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summarized {
    pub at: Millis,
    pub sum: u64,
}

impl Summarized {
    /// What a new subscription counts as sent, so that its first wake sends a summary as soon as it ends.
    pub(super) fn before(created_at: Millis, sum: u64) -> Summarized {
        Summarized { at: created_at.saturating_sub(SUMMARY_MIN), sum }
    }
}
