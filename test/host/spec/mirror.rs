//! The mirror: an index of segments outside the object. It follows the segments, whatever fails.

use super::rotation::{MANY, world_of};
use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::World;
use crate::support::bucket::BucketFault;
use crate::support::mirror::{HostMirror, MirrorFault};
use crate::support::sql::Fault;
use durable_streams::object::effect::Outcome;
use durable_streams::object::pending::RETRY;
use durable_streams::object::segment_index::{Delivery, NOTICES_AT_ONCE_MAX, REST_MAX, REST_MIN};
use durable_streams::storage::outbox::LISTED_AT_ONCE_MAX;
use durable_streams::stream::rotate::SegmentLimits;

const ANOTHER: &str = "POST | content-type: text/plain << another";
const PRODUCED: &str =
    "POST | content-type: text/plain | producer-id: p | producer-epoch: 0 | producer-seq: 0 << x";

/// A world with a mirror and with this many appends in a segment.
#[track_caller]
fn world_after(appends_max: u64, steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max, bytes_max: MANY, closed_bytes_min: 1 }));
    world.limit_mirror(true);
    world.run(steps);
    world
}

/// The mirrored segments, as incarnation and segment number.
fn listed(world: &World) -> Vec<String> {
    let short = |row: String| {
        let numbers: Vec<&str> =
            row.split("Integer(").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        format!("{}/{}", numbers[0], numbers[1])
    };
    world.mirror.rows().into_iter().map(short).collect()
}

/// The pending deliveries, one for each notice.
fn deliveries(world: &mut World, steps: &[&str]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for step in steps {
        world.run(&[step]);
        while let Some(delivery) = world.next_delivery() {
            world.delivered(&delivery);
            deliveries.push(delivery);
        }
    }
    deliveries
}

// What the mirror lists.

#[test]
fn mirror_lists_the_stored_segments() {
    let json = "POST | content-type: application/json << [1,2,3]";
    let table: [(&[&str], &[&str]); 11] = [
        (&[TEXT], &[]),
        (&[TEXT, HELLO], &[]),
        (&[TEXT, HELLO, HELLO], &["1/0"]),
        (&[TEXT, HELLO, HELLO, HELLO, HELLO, HELLO], &["1/0", "1/1"]),
        (&[TEXT, HELLO, HELLO, HELLO, CLOSE], &["1/0", "1/1"]),
        (&[JSON, json, json, json], &["1/0"]),
        (&[TEXT, HELLO, HELLO, "DELETE"], &[]),
        (&[TEXT, HELLO, HELLO, "DELETE", TEXT, HELLO, HELLO], &["2/2"]),
        (&[TEXT, "DELETE", TEXT, HELLO, HELLO, HELLO, HELLO], &["2/1", "2/2"]),
        (&["PUT | content-type: text/plain | stream-ttl: 60", HELLO, HELLO, "WAIT 61s", "RING", TEXT], &[]),
        (&[TEXT, HELLO, HELLO, "RESTART", HELLO, HELLO, "RESTART"], &["1/0", "1/1"]),
    ];
    for (steps, expected) in table {
        let world = world_after(2, steps);
        assert_eq!(listed(&world), expected, "{steps:?}");
        world.assert_mirror_is_true();
    }
}

/// Writes of one stream do not change the rows of another.
#[test]
fn streams_share_a_mirror() {
    let mut one = world_after(1, &[TEXT, HELLO, HELLO]);
    let mut other = World::new();
    other.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: MANY, closed_bytes_min: 1 }));
    other.limit_mirror(true);
    other.mirror = std::mem::take(&mut one.mirror);
    let there = "/v1/stream/chat/4";
    other.ask(&format!("PUT {there} | content-type: text/plain")).assert_is("201");
    other.ask(&format!("POST {there} | content-type: text/plain << x")).assert_is("204");
    assert_eq!(listed(&other), ["1/0", "1/0", "1/1"]);
    other.ask(&format!("DELETE {there}")).assert_is("204");
    assert_eq!(other.mirror.rows(), one.sql.segments_as_mirrored());
}

// Segments that the mirror does not receive, or receives later.

#[test]
fn without_mirror_or_rotation_nothing_is_written() {
    for segments in [Some(SegmentLimits { appends_max: 1, bytes_max: MANY, closed_bytes_min: 1 }), None] {
        for mirrors in [true, false] {
            let mut world = World::new();
            world.limit_segments(segments);
            world.limit_mirror(mirrors);
            world.run(&[TEXT, HELLO, HELLO, PRODUCED, CLOSE, "DELETE", TEXT]);
            let (has_segments, tables) = (segments.is_some(), world.sql.tables());
            assert_eq!(tables.contains(&"outbox".to_owned()), mirrors && has_segments, "{tables:?}");
            assert_eq!(world.mirror.rows_written() > 0, mirrors && has_segments);
        }
    }
    // A stream that has not rotated writes nothing for the mirror either.
    let mut world = world_after(3, &[TEXT, HELLO, "RESTART", HELLO, "RESTART"]);
    assert!(!world.sql.tables().contains(&"outbox".to_owned()));
    world.run(&["DELETE", "RESTART"]);
    world.ask("GET").assert_is("404");
    assert!(!world.sql.tables().contains(&"outbox".to_owned()));
}

