//! The summary for the registry: its content, and when it is sent without an event.

use super::summarized::{SUMMARY_IN_FLIGHT_MIN, SUMMARY_MIN, Summarized};
use super::{Phase, Subscription};
use crate::protocol::Millis;
use crate::protocol::subscription::summary::SubscriptionSummary;

impl Subscription {
    /// The summary of the present state.
    pub fn summary(&self) -> SubscriptionSummary {
        let kind = if self.is_webhook() { "webhook" } else { "pull-wake" };
        let status = match self.state.phase {
            Phase::Parked => "parked",
            Phase::Linking { .. } | Phase::Active | Phase::Ended if self.state.failures > 0 => "failed",
            Phase::Linking { .. } | Phase::Active | Phase::Ended => "active",
        };
        SubscriptionSummary {
            number: self.state.events,
            kind: kind.to_owned(),
            status: status.to_owned(),
            totals: self.state.totals,
        }
    }

    /// Whether a summary must be sent now, because there were wakes or deliveries since the last one. Notes that it is
    /// sent; the caller stores that with a change that is stored anyway.
    pub fn summarizes(&mut self, now: Millis) -> bool {
        let sum = self.state.totals.sum();
        let last = self.state.summarized.unwrap_or(Summarized::before(self.state.created_at, 0));
        let wait = if self.state.wake.is_some() { SUMMARY_IN_FLIGHT_MIN } else { SUMMARY_MIN };
        if last.sum == sum || now < last.at + wait || self.has_ended() {
            return false;
        }
        self.state.summarized = Some(Summarized { at: now, sum });
        true
    }
}
