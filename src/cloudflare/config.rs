//! Configuration: the `[vars]` of wrangler.toml.

use worker::Env;

use crate::object::Limits;
use crate::protocol::Millis;
use crate::stream::rotate::SegmentLimits;

/// The smallest chunk: a read must get on.
const CHUNK_MIN_BYTES: u64 = 1 << 10;

/// The largest `SEGMENT_MAX_BYTES`: a segment is in memory while it is put into the bucket.
const SEGMENT_LIMIT_BYTES: u64 = 16 << 20;

/// What a deployment chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    /// When an SSE response ends, so that its client asks again.
    pub(super) sse_lifetime: Millis,
    /// Bounds of one stream.
    pub(super) limits: Limits,
    /// Whether debug lines are logged.
    pub(super) debug: bool,
}

impl Config {
    /// Reads the variables; what is missing or no positive number has its default.
    pub(super) fn of(env: &Env) -> Config {
        let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let number = |name: &str, default: u64| {
            text(name).and_then(|value| value.parse().ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Config {
            sse_lifetime: number("SSE_LIFETIME_SECONDS", 60) * 1000,
            limits: Limits {
                long_poll_timeout: number("LONG_POLL_TIMEOUT_SECONDS", 20) * 1000,
                chunk_max_bytes: number("CHUNK_MAX_BYTES", 1 << 20).clamp(CHUNK_MIN_BYTES, 1 << 24) as usize,
                segments: Some(SegmentLimits {
                    appends_max: number("SEGMENT_MAX_MESSAGES", 1000),
                    bytes_max: number("SEGMENT_MAX_BYTES", 4 << 20).min(SEGMENT_LIMIT_BYTES),
                }),
            },
            debug: text("LOG_LEVEL").is_some_and(|level| level == "debug"),
        }
    }
}
