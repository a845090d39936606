//! The counters of `src/telemetry`.

use durable_streams::telemetry::awake::{Awake, IDLE_MAX};
use durable_streams::telemetry::counts::RowCounts;
use durable_streams::telemetry::totals::{OBJECTS_MAX, Totals};
use serde_json::{Value, json};

fn summary(totals: &Totals, now: u64) -> Value {
    serde_json::from_str(&totals.to_json(now)).unwrap()
}

#[test]
fn object_is_busy_while_any_event_is_in_progress() {
    let mut awake = Awake::default();
    awake.begin(1_000);
    awake.begin(1_100);
    awake.end(1_200);
    awake.end(1_500);
    assert_eq!((awake.busy_ms, awake.idle_ms), (500, 0));
    // An unmatched end has no effect.
    awake.end(1_600);
    assert_eq!((awake.busy_ms, awake.idle_ms), (500, 100));
}

#[test]
fn object_without_events_is_idle_for_at_most_ten_seconds() {
    let mut awake = Awake::default();
    awake.begin(1_000);
    awake.end(1_010);
    let later = awake.until(1_010 + 3_000);
    assert_eq!((later.busy_ms, later.idle_ms), (10, 3_000));
    let later = awake.until(1_010 + 60_000);
    assert_eq!((later.busy_ms, later.idle_ms), (10, IDLE_MAX));
    awake.begin(1_010 + 60_000);
    let later = awake.until(1_010 + 60_007);
    assert_eq!((later.busy_ms, later.idle_ms), (17, IDLE_MAX), "a late event adds at most 10 s of idle time");
}

#[test]
fn summary_has_all_counters_and_both_times() {
    let mut totals = Totals::default();
    totals.counts.worker_requests += 2;
    totals.counts.rows_read += 5;
    totals.counts.mirror_rows_written += 7;
    let one = totals.begin("/v1/stream/one".to_owned(), 1_000);
    let again = totals.begin("/v1/stream/one".to_owned(), 1_000);
    assert_eq!(one, again);
    let other = totals.begin("/v1/stream/other".to_owned(), 1_000).unwrap();
    totals.end(other, 1_030);
    let expected = json!({
        "worker_requests": 2,
        "object_requests": 0,
        "alarms_rung": 0,
        "alarms_set": 0,
        "rows_read": 5,
        "rows_written": 0,
        "sockets_opened": 0,
        "socket_closes_received": 0,
        "socket_messages_sent": 0,
        "bucket_class_a": 0,
        "bucket_class_b": 0,
        "kv_reads": 0,
        "mirror_rows_written": 7,
        "objects": 2,
        "objects_left_out": 0,
        "object_busy_ms": 100 + 30,
        "object_idle_ms": 70,
    });
    assert_eq!(summary(&totals, 1_100), expected);
}

#[test]
fn objects_above_the_limit_are_only_counted() {
    let mut totals = Totals::default();
    for object in 0..OBJECTS_MAX {
        assert!(totals.begin(object.to_string(), 1_000).is_some());
    }
    assert_eq!(totals.begin("another".to_owned(), 1_000), None);
    assert!(
        totals.begin("0".to_owned(), 1_000).is_some(),
        "an object that is already measured stays measured"
    );
    let told = summary(&totals, 1_000);
    assert_eq!((&told["objects"], &told["objects_left_out"]), (&json!(OBJECTS_MAX), &json!(1)));
}

#[test]
fn row_counts_add_up_by_kind() {
    let sum = RowCounts { read: 1, written: 2 } + RowCounts { read: 30, written: 40 };
    assert_eq!(sum, RowCounts { read: 31, written: 42 });
}
