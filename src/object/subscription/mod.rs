//! The object of a subscription: answers its requests, exchanges cursors with its streams, and delivers its wakes. The
//! state machine is in `src/subscription/`; the driver's lanes do all work that waits.
//!
//! A change is made on a copy and stored; then the copy replaces the original. So memory never has anything that
//! storage lacks, with three exceptions. That a link is settled: after a loss of memory, the stream is called again. That a
//! wake's event was written: it is written again. Totals of deliveries: up to one is not counted.

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
