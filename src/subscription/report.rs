//! Reports a subscription's transitions to the registry, each once, as an event. The subscription is the producer of
//! these events, as a stream is of its own.

use serde_json::json;

use super::event::{SubscriptionEvent, Transition, UNREPORTED_MAX};
use super::{Phase, Subscription};
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

    /// Notes that a registry has stored the pattern, or has dropped it. A registry that gets the pattern later than the
    /// creation learns of the subscription, and is asked for its streams.
    pub fn enlisted(&mut self, registry: Option<String>, now: Millis) {
        let was_listed = !matches!(self.state.phase, Phase::Linking { is_listed: false, .. });
        if registry.is_some() && !self.state.enlisted && was_listed {
            self.relist();
            self.changed(now);
        }
        self.state.enlisted = registry.is_some();
        self.state.registry = registry;
    }

    /// Records a change of the configuration.
    pub fn changed(&mut self, now: Millis) {
        self.report(Transition::Changed, now);
    }

    /// The unreported events, and the number of the last one.
    ///
    /// Each event is an epoch of its producer, so late and repeated events count once. As for streams, a deletion is
    /// the second event of its epoch: the last sequence number says whether the subscription exists.
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

    /// Notes that the registry has all events up to this one. Returns whether that changes anything.
    pub fn reported(&mut self, through: u64) -> bool {
        let before = self.state.unreported.len();
        self.state.unreported.retain(|event| event.number > through);
        self.state.unreported.len() < before
    }
}
