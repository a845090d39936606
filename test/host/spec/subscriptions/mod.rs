//! Subscriptions (PROTOCOL.md 6 and 7): tables for the state machine, and the contract over a network of objects.

mod config;
mod contract;
mod faults;
mod found;
mod keys;
mod limits;
mod metrics;
mod patterns;
mod tokens;
mod webhook_urls;
