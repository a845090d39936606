//! The alarm: one for all that is to happen without a request, at the time of what comes first.

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

/// A world that dies between what is asked of it and what it would do in the bucket.
fn world_that_died(steps: &[&str]) -> World {
    let mut world = world_after(2, &[]);
    world.rotates = false;
    world.run(steps);
    world.assert_nothing_is_forgotten();
    world.restart();
    world.rotates = true;
    world
}

/// Nobody asks any more: the alarm rings for as long as there is one.
fn rings(world: &mut World) -> u32 {
    let mut rings = 0;
    while let Some(at) = world.alarm_at() {
        world.now = world.now.max(at);
        world.ring();
        rings += 1;
        assert!(rings < 100, "the alarm never ends");
    }
    rings
}

#[test]
fn what_a_write_sealed_arrives_without_a_request() {
    let full = "PUT | content-type: text/plain | stream-closed: true << 01234567";
    for (steps, segments) in [
        (&[TEXT, HELLO, HELLO][..], 1),
        (&[TEXT, HELLO, HELLO, HELLO, HELLO], 2),
        (&[TEXT, HELLO, CLOSE], 1),
        (&[TEXT, CLOSING], 1),
        (&[full], 1),
        (&[TEXT, HELLO, HELLO, "WAIT 10s", HELLO, HELLO], 2),
    ] {
        let mut world = world_that_died(steps);
        assert_eq!(world.alarm_at(), Some(START + RETRY), "{steps:?}");
        assert_eq!(world.alarms_set(), 1);
        assert_eq!(rings(&mut world), 1);
        assert_eq!(world.bucket.objects.len(), segments, "{steps:?}");
        world.assert_bucket_is_tidy();
    }
    for steps in [&[TEXT][..], &[TEXT, HELLO], &[TEXT, CLOSE], &[TEXT, HELLO, "DELETE"]] {
        assert_eq!(world_that_died(steps).alarm_at(), None, "{steps:?}");
    }
}

#[test]
fn what_a_delete_left_goes_without_a_request() {
    let mut world = world_of(2, &["a", "b", "c", "d"], &["WAIT 100s"]);
    assert_eq!(world.bucket.objects.len(), 2);
    world.rotates = false;
    world.run(&["DELETE", "RESTART"]);
    world.rotates = true;
    assert_eq!(world.alarm_at(), Some(world.now + RETRY));
    rings(&mut world);
    assert!(world.bucket.objects.is_empty());
    world.assert_bucket_is_tidy();
    // The same of one that has expired, as whoever asks finds out.
    let mut world = world_after(2, &[SOON, HELLO, HELLO, "WAIT 31s"]);
    world.rotates = false;
    world.ask("GET").assert_is("404");
    assert_eq!(world.alarm_at(), Some(world.now + RETRY));
    world.restart();
    world.rotates = true;
    rings(&mut world);
    assert!(world.bucket.objects.is_empty());
}

/// A stream that ends by itself has its alarm: sealing sets none, and what a crash left is done when that one rings.
#[test]
fn one_alarm_for_two_purposes() {
    let mut world = world_that_died(&[TTL, HELLO, HELLO]);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(START + TTL_MS), 1));
    for _ in 0..10 {
        world.run(&["WAIT 1s", HELLO, HELLO, "RESTART", HELLO, HELLO]);
    }
    assert_eq!(world.bucket.objects.len(), 21);
    assert_eq!((world.alarm_at(), world.alarms_set()), (Some(START + TTL_MS), 1));
    // It was used, so the alarm rings again; what was left is done at the first.
    let mut world = world_that_died(&[TTL, "WAIT 100s", HELLO, HELLO]);
    world.now = START + TTL_MS;
    world.ring();
    assert_eq!(world.bucket.objects.len(), 1);
    assert_eq!(world.alarm_at(), Some(START + TTL_MS + 100_000));
    assert_eq!(rings(&mut world), 1);
    assert!(world.bucket.objects.is_empty());
    world.ask("HEAD").assert_is("404");
}

