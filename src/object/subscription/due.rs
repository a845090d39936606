//! The times at which a subscription's object must act, for the driver's lanes and for the alarm.

use crate::object::lanes::Lane;
use crate::object::pending::RETRY;
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::registry::Registries;
use crate::subscription::Subscription;
use crate::subscription::link::StreamLink;

impl Object {
    pub(in crate::object) fn directory_may_begin(&self, now: Millis) -> bool {
        let rests = self.subscription.directory_rests_until.is_some_and(|until| now < until);
        !rests && self.subscription.get().is_some_and(|found| self.has_directory_work(found))
    }

    fn has_directory_work(&self, subscription: &Subscription) -> bool {
        let is_listed = subscription.config.pattern.is_some() && !subscription.has_ended();
        let reports = self.settings.registries != Registries::Off;
        is_listed != subscription.state.enlisted || reports && !subscription.state.unreported.is_empty()
    }

    pub(in crate::object) fn watches_may_begin(&self, now: Millis) -> bool {
        let part = &self.subscription;
        let rests = part.watches_rest_until.is_some_and(|until| now < until);
        !rests && part.get().is_some_and(|found| self.has_watches_work(found))
    }

    fn has_watches_work(&self, subscription: &Subscription) -> bool {
        if subscription.has_ended() {
            return !self.subscription.is_cleared;
        }
        let lists =
            subscription.is_listing() && subscription.state.enlisted && self.subscription.page.is_none();
        lists || subscription.state.spilled || subscription.links.values().any(StreamLink::owes_watch)
    }

    pub(in crate::object) fn delivery_may_begin(&self, now: Millis) -> bool {
        let rests = self.subscription.delivery_rests_until.is_some_and(|until| now < until);
        let due_at = self.subscription.get().and_then(Subscription::due_at);
        !rests && due_at.is_some_and(|at| now >= at)
    }

    /// The time of the alarm that the subscription needs.
    pub(in crate::object) fn subscription_alarm_at(&self, now: Millis) -> Option<Millis> {
        let part = &self.subscription;
        let subscription = part.get()?;
        let later =
            |rests_until: Option<Millis>| rests_until.filter(|until| *until > now).unwrap_or(now + RETRY);
        let directory_at = self.has_directory_work(subscription).then(|| later(part.directory_rests_until));
        let watches_at = self.has_watches_work(subscription).then(|| later(part.watches_rest_until));
        // The lease of a claim ends later than this alarm, so the claim needs no other.
        let soon =
            if subscription.is_webhook() { RETRY } else { RETRY.min(subscription.config.lease_ttl_ms) };
        let due_at = subscription.due_at().map(|at| {
            let rests_until = part.delivery_rests_until.filter(|until| *until > now);
            if at > now { at } else { rests_until.unwrap_or(now + soon) }
        });
        [directory_at, watches_at, due_at].into_iter().flatten().min()
    }

    /// Whether all work with streams and the registry is done or backing off.
    pub fn is_settled(&self, now: Millis) -> bool {
        let is_idle = |lane| self.lanes.is_idle(lane);
        is_idle(Lane::Watches)
            && is_idle(Lane::Directory)
            && !self.watches_may_begin(now)
            && !self.directory_may_begin(now)
    }

    pub(in crate::object) fn rest_directory_until(&mut self, at: Millis) {
        self.subscription.directory_rests_until = Some(at);
    }

    pub(in crate::object) fn rest_watches_until(&mut self, at: Millis) {
        self.subscription.watches_rest_until = Some(at);
        self.subscription.called_through.clear();
        self.subscription.cleared_through.clear();
        self.subscription.recalled_through.clear();
        self.subscription.has_recalled = false;
        self.subscription.has_failed = false;
    }

    pub(in crate::object) fn rest_delivery_until(&mut self, at: Millis) {
        self.subscription.delivery_rests_until = Some(at);
    }
}