/// The object writes a notice with the segment's row, and deletes it after delivery: two rows for each segment.
#[test]
fn mirror_costs_two_rows_per_segment() {
    for (appends_max, segments) in [(10, 20), (1, 200)] {
        let rows = [false, true].map(|mirrors| {
            let mut world = world_after(appends_max, &[TEXT]);
            world.limit_mirror(mirrors);
            world.sql.take_rows_written();
            world.run(&[HELLO; 200]);
            assert_eq!(world.bucket.objects.len() as u64, segments);
            assert_eq!(world.mirror.rows_written(), if mirrors { segments } else { 0 });
            let appended = world.sql.take_rows_written();
            world.run(&["DELETE"]);
            (appended, world.sql.take_rows_written())
        });
        assert_eq!(rows[1].0 - rows[0].0, 2 * segments);
        // One notice covers a batch of deleted segments.
        assert_eq!(rows[1].1 - rows[0].1, 2 * segments.div_ceil(100));
    }
}

#[test]
fn nothing_waits_for_the_mirror() {
    let mut world = world_after(1, &[TEXT]);
    world.tells_mirror = false;
    world.run(&[HELLO, HELLO, HELLO]);
    assert_eq!((world.bucket.objects.len(), listed(&world).len()), (3, 0));
    world.run(&["RESTART", HELLO, "DELETE", TEXT, HELLO]);
    world.assert_bucket_is_tidy();
    assert_eq!((world.bucket.objects.len(), listed(&world).len()), (1, 0));
    world.tell_mirror();
    world.assert_mirror_is_true();
}

/// Covers segments from before the mirror was turned on, or while it was off.
#[test]
fn mirror_turned_on_later_lists_earlier_segments() {
    let [three, end] = [[HELLO; 3].as_slice(), &["DELETE"]];
    let table: [(&[&[&str]], &[&str]); 9] = [
        // Steps without a mirror, then with, then without, then with. `HEAD` only loads the object.
        (&[&[TEXT], three], &["1/0", "1/1", "1/2"]),
        (&[three, &["HEAD"]], &["1/0", "1/1", "1/2"]),
        (&[three, &[HELLO]], &["1/0", "1/1", "1/2", "1/3"]),
        (&[&[HELLO, CLOSE], &["HEAD"]], &["1/0"]),
        (&[&[], three, three, &["HEAD"]], &["1/0", "1/1", "1/2", "1/3", "1/4", "1/5"]),
        // The mirror lists segments that are deleted while it is off.
        (&[&[], three, end, &[]], &["1/0", "1/1", "1/2"]),
        (&[&[], three, end, &["GET"]], &[]),
        (&[&[], three, &["DELETE", TEXT], &["HEAD"]], &[]),
        (&[&[], three, &["DELETE", TEXT, HELLO], &["HEAD"]], &["2/4"]),
    ];
    for (phases, expected) in table {
        let mut world = world_after(1, &[]);
        world.limit_mirror(false);
        world.run(&[TEXT]);
        for (steps, mirrors) in phases.iter().zip([false, true, false, true]) {
            world.limit_mirror(mirrors);
            for step in *steps {
                world.ask(step);
            }
        }
        assert_eq!(listed(&world), expected, "{phases:?}");
    }
}

/// The mirror missed more segments than the object looks through at once.
#[test]
fn mirror_turned_on_later_lists_many_segments() {
    let segments = 2 * LISTED_AT_ONCE_MAX as usize + 1;
    let mut world = world_after(1, &[TEXT]);
    world.limit_mirror(false);
    world.run(&vec![HELLO; segments]);
    world.limit_mirror(true);
    world.run(&[HELLO]);
    assert_eq!(listed(&world).len(), segments + 1);
    world.assert_mirror_is_true();
}

/// Segments of an earlier incarnation are about to be deleted, and their content type is no longer known.
#[test]
fn mirror_turned_on_later_skips_earlier_incarnations() {
    for restarts in [false, true] {
        let mut world = world_of(1, &["a", "b"], &[]);
        world.rotates = false;
        world.run(&[HELLO, "DELETE"]);
        world.limit_mirror(true);
        world.ask("GET").assert_is("404");
        assert!(world.mirror.rows().is_empty());
        world.limit_mirror(false);
        world.run(&[JSON]);
        world.limit_mirror(true);
        if restarts {
            world.restart();
        }
        world.ask("HEAD").assert_is("200");
        assert!(world.mirror.rows().is_empty());
        world.run(&["POST | content-type: application/json << 1"]);
        world.work();
        world.tell_mirror();
        assert_eq!(listed(&world), ["2/4"]);
        world.assert_mirror_is_true();
    }
}

// Faults.

