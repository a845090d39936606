//! The time that an object is in memory, divided into busy and idle time.

use crate::protocol::Millis;

/// How long an object stays in memory after its last event before it hibernates: about 10 s, in milliseconds.
pub const IDLE_MAX: Millis = 10_000;

/// The awake time of one object. Cloudflare bills the busy time. It does not bill the 10 s before hibernation
/// (pricing page: "idle and eligible for hibernation are not billed for duration, even before the runtime has
/// hibernated them"). They are counted separately, for a conservative estimate of the bill.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awake {
    /// The number of events in progress.
    events: u32,
    /// The last update of the times below.
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

    /// Adds the time since the last update to the busy or the idle time.
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
