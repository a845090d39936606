//! How long an object is in memory, and how long of that it is busy.

use crate::protocol::Millis;

/// How long an object that could hibernate stays in memory: about 10 s after the end of its last event.
pub const IDLE_MAX: Millis = 10_000;

/// An object is billed while it is busy. The 10 s until it hibernates are not billed (Cloudflare's pricing page: "idle and
/// eligible for hibernation are not billed for duration, even before the runtime has hibernated them"); they are counted
/// apart, for a bill that is on the safe side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awake {
    /// Events that have begun and not ended.
    events: u32,
    /// When the times below were last brought up to date.
    since: Option<Millis>,
    pub busy_ms: Millis,
    pub idle_ms: Millis,
}

impl Awake {
    pub fn begin(&mut self, now: Millis) {
        *self = self.until(now);
        self.events += 1;
    }

    pub fn end(&mut self, now: Millis) {
        *self = self.until(now);
        self.events = self.events.saturating_sub(1);
    }

    /// The same, with the time up to now added to where it belongs.
    pub fn until(mut self, now: Millis) -> Awake {
        let passed = self.since.map_or(0, |since| now.saturating_sub(since));
        if self.events > 0 {
            self.busy_ms += passed;
        } else {
            self.idle_ms += passed.min(IDLE_MAX);
        }
        self.since = Some(now);
        self
    }
}
