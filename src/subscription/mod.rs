//! The state machine of a subscription (PROTOCOL.md 6 and 7): state and event in, new state out. It is pure: no
//! storage, no clock, no waiting, no source of randomness.
//!
//! A subscription is idle or has one wake in flight. A wake has an id and a generation that only grows. Every request
//! of its holder must name both, so a late request changes nothing.

pub mod delivery;
pub mod event;
pub mod lease;
pub mod link;
mod report;
pub mod response;
pub mod retry;
pub mod show;
mod state;
pub mod summarized;
mod summary;
mod token;
pub mod wake;

pub use state::{Phase, Predecessor, State, StoredError, Subscription};
