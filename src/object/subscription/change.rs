//! Changes of a subscription: decided on a copy, stored, and then taken over.

use std::collections::btree_map::Entry;

use super::part::{LINKS_IN_ROW_MAX, StoredSubscription};
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::storage::commit::Change;
use crate::storage::subscription::{SubscriptionChange, find_link, owing_links};
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;
use crate::subscription::wake::WAKE_STREAMS_MAX;

impl Object {
    /// Changes the subscription, begins the wake that may be due then, and stores what has changed. `None` if there is no
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
        if changed.state.wake.is_none() && changed.state.spilled && !changed.has_pending() {
            recall(sql, &mut changed, "", WAKE_STREAMS_MAX)?;
        }
        changed.start_wake(now);
        let is_stored = dropped.is_empty() && changed.is_stored_as(before);
        self.put_subscription(sql, changed, &dropped, is_stored)?;
        if !is_stored {
            self.arm(now);
        }
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
            let change =
                SubscriptionChange { subscription: &subscription, is_new: false, spilled: &spilled, dropped };
            self.commit(sql, &Change::Subscription(change))?;
        }
        self.subscription.stored = StoredSubscription::Some(Box::new(subscription));
        Ok(())
    }

    /// Has a link in memory, if there is one.
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

/// Has links in memory that have something to do and have rows of their own, from a path on. Whether there were any.
pub(super) fn recall(
    sql: &dyn Sql,
    subscription: &mut Subscription,
    after: &str,
    limit: usize,
) -> Result<bool, Failure> {
    let mut found = false;
    for (path, link) in owing_links(sql, after, limit)? {
        if let Entry::Vacant(vacant) = subscription.links.entry(path) {
            vacant.insert(link);
            found = true;
        }
    }
    Ok(found)
}
