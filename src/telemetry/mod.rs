//! Counters, as values. A new counter is a field in `counts.rs`; `src/cloudflare/telemetry/mod.rs` decides
//! where counters are sent.

pub mod awake;
pub mod counts;
pub mod exposition;
pub mod points;
pub mod totals;
