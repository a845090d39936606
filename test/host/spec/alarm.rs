//! The object's one alarm: it is set for the earliest effect that must happen without a request.

use super::rotation::{world_after, world_of};
use super::{CLOSE, HELLO, TEXT};
use crate::support::World;
use crate::support::bucket::BucketFault;
use crate::support::mirror::MirrorFault;
use crate::support::sql::Fault;
use crate::support::world::START;
use durable_streams::object::effect::Outcome;
use durable_streams::object::pending::{RETRY, RINGS_MAX};
use durable_streams::object::segment_index::REST_MIN;

const TTL: &str = "PUT | content-type: text/plain | stream-ttl: 3600";
const TTL_MS: u64 = 3_600_000;
const SOON: &str = "PUT | content-type: text/plain | stream-ttl: 30";
const CLOSING: &str = "POST | content-type: text/plain | stream-closed: true << end";

/// A world whose object dies after it has answered the steps and before it has written to the bucket.
fn world_that_died_before_rotating(steps: &[&str]) -> World {
    let mut world = world_after(2, &[]);
    world.rotates = false;
    world.run(steps);
    world.assert_nothing_is_forgotten();
    world.restart();
    world.rotates = true;
    world
}

/// Rings the alarm, without any request, until none is set. Returns how often it rang.
fn ring_until_no_alarm(world: &mut World) -> u32 {
    let mut rings = 0;
    while let Some(at) = world.alarm_at() {
        world.now = world.now.max(at);
        world.ring();
        rings += 1;
        assert!(rings < 100, "the alarm is set again and again");
    }
    rings
}

#[test]
fn alarm_uploads_sealed_segments_after_a_crash() {
    let full = "PUT | content-type: text/plain | stream-closed: true << 01234567";
    for (steps, segments) in [
        (&[TEXT, HELLO, HELLO][..], 1),
        (&[TEXT, HELLO, HELLO, HELLO, HELLO], 2),
        (&[TEXT, HELLO, CLOSE], 1),
        (&[TEXT, CLOSING], 1),
        (&[full], 1),
        (&[TEXT, HELLO, HELLO, "WAIT 10s", HELLO, HELLO], 2),
    ] {
        let mut world = world_that_died_before_rotating(steps);
        assert_eq!(world.alarm_at(), Some(START + RETRY), "{steps:?}");
        assert_eq!(world.alarms_set(), 1);
        assert_eq!(ring_until_no_alarm(&mut world), 1);
        assert_eq!(world.bucket.objects.len(), segments, "{steps:?}");
        world.assert_bucket_is_tidy();
    }
    for steps in [&[TEXT][..], &[TEXT, HELLO], &[TEXT, CLOSE], &[TEXT, HELLO, "DELETE"]] {
        assert_eq!(world_that_died_before_rotating(steps).alarm_at(), None, "{steps:?}");
    }
}

#[test]
fn deleted_stream_is_collected_by_the_alarm() {
    let mut world = world_of(2, &["a", "b", "c", "d"], &["WAIT 100s"]);
    assert_eq!(world.bucket.objects.len(), 2);
    world.rotates = false;
    world.run(&["DELETE", "RESTART"]);
    world.rotates = true;
    assert_eq!(world.alarm_at(), Some(world.now + RETRY));
    ring_until_no_alarm(&mut world);
    assert!(world.bucket.objects.is_empty());
    world.assert_bucket_is_tidy();
    // The same for a stream that has expired, which the object notices at the next request.
    let mut world = world_after(2, &[SOON, HELLO, HELLO, "WAIT 31s"]);
    world.rotates = false;
    world.ask("GET").assert_is("404");
    assert_eq!(world.alarm_at(), Some(world.now + RETRY));
    world.restart();
    world.rotates = true;
    ring_until_no_alarm(&mut world);
    assert!(world.bucket.objects.is_empty());
}

/// A stream with a lifetime has an alarm already. That alarm also does what a crash left undone.
#[test]
fn rotation_does_not_set_a_second_alarm() {
    let mut world = world_that_died_before_rotating(&[TTL, HELLO, HELLO]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(START + TTL_MS), 1));
    for _ in 0..10 {
        world.run(&["WAIT 1s", HELLO, HELLO, "RESTART", HELLO, HELLO]);
    }
    assert_eq!(world.bucket.objects.len(), 21);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(START + TTL_MS), 1));
    // The append extended the TTL, so the alarm is set again. The first ring uploads the segment.
    let mut world = world_that_died_before_rotating(&[TTL, "WAIT 100s", HELLO, HELLO]);
    world.now = START + TTL_MS;
    world.ring();
    assert_eq!(world.bucket.objects.len(), 1);
    assert_eq!(world.alarm_at(), Some(START + TTL_MS + 100_000));
    assert_eq!(ring_until_no_alarm(&mut world), 1);
    assert!(world.bucket.objects.is_empty());
    world.ask("HEAD").assert_is("404");
}

