//! The object of a subscription: answers its requests, exchanges cursors with its streams, and delivers its wakes. The
//! state machine is in `src/subscription/`; the driver's lanes do all work that waits.
//!
//! A change is made on a copy and stored; then the copy replaces the original. So memory never has anything that
//! storage lacks, with one exception: that a link is settled. After a loss of memory, the stream is called again.

mod after;
mod change;
mod delivery;
mod directory;
mod due;
mod part;
mod requests;
mod shown;
mod watches;

pub use after::{After, Responded};
pub(super) use part::SubscriptionPart;
pub use part::{
    CALLED_AT_ONCE_MAX, DELIVERY_MAX, LINKS_IN_ROW_MAX, LOOKED_AT_MAX, PAGE_STREAMS_MAX, RESTING_MAX,
};
