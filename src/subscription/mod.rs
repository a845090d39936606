//! The rules of a subscription (PROTOCOL.md 6 and 7): state and event in, new state out. Pure: no storage, no clock, no
//! waiting, no randomness of its own.
//!
//! A subscription is idle, or one wake is in flight. A wake has a generation, which only grows, and an id. Every request of
//! its holder must name both, so whatever comes late changes nothing.

pub mod delivery;
pub mod event;
pub mod lease;
pub mod link;
mod report;
pub mod response;
pub mod retry;
pub mod show;
mod state;
pub mod token;
pub mod wake;

pub use state::{Phase, Predecessor, State, StoredError, Subscription};
