//! What a subscription sends to its registry for `GET /metrics`, and how the registry combines what arrives late or again.

use serde::{Deserialize, Serialize};

/// The state of a subscription. Texts and not enums, so that a registry of an older build stores what it does not know.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SubscriptionSummary {
    /// The number of the subscription's last event, across all incarnations. It orders summaries.
    pub number: u64,
    /// The type in its description: `webhook` or `pull-wake`.
    pub kind: String,
    /// `active`, `failed` or `parked`.
    pub status: String,
    #[serde(default)]
    pub totals: WakeTotals,
}

/// Totals of all subscriptions of one name and one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WakeTotals {
    pub wakes: u64,
    /// Deliveries, each attempt: webhook calls that were answered with 2xx, and events that the wake stream has.
    pub succeeded: u64,
    pub failed: u64,
    /// Deliveries that the server could not send.
    pub unsent: u64,
}

impl WakeTotals {
    pub fn are_none(&self) -> bool {
        *self == WakeTotals::default()
    }

    /// The sum, which grows with each wake and each delivery.
    pub fn sum(&self) -> u64 {
        self.wakes + self.succeeded + self.failed + self.unsent
    }

    /// The totals of two subscriptions together.
    pub fn plus(self, other: WakeTotals) -> WakeTotals {
        WakeTotals {
            wakes: self.wakes + other.wakes,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            unsent: self.unsent + other.unsent,
        }
    }

    fn max(self, other: WakeTotals) -> WakeTotals {
        WakeTotals {
            wakes: self.wakes.max(other.wakes),
            succeeded: self.succeeded.max(other.succeeded),
            failed: self.failed.max(other.failed),
            unsent: self.unsent.max(other.unsent),
        }
    }
}

impl SubscriptionSummary {
    /// This summary together with what a registry knows of the same name and type. A late summary does not set the status
    /// back, and no total falls.
    pub fn merged(&self, known: &SubscriptionSummary) -> SubscriptionSummary {
        let newer = if self.number >= known.number { self } else { known };
        SubscriptionSummary { totals: self.totals.max(known.totals), ..newer.clone() }
    }
}
