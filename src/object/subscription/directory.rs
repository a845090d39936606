//! Keeps the registry up to date, which has the subscription's pattern and receives its events.

use crate::object::effect::{About, Calling, Effect, LogEvent, Outcome, mismatch};
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::registry::{Record, Registries, path_of};
use crate::protocol::subscription::SubscriptionName;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::watch::{Enlist, Enlisted, Watcher};
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;

impl Object {
    pub(in crate::object) fn next_in_directory(&mut self) -> Option<Effect> {
        let subscription = self.subscription.get()?;
        let watcher =
            Watcher { subscription: subscription.name.object(), incarnation: subscription.state.incarnation };
        if let Some(PatternChange { registry: to, adds }) = self.next_enlist(subscription) {
            let pattern = subscription.config.whole_pattern(&subscription.name).filter(|_| adds);
            let about = About::Enlist { incarnation: watcher.incarnation, adds };
            let call = Call::Enlist(Enlist { watcher, pattern });
            return Some(Effect::Call(Calling { to, call, about }));
        }
        if self.settings.registries == Registries::Off {
            return None;
        }
        let to = registry_of(self.settings.registries, &subscription.name);
        let (events, through) = subscription.unreported()?;
        let summary = self.settings.measures.then(|| subscription.summary());
        let call = Call::Record(Record { path: watcher.subscription, events, summary });
        Some(Effect::Call(Calling { to, call, about: About::Events { through } }))
    }

    /// Sends a summary without an event, if one is due. It is not repeated if it fails: the next one has all of it.
    pub(in crate::object) fn next_summary(&mut self) -> Option<Effect> {
        self.subscription.owes_summary = false;
        let subscription = self.subscription.get()?;
        let to = registry_of(self.settings.registries, &subscription.name);
        let (path, summary) = (subscription.name.object(), Some(subscription.summary()));
        let call = Call::Record(Record { path, events: Vec::new(), summary });
        Some(Effect::Call(Calling { to, call, about: About::Summary }))
    }

    pub(in crate::object) fn summary_may_begin(&self) -> bool {
        self.subscription.owes_summary
    }

    /// The next change of the pattern in a registry. Another registry that has the pattern drops it first.
    pub(super) fn next_enlist(&self, subscription: &Subscription) -> Option<PatternChange> {
        let (registries, state) = (self.settings.registries, &subscription.state);
        let here = registry_of(registries, &subscription.name);
        let is_wanted = subscription.config.pattern.is_some() && !subscription.has_ended();
        let (registry, adds) = match (is_wanted, state.enlisted, &state.registry) {
            (false, false, _) => return None,
            (false, true, known) => (known.clone().unwrap_or(here), false),
            (true, _, _) if registries == Registries::Off => return None,
            (true, true, Some(known)) if *known == here => return None,
            (true, true, Some(known)) => (known.clone(), false),
            (true, _, _) => (here, true),
        };
        Some(PatternChange { registry, adds })
    }

    pub(in crate::object) fn enlisted(
        &mut self,
        sql: &dyn Sql,
        incarnation: u64,
        adds: bool,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        if self.is_over(sql, incarnation, outcome)? {
            return Ok(LogEvent::Linked);
        }
        let Answered::Enlisted(enlisted) = outcome.answer("enlist subscription")? else {
            return Err(mismatch("enlist subscription"));
        };
        match enlisted {
            Enlisted::Done => {
                let registries = self.settings.registries;
                self.change(sql, now, |subscription| {
                    let registry = adds.then(|| registry_of(registries, &subscription.name));
                    subscription.enlisted(registry, now);
                })?;
            }
            Enlisted::TooMany => {
                self.cannot_be_created(sql, SubscriptionRefusal::TooManyPatterns, now)?;
            }
        }
        Ok(LogEvent::Linked)
    }

    /// Whether an answer belongs to an earlier subscription of this name. A failure always counts: the lane backs off.
    pub(super) fn is_over(
        &mut self,
        sql: &dyn Sql,
        incarnation: u64,
        outcome: &Outcome,
    ) -> Result<bool, Failure> {
        self.load(sql)?;
        let is_over = self.subscription.get().is_none_or(|found| found.state.incarnation != incarnation);
        Ok(is_over && !matches!(outcome, Outcome::Failed(_)))
    }

    pub(in crate::object) fn events_recorded(
        &mut self,
        sql: &dyn Sql,
        through: u64,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        let answer = outcome.answer("report subscription")?;
        if *answer != Answered::Recorded {
            return Err(mismatch("report subscription"));
        }
        self.load(sql)?;
        // Recording an event twice is harmless, and a row costs money. So the next change stores this, if one follows.
        let is_idle = |found: &Subscription| found.is_linked() && found.state.wake.is_none();
        if self.subscription.get().is_some_and(is_idle) {
            self.change(sql, now, |subscription| subscription.reported(through))?;
        } else if let Some(subscription) = self.subscription.stored_mut() {
            subscription.reported(through);
        }
        Ok(LogEvent::Reported)
    }

    pub(super) fn cannot_be_created(
        &mut self,
        sql: &dyn Sql,
        refusal: SubscriptionRefusal,
        now: Millis,
    ) -> Result<(), Failure> {
        self.end_subscription(sql, now)?;
        self.subscription.refused = Some(refusal);
        Ok(())
    }

    /// Ends the subscription. After that, all its streams are called.
    pub(in crate::object) fn end_subscription(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        self.change(sql, now, |subscription| subscription.end(now))?;
        self.subscription.called_through.clear();
        self.subscription.resting.clear();
        Ok(())
    }
}

/// A change of the pattern in this registry.
pub(super) struct PatternChange {
    registry: String,
    adds: bool,
}

/// The registry of a subscription, even if streams report to none.
pub(super) fn registry_of(registries: Registries, name: &SubscriptionName) -> String {
    match (registries, &name.root) {
        (Registries::PerProject, Some(root)) => path_of(Some(root)),
        (Registries::PerProject | Registries::One | Registries::Off, _) => path_of(None),
    }
}
