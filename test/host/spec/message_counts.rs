//! How many messages came before each segment: own messages of the current incarnation, trimmed or not.

use durable_streams::stream::rotate::SegmentLimits;

use crate::support::{Family, Request, World};
use crate::versions::counts;

const THREE: SegmentLimits = SegmentLimits { appends_max: 3, bytes_max: 64 << 20, closed_bytes_min: 1 };

/// Runs the steps twice: without restarts, and with a restart after each step.
#[track_caller]
fn check(steps: &[&str], expected: &[(u64, Option<u64>, u64)]) {
    for restarts in [false, true] {
        let mut world = World::new();
        world.limit_segments(Some(THREE));
        for step in steps {
            world.run(&[step]);
            if restarts {
                world.restart();
            }
        }
        assert_eq!(counts(&world.sql), expected, "restarts: {restarts}");
    }
}

const JSON: &str = "PUT | content-type: application/json";
const ONE: &str = "POST | content-type: application/json << 0";
const BATCH: &str = "POST | content-type: application/json << [1,2,3,4]";
const BYTES: &str = "PUT | content-type: application/octet-stream << ab";
const SOME: &str = "POST | content-type: application/octet-stream << abc";

#[test]
fn json_values_are_counted() {
    check(&[JSON, ONE, BATCH, ONE], &[(0, Some(0), 6)]);
    check(
        &[JSON, ONE, BATCH, ONE, BATCH, BATCH, ONE, ONE, ONE, "POST | stream-closed: true"],
        &[(0, Some(0), 6), (1, Some(6), 9), (2, Some(15), 2)],
    );
}

#[test]
fn appends_of_bytes_are_counted_by_row() {
    check(&[BYTES, SOME, SOME, SOME, SOME, SOME], &[(0, Some(0), 3), (1, Some(3), 3)]);
    // A large append counts as its rows.
    let mut world = World::new();
    world.limit_segments(Some(THREE));
    world.run(&[BYTES]);
    let large = Request::parse("POST | content-type: application/octet-stream").body(vec![7; (1 << 20) + 1]);
    world.send_answered(&large).assert_is("204");
    world.run(&[SOME, SOME, SOME, SOME]);
    assert_eq!(counts(&world.sql), [(0, Some(0), 4), (1, Some(4), 3)]);
}

#[test]
fn trimmed_messages_still_count() {
    let put = "PUT | content-type: application/json | stream-retention: 60";
    // Retention leaves the last segment only, then no segment and no row.
    let steps = [put, ONE, BATCH, ONE, "WAIT 50s", ONE, ONE, ONE, "WAIT 20s", "HEAD"];
    check(&steps, &[(1, Some(6), 3)]);
    let then_none = [&steps[..], &["WAIT 60s", "HEAD"]].concat();
    check(&then_none, &[]);
    check(&[&then_none[..], &[BATCH, BATCH, ONE]].concat(), &[(2, Some(9), 9)]);
    check(
        &[&then_none[..], &[BATCH, BATCH, ONE, "WAIT 61s", "HEAD", ONE, ONE, ONE]].concat(),
        &[(3, Some(18), 3)],
    );
}

#[test]
fn count_starts_at_zero_in_each_incarnation() {
    check(&[JSON, ONE, ONE, ONE, ONE, "DELETE", JSON, BATCH, ONE, ONE], &[(2, Some(0), 6)]);
    // Rows of the previous incarnation may still exist.
    let mut world = World::new();
    world.limit_segments(Some(THREE));
    world.run(&[JSON, ONE, ONE, ONE, ONE]);
    world.rotates = false;
    world.run(&["DELETE", JSON, BATCH, ONE, ONE]);
    world.restart();
    world.rotates = true;
    world.run(&[ONE]);
    assert_eq!(counts(&world.sql).last(), Some(&(2, Some(0), 6)));
}

/// Inherited messages do not count, wherever the fork point is.
#[test]
fn fork_counts_its_own_messages_only() {
    let mut family =
        Family::with(1, 1 << 20, Some(THREE), durable_streams::stream::retain::RetentionDefaults::default());
    let to =
        |path: &str, body: &str| format!("POST /v1/stream/{path} | content-type: application/json << {body}");
    family.run(&["PUT /v1/stream/a | content-type: application/json"]);
    (0..5).for_each(|_| family.run(&[&to("a", "[1,2]")]));
    family.run(&["PUT /v1/stream/b | stream-forked-from: /v1/stream/a | stream-fork-offset: @1_1 << [3]"]);
    for body in ["4", "[5,6]", "7", "CRASH", "[8,9]", "10"] {
        let step = if body == "CRASH" { "CRASH b".to_owned() } else { to("b", body) };
        family.run(&[&step]);
    }
    assert_eq!(counts(&family.member("a").sql), [(0, Some(0), 6)]);
    assert_eq!(counts(&family.member("b").sql), [(1, Some(0), 4), (2, Some(4), 4)]);
}
