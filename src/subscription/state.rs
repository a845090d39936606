//! A subscription's stored state, and everything that follows from it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::event::{SubscriptionEvent, Transition};
use super::link::StreamLink;
use super::summarized::Summarized;
use super::wake::{Wake, WakeStep};
use crate::protocol::Millis;
use crate::protocol::subscription::SubscriptionName;
use crate::protocol::subscription::config::{SubscriptionConfig, WakeChannel};
use crate::protocol::subscription::summary::WakeTotals;

/// A subscription and its links in memory: those of the wake in flight, and the most recent others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    pub name: SubscriptionName,
    pub config: Rc<SubscriptionConfig>,
    pub state: State,
    /// The links by the whole paths of their streams. All others are in storage; the state says whether those may need
    /// work.
    pub links: BTreeMap<String, StreamLink>,
}

/// The changing part of a subscription, without its links. It is stored as JSON: fields are never removed or renamed,
/// and new ones have a default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// The number of subscriptions so far with this name, from 1.
    pub incarnation: u64,
    pub created_at: Millis,
    pub phase: Phase,
    /// The URL of the control root that the creating client used.
    pub base: String,
    /// The generation of the last wake, across all incarnations.
    pub generation: u64,
    pub wake: Option<Wake>,
    /// The earliest time of the next wake or delivery.
    #[serde(default)]
    pub not_before: Option<Millis>,
    /// The number of failed deliveries in a row.
    #[serde(default)]
    pub failures: u64,
    /// The time of the first of these failures.
    #[serde(default)]
    pub failing_since: Option<Millis>,
    /// The number of wakes in a row without progress.
    #[serde(default)]
    pub idle_wakes: u64,
    /// The number of unclaimed wake events in a row.
    #[serde(default)]
    pub unclaimed_events: u64,
    #[serde(default)]
    pub last_error: Option<StoredError>,
    /// The key that signs its wake tokens.
    pub token_key: String,
    /// Whether the registry has its pattern.
    #[serde(default)]
    pub enlisted: bool,
    /// The registry that has its pattern. `None` if the pattern was stored by a build that did not know which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Whether links in rows of their own may have streams to call.
    #[serde(default)]
    pub spilled: bool,
    /// Whether links in rows of their own may be pending.
    #[serde(default)]
    pub spilled_pending: bool,
    /// Whether it was parked before all its streams were linked.
    #[serde(default)]
    pub was_linking: bool,
    /// The events that the registry has not received yet.
    #[serde(default)]
    pub unreported: Vec<SubscriptionEvent>,
    /// The number of events so far, across all incarnations.
    #[serde(default)]
    pub events: u64,
    /// The time of its deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// The totals of its type, across all incarnations.
    #[serde(default, skip_serializing_if = "WakeTotals::are_none")]
    pub totals: WakeTotals,
    /// The totals of earlier incarnations of the other type.
    #[serde(default, skip_serializing_if = "WakeTotals::are_none")]
    pub other_totals: WakeTotals,
    /// The last summary that was sent without an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summarized: Option<Summarized>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// The subscription is linking streams that existed when it was created.
    Linking {
        /// The last linked path of the registry's list.
        after: String,
        /// Whether the whole list of the registry has been read.
        is_listed: bool,
    },
    Active,
    /// Deliveries have failed for too long. Nothing happens until a client resumes the subscription.
    Parked,
    /// The subscription was deleted. The remaining state prevents the reuse of generations.
    Ended,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredError {
    pub at: Millis,
    pub message: String,
}

/// The counters that a new subscription takes over from an earlier one of the same name.
#[derive(Clone, Copy, Default, Debug)]
pub struct Predecessor {
    pub incarnation: u64,
    pub generation: u64,
    pub events: u64,
    pub totals_of_webhooks: WakeTotals,
    pub totals_of_pull_wakes: WakeTotals,
}

