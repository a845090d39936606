//! The CPU time that one SSE response may use in the Worker.

use durable_streams::edge::cpu::{CPU_LIMIT_MS, CpuAllowance, Work};
use durable_streams::protocol::Millis;

/// How often a response can do this work until its allowance is spent.
fn times_until_spent(limit: Millis, work: Work) -> u64 {
    let mut allowance = CpuAllowance::of(limit);
    for time in 1.. {
        allowance.spend(work);
        if allowance.is_spent() {
            return time;
        }
    }
    unreachable!("the allowance is finite")
}

#[test]
fn sse_response_uses_half_of_the_cpu_limit() {
    let heartbeat = Work::Write { bytes: 3 };
    let table = [
        // The paid plan: an append every 36 ms for an hour.
        (CPU_LIMIT_MS, heartbeat, 99_990),
        (CPU_LIMIT_MS, Work::Write { bytes: 1 << 20 }, 2_913),
        (CPU_LIMIT_MS, Work::PassOn { bytes: 4 << 20 }, 750),
        (CPU_LIMIT_MS, Work::Ask, 13_635),
        (CPU_LIMIT_MS, Work::Wait, 149_985),
        // The largest limit that can be configured.
        (300_000, heartbeat, 999_990),
        // The free plan: heartbeats for 6 minutes, and fewer calls to objects than its 50 subrequests.
        (10, heartbeat, 24),
        (10, Work::Ask, 4),
        (10, Work::PassOn { bytes: 256 << 10 }, 3),
        // Whatever the limit, a response passes on something.
        (1, heartbeat, 1),
        (0, Work::PassOn { bytes: 0 }, 1),
    ];
    for (limit, work, expected) in table {
        assert_eq!(times_until_spent(limit, work), expected, "{work:?} in {limit} ms");
    }
}

#[test]
fn all_kinds_of_work_share_one_allowance() {
    let mut allowance = CpuAllowance::of(10);
    let some = [Work::Ask, Work::PassOn { bytes: 256 << 10 }, Work::Write { bytes: 100 }, Work::Wait];
    for work in some {
        assert!(!allowance.is_spent(), "before {work:?}");
        allowance.spend(work);
    }
    allowance.spend(Work::Ask);
    assert!(allowance.is_spent());
}