#[test]
fn alarm_is_set_for_the_earliest_of_retry_and_expiry() {
    // The bucket fails: the retry comes before the expiry if the expiry is later.
    for (put, ends_at) in [(TTL, TTL_MS), (SOON, 30_000)] {
        for fault in [BucketFault::Fails, BucketFault::FailsButStored] {
            let mut world = world_after(2, &[put, HELLO]);
            world.bucket.arm(fault);
            world.run(&[HELLO]);
            assert_eq!(world.alarm_at(), Some(START + RETRY.min(ends_at)));
            ring_until_no_alarm(&mut world);
            assert!(world.bucket.objects.is_empty());
            world.assert_bucket_is_tidy();
            world.ask("HEAD").assert_is("404");
        }
    }
    // One incarnation left objects in the bucket, and the next one has a lifetime.
    for (put, ends_at) in [(TTL, TTL_MS), (SOON, 30_000)] {
        let mut world = world_of(2, &["a", "b"], &[]);
        world.rotates = false;
        world.run(&["DELETE", put]);
        assert_eq!(world.alarm_at(), Some(START + RETRY.min(ends_at)));
        world.restart();
        world.rotates = true;
        world.now = world.alarm_at().unwrap();
        world.ring();
        assert!(world.bucket.objects.is_empty());
        let still_to_come = (ends_at > RETRY).then_some(START + ends_at);
        assert_eq!(world.alarm_at(), still_to_come);
    }
}

/// The object retries for as long as the bucket fails, and no longer.
#[test]
fn failed_upload_is_retried_by_the_alarm() {
    let mut world = world_of(2, &["a"], &[]);
    world.bucket.arm(BucketFault::Fails);
    world.run(&[HELLO]);
    for tries in 1..5 {
        assert_eq!(world.alarm_at(), Some(START + tries * RETRY));
        world.now += RETRY;
        world.bucket.arm(BucketFault::Fails);
        world.ring();
    }
    assert!(world.bucket.objects.is_empty());
    assert_eq!(ring_until_no_alarm(&mut world), 1);
    assert_eq!(world.bucket.objects.len(), 1);
    world.assert_bucket_is_tidy();
}

/// Writes to the mirror back off on their own schedule, and use the same alarm.
#[test]
fn failed_mirror_write_is_retried_with_backoff() {
    let mut world = world_after(1, &[]);
    world.limit_mirror(true);
    world.mirror.arm(MirrorFault::Fails);
    world.run(&[TEXT, HELLO]);
    assert_eq!(world.alarm_at(), Some(START + RETRY));
    for rests in [REST_MIN, 2 * REST_MIN, 4 * REST_MIN] {
        world.now = world.alarm_at().unwrap();
        world.mirror.arm(MirrorFault::Fails);
        world.ring();
        assert_eq!(world.alarm_at(), Some(world.now + rests));
    }
    assert_eq!(ring_until_no_alarm(&mut world), 1);
    world.assert_mirror_is_true();
    // The stream may expire before the retry.
    let mut world = world_after(1, &[]);
    world.limit_mirror(true);
    world.mirror.arm(MirrorFault::Fails);
    world.run(&[SOON, HELLO]);
    assert_eq!(world.alarm_at(), Some(START + 30_000));
    ring_until_no_alarm(&mut world);
    world.assert_mirror_is_true();
}

/// Each time the object sets the alarm, the platform bills a row: one a minute, whatever the number of segments.
#[test]
fn busy_stream_sets_the_alarm_once_a_minute() {
    let mut world = world_after(2, &[TEXT]);
    for _ in 0..600 {
        world.run(&["WAIT 1s", HELLO]);
        if world.alarm_at().is_some_and(|at| at <= world.now) {
            world.ring();
        }
    }
    assert_eq!(world.bucket.objects.len(), 300);
    assert!((8..=10).contains(&world.alarms_set()), "{}", world.alarms_set());
    // A stream that fills one segment in a long time sets it once.
    world.run(&["WAIT 1000s"]);
    ring_until_no_alarm(&mut world);
    let before = world.alarms_set();
    world.run(&[HELLO, "WAIT 100s", HELLO]);
    ring_until_no_alarm(&mut world);
    assert_eq!(world.alarms_set(), before + 1);
}