#[test]
fn failed_delivery_is_retried() {
    for fault in [MirrorFault::Fails, MirrorFault::FailsButStored, MirrorFault::FailsAndArrivesLate] {
        for restarts in [false, true] {
            let mut world = world_after(1, &[TEXT]);
            for step in [HELLO, HELLO, "DELETE", TEXT, ANOTHER] {
                world.mirror.arm(fault);
                world.run(&[step]);
                if restarts {
                    world.restart();
                } else {
                    world.now += REST_MIN;
                }
                world.ask("HEAD");
                world.assert_bucket_is_tidy();
                world.assert_mirror_is_true();
            }
            while world.mirror.let_one_arrive(&mut fastrand::Rng::with_seed(1)) {}
            world.assert_mirror_is_true();
        }
    }
}

/// The mirror has accepted the notice, but storing that failed, or its result is unknown.
#[test]
fn delivery_is_repeated_until_its_notice_is_deleted() {
    for fault in [Fault::Statement(0), Fault::Commit, Fault::CommitButStored] {
        let mut world = world_after(1, &[TEXT]);
        world.tells_mirror = false;
        for steps in [&[HELLO][..], &[HELLO], &["DELETE"], &[TEXT, ANOTHER]] {
            world.run(steps);
            let delivery = world.next_delivery().unwrap();
            assert_eq!(world.mirror.take(&delivery), Outcome::Done);
            world.sql.arm(fault);
            world.delivered(&delivery);
            assert!(world.sql.disarm());
            world.now += RETRY;
            world.ask("HEAD");
            world.tell_mirror();
            world.assert_mirror_is_true();
        }
    }
}

/// Segments that are not uploaded are not listed. Segments that are not deleted stay listed.
#[test]
fn mirror_matches_the_bucket_when_the_bucket_fails() {
    for fault in [BucketFault::Fails, BucketFault::FailsButStored] {
        let mut world = world_after(1, &[TEXT]);
        world.bucket.arm(fault);
        world.run(&[HELLO]);
        assert!(listed(&world).is_empty());
        world.now += RETRY;
        world.ask("HEAD");
        assert_eq!(listed(&world), ["1/0"]);
        world.bucket.arm(fault);
        world.run(&["DELETE"]);
        assert_eq!(listed(&world), ["1/0"]);
        world.now += RETRY;
        world.ask("HEAD");
        assert!(listed(&world).is_empty());
    }
}

/// Repeated and late deliveries do not bring a deleted segment back.
#[test]
fn deliveries_converge_in_any_order() {
    let steps = [TEXT, HELLO, HELLO, CLOSE, "DELETE", TEXT, HELLO, HELLO, "DELETE", TEXT, ANOTHER];
    let mut world = world_after(1, &[]);
    world.tells_mirror = false;
    let deliveries = deliveries(&mut world, &steps);
    assert_eq!(deliveries.len(), 7);
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut shuffled = [&deliveries[..], &deliveries[..]].concat();
        random.shuffle(&mut shuffled);
        world.mirror = HostMirror::default();
        for delivery in &shuffled {
            world.mirror.carry_out(delivery);
        }
        assert_eq!(listed(&world), ["3/6"], "seed {seed}");
        world.assert_mirror_is_true();
    }
}

#[test]
fn pending_notices_are_delivered_in_batches() {
    for restarts in [false, true] {
        let mut world = world_after(1, &[TEXT]);
        world.tells_mirror = false;
        world.run(&[HELLO; 250]);
        world.restart();
        let mut batches = Vec::new();
        while let Some(delivery) = world.next_delivery() {
            assert_eq!(world.mirror.take(&delivery), Outcome::Done);
            batches.push(delivery.statements[0].notices.matches("read_seq").count() as u64);
            if restarts && batches.len() == 2 {
                // The mirror has accepted the batch, but the object does not know: it sends it again.
                world.restart();
                world.ask("HEAD");
                continue;
            }
            world.delivered(&delivery);
        }
        let all = NOTICES_AT_ONCE_MAX;
        assert_eq!(batches, if restarts { vec![all, all, all, 50] } else { vec![all, all, 50] });
        world.assert_mirror_is_true();
    }
}

/// The longer the mirror fails, the longer the object waits between attempts. The log says since when it has failed.
#[test]
fn retries_to_a_failing_mirror_back_off() {
    let mut world = world_after(1, &[TEXT]);
    world.tells_mirror = false;
    world.run(&[HELLO, "WAIT 5s", HELLO, "RESTART"]);
    let delivery = world.next_delivery().unwrap();
    let failure = delivery.failure("no such table");
    let expected = "mirror segments: notices: 2, the oldest of 2030-01-01T00:00:00Z: no such table";
    assert_eq!(failure.to_string(), expected);
    let start = world.now - 5_000;
    for (age, rest) in [
        (0, REST_MIN),
        (REST_MIN, REST_MIN),
        (REST_MIN + 1, REST_MIN + 1),
        (20 * REST_MIN, 20 * REST_MIN),
        (REST_MAX + 1, REST_MAX),
        (1000 * REST_MAX, REST_MAX),
    ] {
        let now = start + age;
        assert_eq!(delivery.again_at(now), now + rest, "after {age} ms");
    }
    // The clock went backwards.
    assert_eq!(delivery.again_at(start - 1), start - 1 + REST_MIN);
    assert_eq!((REST_MIN, REST_MAX), (60_000, 3_600_000));
}
