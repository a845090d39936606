//! Wakes: when one begins, how it is delivered, and the effects of its end (PROTOCOL.md 7).

use super::event::Transition;
use super::wake::{Snapshot, WAKE_MAX_BYTES, WAKE_STREAMS_MAX, WOKEN_BYTES, Wake, WakeStep};
use super::{Phase, StoredError, Subscription, retry};
use crate::protocol::Millis;

/// The outcome of a delivery to a webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivered {
    /// 2xx with `{"done":true}`.
    Done,
    /// 2xx: the handler continues and calls back later.
    Accepted,
    /// The server could not send the delivery, for example because the registry gave no signing key.
    Unsent { message: String },
    Failed {
        message: String,
        /// The wait that the endpoint requests.
        retry_after: Option<Millis>,
        /// The endpoint reports that it is permanently gone.
        is_gone: bool,
    },
}

impl Delivered {
    /// The outcome if the rules for URLs no longer allow this one.
    pub fn not_allowed(why: &str) -> Delivered {
        let message = format!("not sent, because the URL is no longer allowed: {why}");
        Delivered::Failed { message, retry_after: None, is_gone: false }
    }
}

/// The longest `Retry-After` that the server honours.
pub const RETRY_AFTER_MAX: Millis = 3_600_000;

impl Subscription {
    /// Begins a wake if one is due. Returns whether it did.
    pub fn start_wake(&mut self, now: Millis) -> bool {
        let begins = self.may_wake(now) && self.has_pending();
        if begins {
            self.begin_wake(WakeStep::Due, now);
        }
        begins
    }

    /// Whether a wake may begin now, provided that a stream is pending.
    pub fn may_wake(&self, now: Millis) -> bool {
        self.is_awake() && self.state.wake.is_none() && self.state.not_before.is_none_or(|at| now >= at)
    }

    pub(super) fn begin_wake(&mut self, step: WakeStep, now: Millis) {
        self.state.generation += 1;
        self.state.totals.wakes += 1;
        let has_event = step == WakeStep::Due && !self.is_webhook();
        self.state.unclaimed_events += u64::from(has_event);
        self.state.wake = Some(Wake {
            id: self.wake_id(),
            generation: self.state.generation,
            step,
            streams: self.snapshot(),
            holder: None,
            lease_until: self.is_webhook().then(|| now + self.config.lease_ttl_ms),
            unclaimed_until: has_event.then(|| self.unclaimed_until(now)),
        });
    }

    /// The time at which the wake event is written again if no worker claims it.
    fn unclaimed_until(&self, now: Millis) -> Millis {
        now + retry::unclaimed(self.config.lease_ttl_ms, self.state.unclaimed_events)
    }

    /// The pending streams, as many as fit into one wake.
    pub(super) fn snapshot(&self) -> Vec<Snapshot> {
        let mut bytes = 0;
        let pending = self.links.iter().filter(|(_, link)| link.is_pending());
        let fitting = pending.take_while(|(path, _)| {
            bytes += path.len() + WOKEN_BYTES;
            bytes <= WAKE_MAX_BYTES
        });
        let snapshot = fitting
            .take(WAKE_STREAMS_MAX)
            .filter_map(|(path, link)| Some(Snapshot { path: path.clone(), tail: link.tail? }));
        snapshot.collect()
    }

    /// Whether the wake in flight must be delivered now.
    pub fn delivery_is_due(&self, now: Millis) -> bool {
        let is_due = self.state.wake.as_ref().is_some_and(|wake| wake.step == WakeStep::Due);
        self.is_awake() && is_due && self.state.not_before.is_none_or(|at| now >= at)
    }

    /// Applies the outcome of a webhook call. If the wake has ended, only the totals change and the result is false.
    pub fn delivered(
        &mut self,
        generation: u64,
        outcome: &Delivered,
        give_up_after: Millis,
        now: Millis,
    ) -> bool {
        let totals = &mut self.state.totals;
        match outcome {
            Delivered::Done | Delivered::Accepted => totals.succeeded += 1,
            Delivered::Unsent { .. } => totals.unsent += 1,
            Delivered::Failed { .. } => totals.failed += 1,
        }
        let Some(wake) = self.state.wake.as_mut().filter(|wake| wake.generation == generation) else {
            return false;
        };
        match outcome {
            Delivered::Done => {
                let streams = std::mem::take(&mut wake.streams);
                self.recover(now);
                self.end_wake();
                self.state.idle_wakes = 0;
                self.ack_all(&streams);
            }
            Delivered::Accepted => {
                wake.step = WakeStep::Delivered;
                self.recover(now);
            }
            Delivered::Unsent { message } => {
                self.state.not_before = Some(now + retry::UNSENT_WAIT);
                self.state.last_error = Some(StoredError { at: now, message: message.clone() });
            }
            Delivered::Failed { message, retry_after, is_gone } => {
                self.failed(message, *retry_after, now);
                let since = self.state.failing_since.unwrap_or(now);
                if *is_gone || now >= since + give_up_after {
                    self.park(now);
                }
            }
        }
        true
    }

