//! What is counted, as values. Something new to count is a field of `counts.rs`. Where counts go is up to
//! `src/cloudflare/telemetry/mod.rs`.

pub mod awake;
pub mod counts;
pub mod totals;
