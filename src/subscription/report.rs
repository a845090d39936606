//! What the registry is sent of a subscription's life: each transition once, as an event of its stream. The subscription is
//! the producer of its events, like a stream of its own.

use serde_json::json;

use super::Subscription;
use super::event::{SubscriptionEvent, Transition, UNREPORTED_MAX};
use crate::protocol::Millis;
use crate::protocol::registry::{Operation, RegistryEvent};

impl Subscription {
    pub(super) fn report(&mut self, transition: Transition, at: Millis) {
        self.state.events += 1;
        let number = self.state.events;
        self.state.unreported.push(SubscriptionEvent { number, transition, at });
        if self.state.unreported.len() > UNREPORTED_MAX {
            self.state.unreported.remove(0);
        }
    }

    /// The configuration was changed.
    pub fn changed(&mut self, now: Millis) {
        self.report(Transition::Changed, now);
    }

    /// What the registry is to be sent, and the number of the last event in it.
    ///
    /// Each event is an epoch of its producer, so that what comes late or twice counts once. A deletion is preceded by a first
    /// event in its epoch, as the deletion of a stream is: the last sequence says whether there is a subscription.
    pub fn unreported(&self) -> Option<(Vec<RegistryEvent>, u64)> {
        let last = self.state.unreported.last()?.number;
        let mut events = Vec::new();
        for event in &self.state.unreported {
            let is_end = event.transition == Transition::Deleted;
            if is_end {
                let seq = Operation::Insert.seq();
                events.push(RegistryEvent {
                    incarnation: event.number,
                    seq,
                    message: self.message(event, "update"),
                });
            }
            let seq = if is_end { Operation::Delete.seq() } else { Operation::Insert.seq() };
            let operation = match event.transition {
                Transition::Created => "insert",
                Transition::Deleted => "delete",
                Transition::Changed
                | Transition::Failed
                | Transition::Recovered
                | Transition::Parked
                | Transition::Resumed => "update",
            };
            events.push(RegistryEvent {
                incarnation: event.number,
                seq,
                message: self.message(event, operation),
            });
        }
        Some((events, last))
    }

    fn message(&self, event: &SubscriptionEvent, operation: &str) -> String {
        let key = self.name.object();
        json!({
            "type": "subscription",
            "key": key,
            "value": {
                "path": key,
                "id": self.name.id,
                "event": event.transition,
                "at": event.at,
                "createdAt": self.state.created_at,
            },
            "headers": { "operation": operation },
        })
        .to_string()
    }

    /// The registry has all events up to this one; whether that is news.
    pub fn reported(&mut self, through: u64) -> bool {
        let before = self.state.unreported.len();
        self.state.unreported.retain(|event| event.number > through);
        self.state.unreported.len() < before
    }
}