/// If a commit fails in the alarm, memory does not know that the alarm has rung. A stream with a lifetime must still
/// have an alarm.
#[test]
fn alarm_is_set_again_when_storage_fails_while_it_rings() {
    for fault in [Fault::Commit, Fault::CommitButStored] {
        let mut world = world_that_died_before_rotating(&[TTL, HELLO, HELLO]);
        world.now = world.alarm_at().unwrap();
        world.sql.arm(fault);
        world.ring();
        assert!(world.sql.disarm(), "the fault was used");
        assert!(
            world.alarm_at().is_some_and(|at| at <= world.now + RETRY),
            "{fault:?}: {:?}",
            world.alarm_at()
        );
        ring_until_no_alarm(&mut world);
        world.assert_bucket_is_tidy();
        assert!(world.bucket.objects.is_empty(), "the stream has expired");
    }
}

/// A stream may be stored although its PUT failed. The next effect's alarm also covers its expiry.
#[test]
fn stream_stored_by_a_failed_create_expires() {
    let mut world = world_after(2, &[]);
    world.sql.arm(Fault::CommitButStored);
    world.ask(TTL).assert_is("500");
    world.run(&[HELLO, HELLO]);
    assert!(world.alarm_at().is_some());
    ring_until_no_alarm(&mut world);
    assert!(world.bucket.objects.is_empty(), "the stream has expired");
}

/// The same where the object dies at once: the restarted object assumes that every stored stream already has its
/// alarm.
#[test]
fn stream_stored_by_a_failed_create_expires_after_a_restart() {
    for fault in [Fault::Commit, Fault::CommitButStored] {
        let mut world = world_after(2, &[]);
        world.sql.arm(fault);
        world.ask(TTL).assert_is("500");
        assert!(world.alarm_at().is_some_and(|at| at <= world.now + RETRY), "{fault:?}");
        world.restart();
        ring_until_no_alarm(&mut world);
        assert_eq!(
            world.sql.has_ended(),
            fault == Fault::CommitButStored,
            "{fault:?}: a stored stream has expired without a request"
        );
    }
}

/// Reloading the stream from storage says nothing about the alarm. It has rung, and is not set until all effects that
/// it began have ended.
#[test]
fn alarm_is_set_again_when_the_stream_is_reloaded_while_it_rings() {
    let mut world = world_after(2, &[SOON]);
    world.rotates = false;
    world.run(&[HELLO, HELLO, HELLO, "WAIT 10s", "RESTART"]);
    world.ring();
    let work = world.next_work().unwrap();
    // To seal a segment, the object reads the producers first. That statement fails.
    world.sql.arm(Fault::Statement(0));
    world.ask(HELLO).assert_is("500");
    world.bucket.arm(BucketFault::Fails);
    let index = world.position(&|effect| *effect == work).unwrap();
    let failed = world.carry_out(index);
    world.end(index, failed);
    assert!(world.alarm_at().is_some_and(|at| at <= world.now + RETRY), "{:?}", world.alarm_at());
    world.rotates = true;
    ring_until_no_alarm(&mut world);
    world.ask("HEAD").assert_is("404");
}

/// The platform ends an alarm after 15 minutes, and the object with it.
#[test]
fn alarm_ends_in_time_while_segments_keep_filling() {
    let mut world = world_after(2, &[TEXT]);
    world.rotates = false;
    world.run(&[HELLO, HELLO, "WAIT 60s"]);
    world.ring();
    let rang_at = world.now;
    while world.shell.is_ringing() {
        assert!(world.now < rang_at + RINGS_MAX, "the alarm still rings after {} ms", world.now - rang_at);
        // The next segment is full before the last one has been uploaded.
        world.run(&["WAIT 1s", HELLO, HELLO]);
        let work = world.next_work().unwrap();
        assert_eq!(world.bucket.take(&work), Outcome::Done);
        world.done(&work);
    }
    assert!(
        world.alarm_at().is_some_and(|at| at <= world.now + RETRY),
        "an alarm is set for the unfinished upload"
    );
}
