//! What an object knows of the subscription that it is.

use crate::protocol::Millis;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::storage::subscription::load;
use crate::storage::{Failure, Sql};
use crate::subscription::Subscription;

/// The most links in the subscription's own row. What is beyond has rows of its own.
pub const LINKS_IN_ROW_MAX: usize = 64;
/// How many streams a claim calls that finds nothing pending.
pub const LOOKED_AT_MAX: usize = 32;
/// The most streams that are called at the same time.
pub const CALLED_AT_ONCE_MAX: usize = 32;
/// How many streams of the registry's list are linked before the next ones are listed.
pub const PAGE_STREAMS_MAX: u64 = 64;
/// How long a delivery may take at most, in milliseconds; a shorter lease is its limit.
pub const DELIVERY_MAX: Millis = 30_000;

/// What an object knows of the subscription that it is.
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
    pub(super) delivery_rests_until: Option<Millis>,
    /// The last path whose stream was called in this run; those after it come next.
    pub(super) called_through: String,
    /// The last link in storage that was looked at, and whether links came into memory since the first one.
    pub(super) recalled_through: String,
    pub(super) has_recalled: bool,
    /// Whether a call of this run has failed.
    pub(super) has_failed: bool,
    /// While streams of a page of the registry are linked: where the next page begins.
    pub(super) page: Option<Option<String>>,
    /// Why the subscription that is being created cannot be.
    pub(super) refused: Option<SubscriptionRefusal>,
    /// Of a subscription that has ended: the last link in storage whose stream was called, once those in memory were.
    pub(super) cleared_through: String,
    /// Whether all links of a subscription that has ended were dropped.
    pub(super) is_cleared: bool,
}

impl SubscriptionPart {
    /// The same after memory was lost. What rests goes on resting.
    pub(in crate::object) fn forgotten(&self) -> SubscriptionPart {
        SubscriptionPart {
            directory_rests_until: self.directory_rests_until,
            watches_rest_until: self.watches_rest_until,
            delivery_rests_until: self.delivery_rests_until,
            ..SubscriptionPart::default()
        }
    }

    pub(in crate::object) fn load(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        self.stored =
            load(sql)?.map_or(StoredSubscription::None, |found| StoredSubscription::Some(Box::new(found)));
        Ok(())
    }

    /// The object has no table of a subscription.
    pub(in crate::object) fn is_none(&mut self) {
        self.stored = StoredSubscription::None;
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
