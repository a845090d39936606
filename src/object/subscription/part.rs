//! The subscription's part of an object's memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::object::pending::RETRY;
use crate::protocol::Millis;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::storage::subscription::load;
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;

/// The most links in the subscription's own row. Others have rows of their own.
pub const LINKS_IN_ROW_MAX: usize = 64;
/// How many streams a claim calls if it finds none pending.
pub const LOOKED_AT_MAX: usize = 32;
/// The most streams called at the same time.
pub const CALLED_AT_ONCE_MAX: usize = 32;
/// How many streams of the registry's list are linked before the next page is requested.
pub const PAGE_STREAMS_MAX: u64 = 64;
/// The most streams that rest after failed calls while the others are called. Beyond that, all rest.
pub const RESTING_MAX: usize = 1_000;
/// The longest time for a delivery, in milliseconds. A shorter lease shortens it.
pub const DELIVERY_MAX: Millis = 30_000;

/// The stored subscription, as far as the object has loaded it.
#[derive(Debug, Default)]
pub(super) enum StoredSubscription {
    #[default]
    Unknown,
    /// There is none, and never was.
    None,
    Some(Box<Subscription>),
}

#[derive(Debug, Default)]
pub(in crate::object) struct SubscriptionPart {
    pub(super) stored: StoredSubscription,
    pub(super) directory_rests_until: Option<Millis>,
    pub(super) watches_rest_until: Option<Millis>,
    /// The streams whose last call failed, and when each may be called again.
    pub(super) resting: BTreeMap<String, Millis>,
    pub(super) delivery_rests_until: Option<Millis>,
    /// The last stream called in this run, by its path. Later paths come next.
    pub(super) called_through: String,
    /// The streams whose links have changed, or whose tails became unknown, since the last call was made. An answer to that
    /// call is out of date.
    pub(super) outdated: BTreeSet<String>,
    /// The last link read from storage, and whether any link came into memory since the first one.
    pub(super) recalled_through: String,
    pub(super) has_recalled: bool,
    /// Whether links that may need calls have moved to storage since the first one was read.
    pub(super) has_new_rows: bool,
    /// Whether a call of this run has failed.
    pub(super) has_failed: bool,
    /// The start of the registry's next page, while the streams of a page are being linked.
    pub(super) page: Option<Option<String>>,
    /// The reason why the new subscription cannot be created, or a stream cannot be added.
    pub(super) refused: Option<SubscriptionRefusal>,
    /// Whether a PUT waits for its streams to be linked, and whether a request that added streams does.
    pub(super) is_creating: bool,
    pub(super) is_adding: bool,
    /// Whether a summary without an event must be sent.
    pub(super) owes_summary: bool,
    /// After the end of a subscription: the last link in storage whose stream was called. Links in memory come first.
    pub(super) cleared_through: String,
    /// Whether all links of an ended subscription were dropped.
    pub(super) is_cleared: bool,
}

impl SubscriptionPart {
    /// The state after a loss of memory. Backoffs continue, and so does a call that was made before.
    pub(in crate::object) fn forgotten(&self) -> SubscriptionPart {
        SubscriptionPart {
            directory_rests_until: self.directory_rests_until,
            watches_rest_until: self.watches_rest_until,
            resting: self.resting.clone(),
            outdated: self.outdated.clone(),
            delivery_rests_until: self.delivery_rests_until,
            ..SubscriptionPart::default()
        }
    }

    /// The state for the next subscription of this name. The streams of an ended one may rest for up to an hour. For the
    /// next one that would be too long.
    pub(super) fn succeeded(&self, now: Millis) -> SubscriptionPart {
        SubscriptionPart {
            watches_rest_until: self.watches_rest_until.map(|until| until.min(now + RETRY)),
            resting: BTreeMap::new(),
            ..self.forgotten()
        }
    }

    pub(in crate::object) fn load(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        self.stored =
            load(sql)?.map_or(StoredSubscription::None, |found| StoredSubscription::Some(Box::new(found)));
        Ok(())
    }

    /// The object has no table for a subscription.
    pub(in crate::object) fn is_none(&mut self) {
        self.stored = StoredSubscription::None;
    }

    /// Whether a stream is not called yet, because its last call failed.
    pub(super) fn rests(&self, path: &str, now: Millis) -> bool {
        self.resting.get(path).is_some_and(|until| *until > now)
    }

    /// The end of the first of these rests.
    pub(super) fn next_rest_ends_at(&self) -> Option<Millis> {
        self.resting.values().min().copied()
    }

    pub(super) fn get(&self) -> Option<&Subscription> {
        match &self.stored {
            StoredSubscription::Some(subscription) => Some(subscription),
            StoredSubscription::Unknown | StoredSubscription::None => None,
        }
    }

    pub(super) fn stored_mut(&mut self) -> Option<&mut Subscription> {
        match &mut self.stored {
            StoredSubscription::Some(subscription) => Some(subscription),
            StoredSubscription::Unknown | StoredSubscription::None => None,
        }
    }
}
