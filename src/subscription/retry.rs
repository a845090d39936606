//! Waits between attempts (PROTOCOL.md 7.1).

use crate::protocol::Millis;

/// The wait after the first failure.
const WAIT_MIN: Millis = 1_000;
/// The longest wait between two deliveries to a webhook, before jitter.
const WAIT_MAX: Millis = 60_000;
/// The wait after a delivery that the server could not send.
pub(super) const UNSENT_WAIT: Millis = 10_000;
/// The longest wait between two wake events that no worker claims.
const UNCLAIMED_MAX: Millis = 3_600_000;
/// The shortest wait for a claim of a wake event, as a time and in leases.
const UNCLAIMED_MIN: Millis = 600_000;
const UNCLAIMED_LEASES: u64 = 10;

/// The wait after this many failures in a row: 1, 2, 4 ... 60 seconds, 20 % more or less. `random` is any number; it
/// chooses the jitter.
pub fn after_failures(failures: u64, random: u64) -> Millis {
    let wait = doubled(WAIT_MIN, failures.saturating_sub(1)).min(WAIT_MAX);
    wait * 4 / 5 + random % (wait * 2 / 5 + 1)
}

/// The wait after this many wakes in a row without progress, because their leases expired or their holders released
/// them: none after the first, then 1, 2, 4 ... 60 seconds.
pub fn after_idle_wakes(idle_wakes: u64) -> Millis {
    match idle_wakes {
        0 | 1 => 0,
        more => doubled(WAIT_MIN, more - 2).min(WAIT_MAX),
    }
}

/// How long a wake event waits for a claim before it is written again, after this many unclaimed events in a row.
pub fn unclaimed(lease_ttl: Millis, events: u64) -> Millis {
    let first = (lease_ttl * UNCLAIMED_LEASES).max(UNCLAIMED_MIN);
    doubled(first, events.saturating_sub(1)).min(UNCLAIMED_MAX.max(first))
}

fn doubled(wait: Millis, times: u64) -> Millis {
    wait << times.min(16)
}
