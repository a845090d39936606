//! A subscription and its state: what is stored of it, and what follows from that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::event::{SubscriptionEvent, Transition};
use super::link::StreamLink;
use super::wake::Wake;
use crate::protocol::Millis;
use crate::protocol::subscription::SubscriptionName;
use crate::protocol::subscription::config::{SubscriptionConfig, WakeChannel};

/// A subscription, with those of its links that are in memory: those of the wake in flight, and the latest others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    pub name: SubscriptionName,
    pub config: Rc<SubscriptionConfig>,
    pub state: State,
    /// By the whole paths of the streams. A link that is not here is in storage; the state says whether such links may have
    /// something to do.
    pub links: BTreeMap<String, StreamLink>,
}

/// All that changes in a subscription's life, but for its links. It is stored as JSON: a field is never removed or renamed,
/// and a new one has a default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Counts the subscriptions that had this name, from 1.
    pub incarnation: u64,
    pub created_at: Millis,
    pub phase: Phase,
    /// The URL of the control root, by which the client that created it has reached the server.
    pub base: String,
    /// The generation of the last wake, over all incarnations.
    pub generation: u64,
    pub wake: Option<Wake>,
    /// No wake begins and no delivery is tried before that.
    #[serde(default)]
    pub not_before: Option<Millis>,
    /// Deliveries that have failed in a row.
    #[serde(default)]
    pub failures: u64,
    /// When the first of them failed.
    #[serde(default)]
    pub failing_since: Option<Millis>,
    /// Wakes in a row that ended without progress.
    #[serde(default)]
    pub idle_wakes: u64,
    /// Wake events in a row that nobody has claimed.
    #[serde(default)]
    pub unclaimed_events: u64,
    #[serde(default)]
    pub last_error: Option<StoredError>,
    /// What its wake tokens are signed with.
    pub token_key: String,
    /// Whether the registry knows its pattern.
    #[serde(default)]
    pub enlisted: bool,
    /// Whether streams of links in storage beyond those of the row may have to be called.
    #[serde(default)]
    pub spilled: bool,
    /// Whether such links may be pending.
    #[serde(default)]
    pub spilled_pending: bool,
    /// Whether it was parked before all streams were linked.
    #[serde(default)]
    pub was_linking: bool,
    /// What the registry has not been sent yet.
    #[serde(default)]
    pub unreported: Vec<SubscriptionEvent>,
    /// How many events the registry was to be sent, over all incarnations.
    #[serde(default)]
    pub events: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// Streams are being linked that existed when it was created.
    Linking {
        /// The last path of the registry's list that was linked.
        after: String,
        /// Whether the registry's list has been read to its end.
        is_listed: bool,
    },
    Active,
    /// Deliveries have failed for too long. Nothing happens until somebody resumes it.
    Parked,
    /// It was deleted. What is left keeps generations from being used again.
    Ended,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredError {
    pub at: Millis,
    pub message: String,
}

/// What a new subscription takes over from the one that had its name before.
#[derive(Clone, Copy, Default, Debug)]
pub struct Predecessor {
    pub incarnation: u64,
    pub generation: u64,
    pub events: u64,
}

impl Subscription {
    /// A subscription that is to be stored.
    pub fn new(
        name: SubscriptionName,
        config: SubscriptionConfig,
        base: String,
        token_key: String,
        before: Predecessor,
        now: Millis,
    ) -> Subscription {
        let links = config.streams.iter().map(|path| (path.clone(), StreamLink::explicit())).collect();
        let state = State {
            incarnation: before.incarnation + 1,
            created_at: now,
            phase: Phase::Linking { after: String::new(), is_listed: config.pattern.is_none() },
            base,
            generation: before.generation,
            wake: None,
            not_before: None,
            failures: 0,
            failing_since: None,
            idle_wakes: 0,
            unclaimed_events: 0,
            last_error: None,
            token_key,
            enlisted: false,
            spilled: false,
            spilled_pending: false,
            was_linking: false,
            unreported: Vec::new(),
            events: before.events,
        };
        let mut subscription = Subscription { name, config: Rc::new(config), state, links };
        subscription.report(Transition::Created, now);
        subscription
    }

    /// What the next subscription of this name takes over.
    pub fn as_predecessor(&self) -> Predecessor {
        let State { incarnation, generation, events, .. } = self.state;
        Predecessor { incarnation, generation, events }
    }

    pub fn has_ended(&self) -> bool {
        self.state.phase == Phase::Ended
    }

    /// Whether wakes may begin.
    pub fn is_awake(&self) -> bool {
        matches!(self.state.phase, Phase::Active | Phase::Linking { .. })
    }

    pub fn is_webhook(&self) -> bool {
        matches!(self.config.channel, WakeChannel::Webhook { .. })
    }

    /// Whether a link that is in memory has something after its cursor.
    pub fn has_pending(&self) -> bool {
        self.links.values().any(StreamLink::is_pending)
    }

    /// Ends it: no wake, and no request but that of a new PUT changes anything any more.
    pub fn end(&mut self, now: Millis) {
        self.state.phase = Phase::Ended;
        self.state.wake = None;
        self.state.not_before = None;
        self.report(Transition::Deleted, now);
    }

    /// Links are complete: whatever comes now is an append.
    pub fn is_linked(&self) -> bool {
        !matches!(self.state.phase, Phase::Linking { .. })
    }

    /// Whether nothing is left to be linked.
    pub fn may_finish_linking(&self) -> bool {
        let is_listed = matches!(self.state.phase, Phase::Linking { is_listed: true, .. });
        is_listed && !self.state.spilled && self.links.values().all(|link| link.acked.is_some())
    }

    /// Ends linking, if nothing is left to be linked.
    pub fn finish_linking(&mut self) -> bool {
        let is_done = self.may_finish_linking();
        if is_done {
            self.state.phase = Phase::Active;
        }
        is_done
    }

    /// When something is due that no request brings about.
    pub fn due_at(&self) -> Option<Millis> {
        if !self.is_awake() {
            return None;
        }
        match &self.state.wake {
            Some(wake) => wake.due_at(self.state.not_before),
            None if self.has_pending() || self.state.spilled_pending => {
                Some(self.state.not_before.unwrap_or(0))
            }
            None => None,
        }
    }
}

impl Subscription {
    /// Whether storage that has `before` has this, too. That a link is settled is not stored by itself.
    pub fn is_stored_as(&self, before: &Subscription) -> bool {
        let is_same = |(one, other): ((&String, &StreamLink), (&String, &StreamLink))| {
            one.0 == other.0 && StreamLink { settled: other.1.settled, ..one.1.clone() } == *other.1
        };
        self.state == before.state
            && self.config == before.config
            && self.links.len() == before.links.len()
            && self.links.iter().zip(&before.links).all(is_same)
    }

    /// Takes links out of memory that get rows of their own, where there are more than `max`: all but those of the wake in
    /// flight.
    pub fn spill(&mut self, max: usize) -> Vec<(String, StreamLink)> {
        if self.links.len() <= max {
            return Vec::new();
        }
        let woken: BTreeSet<&str> = self
            .state
            .wake
            .iter()
            .flat_map(|wake| wake.streams.iter().map(|stream| stream.path.as_str()))
            .collect();
        let (stays, spilled): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.links).into_iter().partition(|(path, _)| woken.contains(path.as_str()));
        self.links = stays;
        self.state.spilled |= spilled.values().any(StreamLink::owes_watch);
        self.state.spilled_pending |= spilled.values().any(StreamLink::is_pending);
        spilled.into_iter().collect()
    }
}
