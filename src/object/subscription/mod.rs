//! A subscription's object: answers its requests, exchanges cursors with its streams, and delivers its wakes. The rules are in
//! `src/subscription/`; what waits is done by the driver's lanes.
//!
//! A change is decided on a copy and stored; then the copy takes the place of the original. So memory never has what storage
//! does not have, except that a link is settled: that is asked for again after memory was lost.

pub mod requests;
pub mod work;

use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::storage::commit::Change;
use crate::storage::subscription::{SubscriptionChange, find_link, load, owing_links};
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;
use crate::subscription::wake::WAKE_STREAMS_MAX;
pub use requests::{After, Responded};

/// The most links in the subscription's own row. What is beyond has rows of its own.
pub const LINKS_IN_ROW_MAX: usize = 64;

/// What an object knows of the subscription that it is.
#[derive(Debug, Default)]
enum Stored {
    #[default]
    Unknown,
    /// There is none, and never was.
    None,
    Some(Box<Subscription>),
}

#[derive(Debug, Default)]
pub(super) struct SubscriptionPart {
    stored: Stored,
    directory_rests_until: Option<Millis>,
    watches_rest_until: Option<Millis>,
    delivery_rests_until: Option<Millis>,
    /// The last path whose stream was called in this run; those after it come next.
    called_through: String,
    /// Whether a call of this run has failed.
    has_failed: bool,
    /// While streams of a page of the registry are linked: where the next page begins.
    page: Option<Option<String>>,
    /// Why the subscription that is being created cannot be.
    refused: Option<SubscriptionRefusal>,
    /// Of a subscription that has ended: the last link in storage whose stream was called, once those in memory were.
    cleared_through: String,
    /// Whether all links of a subscription that has ended were dropped.
    is_cleared: bool,
}

impl SubscriptionPart {
    /// The same after memory was lost. What rests goes on resting.
    pub(super) fn forgotten(&self) -> SubscriptionPart {
        SubscriptionPart {
            directory_rests_until: self.directory_rests_until,
            watches_rest_until: self.watches_rest_until,
            delivery_rests_until: self.delivery_rests_until,
            ..SubscriptionPart::default()
        }
    }

    pub(super) fn load(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        self.stored = load(sql)?.map_or(Stored::None, |found| Stored::Some(Box::new(found)));
        Ok(())
    }

    /// The object has no table of a subscription.
    pub(super) fn is_none(&mut self) {
        self.stored = Stored::None;
    }

    fn get(&self) -> Option<&Subscription> {
        match &self.stored {
            Stored::Some(subscription) => Some(subscription),
            Stored::Unknown | Stored::None => None,
        }
    }

    fn get_mut(&mut self) -> Option<&mut Subscription> {
        match &mut self.stored {
            Stored::Some(subscription) => Some(subscription),
            Stored::Unknown | Stored::None => None,
        }
    }
}

impl Object {
    /// Changes the subscription, begins the wake that may be due then, and stores what has changed. `None` if there is no
    /// subscription.
    fn change<T>(
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
        self.subscription.stored = Stored::Some(Box::new(subscription));
        Ok(())
    }

    /// Has a link in memory, if there is one.
    fn recall_link(&mut self, sql: &dyn Sql, path: &str) -> Result<(), Failure> {
        self.load(sql)?;
        let Some(subscription) = self.subscription.get_mut() else { return Ok(()) };
        if !subscription.links.contains_key(path)
            && let Some(link) = find_link(sql, path)?
        {
            subscription.links.insert(path.to_owned(), link);
        }
        Ok(())
    }
}

/// Has links in memory that have something to do and have rows of their own, from a path on. Whether there were any.
fn recall(
    sql: &dyn Sql,
    subscription: &mut Subscription,
    after: &str,
    limit: usize,
) -> Result<bool, Failure> {
    let mut found = false;
    for (path, link) in owing_links(sql, after, limit)? {
        if let std::collections::btree_map::Entry::Vacant(vacant) = subscription.links.entry(path) {
            vacant.insert(link);
            found = true;
        }
    }
    Ok(found)
}
