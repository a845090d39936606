//! The transitions of a subscription that its registry is sent.

use serde::{Deserialize, Serialize};

use crate::protocol::Millis;

/// The most events that wait for the registry; where it does not answer for so long, older ones are left out.
pub const UNREPORTED_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    Created,
    Changed,
    /// Deliveries have begun to fail.
    Failed,
    /// A delivery has succeeded after some that failed.
    Recovered,
    Parked,
    Resumed,
    Deleted,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubscriptionEvent {
    /// Counts the events of this name, from 1.
    pub number: u64,
    pub transition: Transition,
    pub at: Millis,
}
