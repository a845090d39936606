//! The transitions that a subscription reports to its registry.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;

/// The most events stored for the registry. While the registry does not answer, the oldest are dropped beyond this
/// number.
pub const UNREPORTED_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    Created,
    Changed,
    /// Deliveries have started to fail.
    Failed,
    /// A delivery has succeeded after failures.
    Recovered,
    Parked,
    Resumed,
    Deleted,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubscriptionEvent {
    /// The number of the event among all of this name, from 1.
    pub number: u64,
    pub transition: Transition,
    pub at: Millis,
}