impl Subscription {
    /// A new subscription, not stored yet.
    pub fn new(
        name: SubscriptionName,
        config: SubscriptionConfig,
        base: String,
        token_key: String,
        before: Predecessor,
        now: Millis,
    ) -> Subscription {
        let (totals, other_totals) = match config.channel {
            WakeChannel::Webhook { .. } => (before.totals_of_webhooks, before.totals_of_pull_wakes),
            WakeChannel::PullWake { .. } => (before.totals_of_pull_wakes, before.totals_of_webhooks),
        };
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
            registry: None,
            spilled: false,
            spilled_pending: false,
            was_linking: false,
            unreported: Vec::new(),
            events: before.events,
            ended_at: None,
            totals,
            other_totals,
            summarized: (!totals.are_none()).then(|| Summarized::before(now, totals.sum())),
        };
        let mut subscription = Subscription { name, config: Rc::new(config), state, links };
        subscription.report(Transition::Created, now);
        subscription
    }

    /// The counters that the next subscription of this name takes over.
    pub fn as_predecessor(&self) -> Predecessor {
        let State { incarnation, generation, events, totals, other_totals, .. } = self.state;
        let (totals_of_webhooks, totals_of_pull_wakes) =
            if self.is_webhook() { (totals, other_totals) } else { (other_totals, totals) };
        Predecessor { incarnation, generation, events, totals_of_webhooks, totals_of_pull_wakes }
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

    /// Whether a link in memory has anything after its cursor.
    pub fn has_pending(&self) -> bool {
        self.links.values().any(StreamLink::is_pending)
    }

    /// Ends the subscription. From now on it starts no wake, and only a new PUT can change anything.
    pub fn end(&mut self, now: Millis) {
        self.state.phase = Phase::Ended;
        self.state.wake = None;
        self.state.not_before = None;
        self.state.ended_at = Some(now);
        // The registry may have the pattern although its answer was lost.
        self.state.enlisted |= self.config.pattern.is_some();
        self.report(Transition::Deleted, now);
    }

    /// Reads the registry's list again, because another registry now finds the streams of the pattern.
    pub fn relist(&mut self) {
        match &mut self.state.phase {
            phase @ (Phase::Linking { .. } | Phase::Active) => {
                *phase = Phase::Linking { after: String::new(), is_listed: false };
            }
            Phase::Parked => self.state.was_linking = true,
            Phase::Ended => {}
        }
    }

    /// Whether linking is complete. All later changes of a stream are appends.
    pub fn is_linked(&self) -> bool {
        !matches!(self.state.phase, Phase::Linking { .. })
    }

    /// Whether no stream is left to be linked.
    pub fn may_finish_linking(&self) -> bool {
        let is_listed = matches!(self.state.phase, Phase::Linking { is_listed: true, .. });
        is_listed && !self.state.spilled && self.links.values().all(|link| link.acked.is_some())
    }

    /// Ends linking if no stream is left to be linked.
    pub fn finish_linking(&mut self) -> bool {
        let is_done = self.may_finish_linking();
        if is_done {
            self.state.phase = Phase::Active;
        }
        is_done
    }

    /// The time of the next change that no request causes.
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
    /// Whether storage that contains `before` also contains this. A link that only became settled is not stored. Neither
    /// are totals alone, nor that the event of a wake was written.
    pub fn is_stored_as(&self, before: &Subscription) -> bool {
        let is_same = |(one, other): ((&String, &StreamLink), (&String, &StreamLink))| {
            one.0 == other.0 && StreamLink { settled: other.1.settled, ..one.1.clone() } == *other.1
        };
        (self.state == before.state || self.has_only_minor_news(before))
            && self.config == before.config
            && self.links.len() == before.links.len()
            && self.links.iter().zip(&before.links).all(is_same)
    }

    /// Whether all news may be lost, because storing it would cost a row for each wake. The next change stores the totals. If
    /// the wake's event is in its stream, that is not stored either: after a loss of memory the event is written again,
    /// which the wake stream recognises as a duplicate.
    fn has_only_minor_news(&self, before: &Subscription) -> bool {
        if self.state.totals.wakes != before.state.totals.wakes {
            return false;
        }
        let mut state = State { totals: before.state.totals, ..self.state.clone() };
        if let (Some(wake), Some(due)) = (&mut state.wake, &before.state.wake)
            && !self.is_webhook()
            && (due.step, wake.step) == (WakeStep::Due, WakeStep::Delivered)
        {
            wake.step = due.step;
        }
        state == before.state
    }

    /// If there are more than `max` links, removes all but those of the wake in flight from memory and returns them.
    /// They get rows of their own.
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