    /// The wake stream has the event of a wake, or refused it.
    pub fn event_written(
        &mut self,
        generation: u64,
        written: Result<(), &str>,
        give_up_after: Millis,
        now: Millis,
    ) -> bool {
        let unclaimed_until = self.unclaimed_until(now);
        match written {
            Ok(()) => self.state.totals.succeeded += 1,
            Err(_) => self.state.totals.failed += 1,
        }
        let Some(wake) = self.state.wake.as_mut().filter(|wake| wake.generation == generation) else {
            return false;
        };
        if wake.step != WakeStep::Due {
            return false;
        }
        match written {
            Ok(()) => {
                wake.step = WakeStep::Delivered;
                wake.unclaimed_until.get_or_insert(unclaimed_until);
                self.recover(now);
            }
            Err(message) => {
                // The event is not there to be claimed yet.
                wake.unclaimed_until = None;
                self.failed(message, None, now);
                if now >= self.state.failing_since.unwrap_or(now) + give_up_after {
                    self.park(now);
                }
            }
        }
        true
    }

    fn failed(&mut self, message: &str, retry_after: Option<Millis>, now: Millis) {
        self.state.failures += 1;
        if self.state.failing_since.is_none() {
            self.state.failing_since = Some(now);
            self.report(Transition::Failed, now);
        }
        let wait = retry::after_failures(self.state.failures, self.jitter());
        let wait = wait.max(retry_after.unwrap_or(0).min(RETRY_AFTER_MAX));
        self.state.not_before = Some(now + wait);
        self.state.last_error = Some(StoredError { at: now, message: message.to_owned() });
    }

    /// Resets the failure counters after a successful delivery.
    fn recover(&mut self, now: Millis) {
        if self.state.failing_since.take().is_some() {
            self.report(Transition::Recovered, now);
        }
        self.state.failures = 0;
        self.state.not_before = None;
    }

    /// Ends the wake in flight. Its holder is fenced from now on.
    pub(super) fn end_wake(&mut self) {
        self.state.wake = None;
    }

    fn ack_all(&mut self, streams: &[Snapshot]) {
        for Snapshot { path, tail } in streams {
            if let Some(link) = self.links.get_mut(path) {
                let _moves = link.ack(*tail);
            }
        }
    }

    /// Ends an expired lease, an unclaimed wake event, or an undelivered wake whose links were all removed. Returns
    /// whether anything ended.
    pub fn expire(&mut self, now: Millis) -> bool {
        let Some(wake) = &self.state.wake else { return false };
        let is_linked = |stream: &Snapshot| self.links.get(&stream.path).is_some_and(|link| !link.removed);
        if wake.step == WakeStep::Due && !wake.streams.iter().any(is_linked) {
            self.end_wake();
            return true;
        }
        let is_unclaimed = wake.unclaimed_until.is_some_and(|until| now >= until);
        let is_over = wake.lease_until.is_some_and(|until| now >= until);
        if !is_unclaimed && !is_over {
            return false;
        }
        let was_delivered = wake.step == WakeStep::Delivered;
        self.end_wake();
        if is_over && was_delivered {
            self.wait_after_idle_wake(now);
        }
        true
    }

    /// A wake has ended without progress. The next one waits, and longer with each such wake in a row.
    pub(super) fn wait_after_idle_wake(&mut self, now: Millis) {
        self.state.idle_wakes += 1;
        let at = now + retry::after_idle_wakes(self.state.idle_wakes);
        self.state.not_before = self.state.not_before.max(Some(at));
    }

    fn park(&mut self, now: Millis) {
        self.state.was_linking = matches!(self.state.phase, Phase::Linking { is_listed: false, .. });
        self.state.phase = Phase::Parked;
        self.end_wake();
        self.state.not_before = None;
        self.report(Transition::Parked, now);
    }

    /// Ends parking. Returns whether the subscription was parked.
    pub fn resume(&mut self, now: Millis) -> bool {
        if self.state.phase != Phase::Parked {
            return false;
        }
        let is_listed = !std::mem::take(&mut self.state.was_linking);
        self.state.phase = Phase::Linking { after: String::new(), is_listed };
        self.finish_linking();
        self.state.failures = 0;
        self.state.failing_since = None;
        self.state.idle_wakes = 0;
        self.report(Transition::Resumed, now);
        true
    }
    /// While deliveries fail, makes the next attempt due now. The count of failures stays, so another failure waits longer.
    pub fn retry_now(&mut self) {
        if self.state.failures > 0 {
            self.state.not_before = None;
        }
    }
}