#[test]
fn what_comes_first_has_the_alarm() {
    // The bucket fails: tried again before the stream's end, if that is further away.
    for (put, ends_at) in [(TTL, TTL_MS), (SOON, 30_000)] {
        for fault in [BucketFault::Fails, BucketFault::FailsButStored] {
            let mut world = world_after(2, &[put, HELLO]);
            world.bucket.arm(fault);
            world.run(&[HELLO]);
            assert_eq!(world.alarm_at(), Some(START + RETRY.min(ends_at)));
            rings(&mut world);
            assert!(world.bucket.objects.is_empty());
            world.assert_bucket_is_tidy();
            world.ask("HEAD").assert_is("404");
        }
    }
    // What is left of one life, and the end of the next.
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

/// For as long as the bucket fails, and no longer.
#[test]
fn a_bucket_that_fails_is_tried_again() {
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
    assert_eq!(rings(&mut world), 1);
    assert_eq!(world.bucket.objects.len(), 1);
    world.assert_bucket_is_tidy();
}

/// The mirror rests on its own, and has the same alarm.
#[test]
fn a_mirror_that_fails_is_told_again() {
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
    assert_eq!(rings(&mut world), 1);
    world.assert_mirror_is_true();
    // The stream's end may come before.
    let mut world = world_after(1, &[]);
    world.limit_mirror(true);
    world.mirror.arm(MirrorFault::Fails);
    world.run(&[SOON, HELLO]);
    assert_eq!(world.alarm_at(), Some(START + 30_000));
    rings(&mut world);
    world.assert_mirror_is_true();
}

/// Each time that the alarm is set is a billed row: one a minute, however many segments there are.
#[test]
fn a_busy_stream_sets_it_once_a_minute() {
    let mut world = world_after(2, &[TEXT]);
    for _ in 0..600 {
        world.run(&["WAIT 1s", HELLO]);
        if world.alarm_at().is_some_and(|at| at <= world.now) {
            world.ring();
        }
    }
    assert_eq!(world.bucket.objects.len(), 300);
    assert!((8..=10).contains(&world.alarms_set()), "{}", world.alarms_set());
    // One segment in a long time sets it once.
    world.run(&["WAIT 1000s"]);
    rings(&mut world);
    let before = world.alarms_set();
    world.run(&[HELLO, "WAIT 100s", HELLO]);
    rings(&mut world);
    assert_eq!(world.alarms_set(), before + 1);
}

/// What the alarm began may fail, and then memory does not know that it has rung: a stream that ends by itself has one again.
#[test]
fn storage_fails_while_the_alarm_rings() {
    for fault in [Fault::Commit, Fault::CommitButStored] {
        let mut world = world_that_died(&[TTL, HELLO, HELLO]);
        world.now = world.alarm_at().unwrap();
        world.sql.arm(fault);
        world.ring();
        assert!(world.sql.disarm(), "it struck");
        assert!(
            world.alarm_at().is_some_and(|at| at <= world.now + RETRY),
            "{fault:?}: {:?}",
            world.alarm_at()
        );
        rings(&mut world);
        world.assert_bucket_is_tidy();
        assert!(world.bucket.objects.is_empty(), "it has ended");
    }
}

/// A stream may be there although its PUT failed: what is to happen next sees to its end, too.
#[test]
fn a_creation_that_failed_but_is_stored() {
    let mut world = world_after(2, &[]);
    world.sql.arm(Fault::CommitButStored);
    world.ask(TTL).assert_is("500");
    world.run(&[HELLO, HELLO]);
    assert!(world.alarm_at().is_some());
    rings(&mut world);
    assert!(world.bucket.objects.is_empty(), "it has ended");
}

/// The same where the object dies at once: the next one takes it that what is stored has had its alarm from the beginning.
#[test]
fn a_creation_that_failed_but_is_stored_and_an_object_that_died() {
    for fault in [Fault::Commit, Fault::CommitButStored] {
        let mut world = world_after(2, &[]);
        world.sql.arm(fault);
        world.ask(TTL).assert_is("500");
        assert!(world.alarm_at().is_some_and(|at| at <= world.now + RETRY), "{fault:?}");
        world.restart();
        rings(&mut world);
        assert_eq!(
            world.sql.has_ended(),
            fault == Fault::CommitButStored,
            "{fault:?}: what was stored has ended, unasked"
        );
    }
}

/// What is read again of the stream says nothing of the alarm: it has rung, and is not set until all has ended that it began.
#[test]
fn the_stream_is_read_again_while_its_alarm_rings() {
    let mut world = world_after(2, &[SOON]);
    world.rotates = false;
    world.run(&[HELLO, HELLO, HELLO, "WAIT 10s", "RESTART"]);
    world.ring();
    let work = world.next_work().unwrap();
    // To fill a segment it reads the producers first, and cannot.
    world.sql.arm(Fault::Statement(0));
    world.ask(HELLO).assert_is("500");
    world.bucket.arm(BucketFault::Fails);
    let index = world.position(&|effect| *effect == work).unwrap();
    let failed = world.carry_out(index);
    world.end(index, failed);
    assert!(world.alarm_at().is_some_and(|at| at <= world.now + RETRY), "{:?}", world.alarm_at());
    world.rotates = true;
    rings(&mut world);
    world.ask("HEAD").assert_is("404");
}

/// The platform ends an alarm after 15 minutes, and the object with it.
#[test]
fn an_alarm_ends_although_there_always_is_more_to_do() {
    let mut world = world_after(2, &[TEXT]);
    world.rotates = false;
    world.run(&[HELLO, HELLO, "WAIT 60s"]);
    world.ring();
    let rang_at = world.now;
    while world.shell.is_ringing() {
        assert!(world.now < rang_at + RINGS_MAX, "it still rings after {} ms", world.now - rang_at);
        // The next segment is full before the last one has arrived.
        world.run(&["WAIT 1s", HELLO, HELLO]);
        let work = world.next_work().unwrap();
        assert_eq!(world.bucket.take(&work), Outcome::Done);
        world.done(&work);
    }
    assert!(world.alarm_at().is_some_and(|at| at <= world.now + RETRY), "for what is under way");
}
