//! Changes of a subscription. Each is made on a copy, which is stored and then replaces the original.

use std::collections::btree_map::Entry;

use super::part::{LINKS_IN_ROW_MAX, StoredSubscription};
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::registry::Registries;
use crate::storage::commit::Change;
use crate::storage::subscription::{SubscriptionChange, find_link, owing_links};
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;
use crate::subscription::link::StreamLink;
use crate::subscription::wake::WAKE_STREAMS_MAX;

impl Object {
    /// Changes the subscription, begins a wake if one is now due, and stores the result. `None` if there is no
    /// subscription.
    pub(super) fn change<T>(
        &mut self,
        sql: &dyn Sql,
        now: Millis,
        change: impl FnOnce(&mut Subscription) -> T,
    ) -> Result<Option<T>, Failure> {
        self.load(sql)?;
        let Some(before) = self.subscription.get() else { return Ok(None) };
        let mut changed = before.clone();
        let changes = change(&mut changed);
        let dropped: Vec<String> =
            before.links.keys().filter(|path| !changed.links.contains_key(*path)).cloned().collect();
        changed.finish_linking();
        if changed.may_wake(now) {
            recall_pending(sql, &mut changed)?;
        }
        changed.start_wake(now);
        let is_stored = dropped.is_empty() && changed.is_stored_as(before);
        let sends_summaries = self.settings.measures && self.settings.registries != Registries::Off;
        // Only with a change that is stored, so that metrics cost no row here.
        let summarizes = sends_summaries && !is_stored && changed.summarizes(now);
        self.put_subscription(sql, changed, &dropped, is_stored)?;
        if !is_stored {
            self.arm(now);
        }
        self.subscription.owes_summary |= summarizes;
        Ok(Some(changes))
    }

    fn put_subscription(
        &mut self,
        sql: &dyn Sql,
        mut subscription: Subscription,
        dropped: &[String],
        is_stored: bool,
    ) -> Result<(), Failure> {
        if !is_stored {
            let spilled = subscription.spill(LINKS_IN_ROW_MAX);
            let is_new = |(path, link): &(String, StreamLink)| {
                link.owes_watch() && !self.subscription.resting.contains_key(path)
            };
            self.subscription.has_new_rows |= spilled.iter().any(is_new);
            let change =
                SubscriptionChange { subscription: &subscription, is_new: false, spilled: &spilled, dropped };
            self.commit(sql, &Change::Subscription(change))?;
        }
        self.subscription.stored = StoredSubscription::Some(Box::new(subscription));
        Ok(())
    }

    /// Loads pending links into memory, up to the maximum of one wake.
    pub(super) fn recall_pending(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        self.load(sql)?;
        match self.subscription.stored_mut() {
            Some(subscription) => recall_pending(sql, subscription),
            None => Ok(()),
        }
    }

    /// Loads a link into memory, if it exists.
    pub(super) fn recall_link(&mut self, sql: &dyn Sql, path: &str) -> Result<(), Failure> {
        self.load(sql)?;
        let Some(subscription) = self.subscription.stored_mut() else { return Ok(()) };
        if !subscription.links.contains_key(path)
            && let Some(link) = find_link(sql, path)?
        {
            subscription.links.insert(path.to_owned(), link);
        }
        Ok(())
    }
}

/// Loads pending links from rows of their own, up to the maximum of one wake. A link in memory is newer than its row.
fn recall_pending(sql: &dyn Sql, subscription: &mut Subscription) -> Result<(), Failure> {
    let mut room =
        WAKE_STREAMS_MAX.saturating_sub(subscription.links.values().filter(|link| link.is_pending()).count());
    let mut after = String::new();
    while subscription.state.spilled_pending && room > 0 {
        let links = owing_links(sql, &after, WAKE_STREAMS_MAX)?;
        let Some((last, _)) = links.last() else {
            subscription.state.spilled_pending = false;
            break;
        };
        after.clone_from(last);
        for (path, link) in links.into_iter().filter(|(_, link)| link.is_pending()) {
            if let Entry::Vacant(vacant) = subscription.links.entry(path)
                && room > 0
            {
                vacant.insert(link);
                room -= 1;
            }
        }
    }
    Ok(())
}
