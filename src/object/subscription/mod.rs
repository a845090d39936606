//! A subscription's object: answers its requests, exchanges cursors with its streams, and delivers its wakes. The rules are in
//! `src/subscription/`; what waits is done by the driver's lanes.
//!
//! A change is decided on a copy and stored; then the copy takes the place of the original. So memory never has what storage
//! does not have, except that a link is settled: that is asked for again after memory was lost.

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
pub use part::{CALLED_AT_ONCE_MAX, DELIVERY_MAX, LINKS_IN_ROW_MAX, LOOKED_AT_MAX, PAGE_STREAMS_MAX};
