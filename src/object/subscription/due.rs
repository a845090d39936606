//! The times at which a subscription's object must act, for the driver's lanes and for the alarm.

use crate::object::lanes::Lane;
use crate::object::pending::RETRY;
use crate::object::reports::{REST_MAX, REST_MIN};
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
        let reports = self.settings.registries != Registries::Off;
        self.next_enlist(subscription).is_some() || reports && !subscription.state.unreported.is_empty()
    }

    pub(in crate::object) fn watches_may_begin(&self, now: Millis) -> bool {
        let part = &self.subscription;
        let rests = part.watches_rest_until.is_some_and(|until| now < until);
        !rests && part.get().is_some_and(|found| self.has_watches_work(found, now))
    }

    /// Whether there is work with streams that do not rest.
    fn has_watches_work(&self, subscription: &Subscription, now: Millis) -> bool {
        let part = &self.subscription;
        if subscription.has_ended() {
            return !part.is_cleared;
        }
        let lists = subscription.is_listing() && subscription.state.enlisted && part.page.is_none();
        let owes = |(path, link): (&String, &StreamLink)| link.owes_watch() && !part.rests(path, now);
        // While some streams rest, rows were searched for others already.
        let may_rows_owe = part.next_rest_ends_at().is_none_or(|at| now >= at) || part.has_new_rows;
        lists || subscription.state.spilled && may_rows_owe || subscription.links.iter().any(owes)
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
        // If this object dies before work that is due now, the alarm does it, within a lease.
        let soon = now + RETRY.min(subscription.config.lease_ttl_ms);
        let later = |rests_until: Option<Millis>| rests_until.filter(|until| *until > now).unwrap_or(soon);
        let directory_at = self.has_directory_work(subscription).then(|| later(part.directory_rests_until));
        let watches_at = self.has_watches_work(subscription, now).then(|| later(part.watches_rest_until));
        let rest_ends_at = part.resting.values().filter(|at| **at > now).min().copied();
        let due_at =
            subscription.due_at().map(|at| if at > now { at } else { later(part.delivery_rests_until) });
        [directory_at, watches_at, rest_ends_at, due_at].into_iter().flatten().min()
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

    /// Makes all streams rest: for longer and longer, if the subscription has ended.
    pub(in crate::object) fn rest_watches_until(&mut self, at: Millis, now: Millis) {
        let ended_at = self.subscription.get().and_then(|found| found.state.ended_at);
        let at = ended_at.map_or(at, |since| at.max(again_at(since, now)));
        self.subscription.watches_rest_until = Some(at);
        self.subscription.resting.clear();
        self.subscription.called_through.clear();
        self.subscription.cleared_through.clear();
        self.subscription.recalled_through.clear();
        (self.subscription.has_recalled, self.subscription.has_new_rows) = (false, false);
        self.subscription.has_failed = false;
    }

    pub(in crate::object) fn rest_delivery_until(&mut self, at: Millis) {
        self.subscription.delivery_rests_until = Some(at);
    }
}

/// When a call that has failed since a time is repeated. The longer it has failed, the longer the rest.
pub(super) fn again_at(since: Millis, now: Millis) -> Millis {
    now + now.saturating_sub(since).clamp(REST_MIN, REST_MAX)
}
