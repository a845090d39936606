//! What is counted, as values. Where counts go is up to `cloudflare/telemetry`.

pub mod awake;
pub mod counts;
pub mod totals;
