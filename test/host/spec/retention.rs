//! PROTOCOL.md 4 (Retention) and 5.6 (410): the stream trims whole segments, the oldest first. Everything else about
//! it stays the same for clients.

use super::rotation::{MANY, post, world_after};
use super::{CLOSE, HELLO, TEXT};
use crate::support::http::with_offsets;
use crate::support::sql::Fault;
use crate::support::world::{Meanwhile, START};
use crate::support::{LongPoll, Outcome, Request, SseClient, World};
use durable_streams::object::effect::Outcome as Ended;
use durable_streams::object::pending::RETRY;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

const MINUTE: &str = "PUT | content-type: text/plain | stream-retention: 60";

fn put(retention: &str) -> String {
    format!("PUT | content-type: text/plain | stream-retention: {retention}")
}

/// A text stream with two messages in each segment.
#[track_caller]
fn world_of(create: &str, messages: &[&str]) -> World {
    let mut world = world_after(2, &[create]);
    for message in messages {
        world.run(&[&post("text/plain", message)]);
    }
    world
}

/// Runs the checks with and without a restart, and before and after the effects in the bucket.
#[track_caller]
fn in_every_state(make: impl Fn() -> World, look: impl Fn(&mut World)) {
    for restarts in [false, true] {
        for rotates in [true, false] {
            let mut world = make();
            world.rotates = rotates;
            if restarts {
                world.restart();
            }
            look(&mut world);
            if !rotates {
                world.work();
                look(&mut world);
            }
            world.assert_bucket_is_tidy();
            world.restart();
            look(&mut world);
        }
    }
}

// Requests.

#[test]
fn valid_retention_is_accepted_and_any_other_refused() {
    for retention in ["1", "86400", "3153600000", "bytes=1", "bytes=1048576", "bytes=9007199254740991"] {
        let mut world = world_after(2, &[]);
        let expected = format!("stream-retention: {retention}");
        world.ask(&put(retention)).assert_is(&format!("201 | {expected}"));
        for request in [put(retention).as_str(), "HEAD"] {
            world.ask(request).assert_is(&format!("200 | {expected}"));
            world.restart();
        }
        world.ask("GET").assert_is("200 | !stream-retention");
    }
    for retention in [
        "0",
        "bytes=0",
        "",
        "-1",
        "+1",
        "1.5",
        "01",
        "1d",
        "60s",
        " 60",
        "60 ",
        "3153600001",
        "bytes",
        "bytes=",
        "bytes=-1",
        "bytes=01",
        "bytes=1kB",
        "bytes= 1",
        "bytes = 1",
        "Bytes=1",
        "bytes=9007199254740992",
        "seconds=60",
        "60, bytes=1",
        "60, 60",
    ] {
        let mut world = world_after(2, &[]);
        let refused = world.send_answered(&Request::parse(TEXT).header("stream-retention", retention));
        refused.assert_is("400 | error: invalid_header");
        assert!(refused.text().contains("Stream-Retention") && refused.text().contains("bytes=1048576"));
        assert!(world.sql.tables().is_empty(), "{retention:?}");
    }
    // Only PUT reads the header.
    let mut world = world_of(TEXT, &[]);
    for request in ["POST | content-type: text/plain << x", "GET", "HEAD", "POST | stream-closed: true"] {
        let response = world.send_answered(&Request::parse(request).header("stream-retention", "x"));
        assert!(response.status < 300, "{response:?}");
    }
    world.ask("HEAD").assert_is("200 | !stream-retention");
}

/// Like a lifetime: a repeated PUT must request the same retention.
#[test]
fn repeated_create_must_have_the_same_retention() {
    let configurations = [TEXT, &put("60"), &put("61"), &put("bytes=60"), &put("bytes=61")];
    for (first_index, first) in configurations.iter().enumerate() {
        for (second_index, second) in configurations.iter().enumerate() {
            for restarts in [false, true] {
                let mut world = world_after(2, &[first]);
                // The deployment's default is not part of the stream's configuration.
                world.retain(RetentionDefaults { segments: Some(7), seconds: Some(60) });
                if restarts {
                    world.restart();
                }
                let same = first_index == second_index;
                let expected = if same { "200" } else { "409 | error: stream_exists | !stream-retention" };
                world.ask(second).assert_is(expected);
            }
        }
    }
}

/// Without a bucket nothing rotates, so nothing can be trimmed, and a PUT that requests retention is refused.
#[test]
fn retention_needs_a_bucket() {
    let mut world = World::new();
    world.ask(MINUTE).assert_is("400 | error: invalid_header");
    world.retain(RetentionDefaults { segments: Some(1), seconds: Some(1) });
    world.run(&[TEXT, HELLO, HELLO, HELLO, "WAIT 100s", "RESTART"]);
    world.ask("GET").assert_is("200 << hellohellohello");
}

// The segments that retention keeps.

#[test]
fn segment_is_trimmed_by_the_age_of_its_last_message() {
    let make = |wait: &'static str| {
        move || {
            let mut world = world_of(MINUTE, &["a"]);
            world.run(&["WAIT 10s", &post("text/plain", "b"), "WAIT 5s"]);
            for message in ["c", "d", "e"] {
                world.run(&[&post("text/plain", message)]);
            }
            world.run(&[wait]);
            world
        }
    };
    // The last messages of segments 0 and 1 are 10 s and 15 s after the start. Their first messages do not count.
    in_every_state(make("WAIT 54999ms"), |world| {
        world.ask("GET ?offset=@0_1").assert_is("200 | stream-next-offset: @2_1 << bcde");
    });
    in_every_state(make("WAIT 55s"), |world| {
        for gone in ["GET ?offset=@0_0", "GET ?offset=@0_1"] {
            world.ask(gone).assert_is("410 | error: offset_gone | stream-next-offset: @1_0");
        }
        for start in ["-1", "@1_0"] {
            let from_there = format!("GET ?offset={start}");
            world
                .ask(&from_there)
                .assert_is("200 | stream-next-offset: @2_1 | stream-up-to-date: true << cde");
        }
        world.ask("GET ?offset=@1_1").assert_is("200 << de");
        world.ask("HEAD").assert_is("200 | stream-next-offset: @2_1 | stream-retention: 60");
    });
    // The hot log is retained, whatever its age.
    in_every_state(make("WAIT 1000s"), |world| {
        world.ask("GET ?offset=@1_1").assert_is("410 | error: offset_gone | stream-next-offset: @2_0");
        world.ask("GET").assert_is("200 | stream-next-offset: @2_1 << e");
        world.ask("GET ?offset=@2_0&live=long-poll").assert_is("200 << e");
    });
}

#[test]
fn segments_are_trimmed_by_bytes() {
    // Segments of 4, 2 and 6 bytes, and one byte in the hot log, which does not count.
    let messages = ["aa", "bb", "c", "d", "eee", "fff", "g"];
    for (bytes, earliest, content) in [
        (1, "@2_0", "eeefffg"),
        (6, "@2_0", "eeefffg"),
        (7, "@1_0", "cdeeefffg"),
        (8, "@1_0", "cdeeefffg"),
        (9, "@0_0", "aabbcdeeefffg"),
        (1000, "@0_0", "aabbcdeeefffg"),
    ] {
        let make = || world_of(&put(&format!("bytes={bytes}")), &messages);
        in_every_state(make, |world| {
            world.ask("GET").assert_is(&format!("200 | stream-next-offset: @3_1 << {content}"));
            if earliest != "@0_0" {
                let gone = format!("410 | error: offset_gone | stream-next-offset: {earliest}");
                world.ask("GET ?offset=@0_1").assert_is(&gone);
            }
            world.ask(&format!("GET ?offset={earliest}")).assert_is(&format!("200 << {content}"));
        });
    }
    // In JSON streams, the text of the messages counts: 3 + 3 bytes here.
    let mut world = world_after(1, &["PUT | content-type: application/json | stream-retention: bytes=4"]);
    for body in ["[1, 2]", "[ 3,4 ]", "\"5\""] {
        world.run(&[&post("application/json", body)]);
    }
    world.ask("GET").assert_is("200 | stream-next-offset: @3_0 << [3,4,\"5\"]");
}

#[test]
fn deployment_default_applies_without_own_retention() {
    let of = |segments, seconds| RetentionDefaults { segments, seconds };
    let messages = ["a", "b", "c", "d", "e", "f", "g"];
    // Three segments, 30 s, 20 s and 10 s old.
    let make = |create: &str, retention, is_there_from_the_start: bool| {
        let mut world = world_after(2, &[]);
        if is_there_from_the_start {
            world.retain(retention);
        }
        world.run(&[create]);
        for pair in messages.chunks(2) {
            for message in pair {
                world.run(&[&post("text/plain", message)]);
            }
            world.run(&["WAIT 10s"]);
        }
        world.now -= 10_000;
        world.retain(retention);
        world
    };
    for (retention, content) in [
        (of(None, None), "abcdefg"),
        (of(Some(3), None), "abcdefg"),
        (of(Some(2), None), "cdefg"),
        (of(Some(1), None), "efg"),
        (of(None, Some(31)), "abcdefg"),
        (of(None, Some(30)), "cdefg"),
        (of(None, Some(20)), "efg"),
        (of(None, Some(1)), "g"),
        // A segment is trimmed by whichever limit it exceeds.
        (of(Some(1), Some(30)), "efg"),
        (of(Some(3), Some(20)), "efg"),
    ] {
        for from_the_start in [true, false] {
            let expected = format!("200 | stream-next-offset: @3_1 << {content}");
            in_every_state(
                || make(TEXT, retention, from_the_start),
                |world| {
                    world.ask("GET").assert_is(&expected);
                    world.ask("HEAD").assert_is("200 | !stream-retention");
                },
            );
            // The stream's own retention takes precedence.
            for own in ["86400", "bytes=1000"] {
                let mut world = make(&put(own), retention, from_the_start);
                world.ask("GET").assert_is("200 << abcdefg");
            }
        }
    }
}

/// Raising or removing the deployment's default later does not bring trimmed segments back.
#[test]
fn trimmed_data_stays_trimmed() {
    let mut world = world_of(TEXT, &["a", "b", "c", "d"]);
    world.retain(RetentionDefaults { segments: Some(1), seconds: None });
    world.ask("GET").assert_is("200 << cd");
    world.retain(RetentionDefaults::default());
    world.ask("GET").assert_is("200 << cd");
    world.ask("GET ?offset=@0_1").assert_is("410 | stream-next-offset: @1_0");
    assert_eq!(world.bucket.objects.len(), 1);
    world.assert_bucket_is_tidy();
}

// Streams without any data left.

/// The stream, its tail, its producers and its `Stream-Seq` remain.
#[test]
fn fully_trimmed_stream_keeps_its_tail_and_writers() {
    let last = "POST | content-type: text/plain | stream-seq: b | producer-id: p | producer-epoch: 0 | producer-seq: 0 << d";
    let make = || {
        let mut world = world_of(MINUTE, &["a", "b", "c"]);
        world.run(&[last, "WAIT 60s"]);
        world
    };
    let at_the_tail = "200 | stream-next-offset: @2_0 | stream-up-to-date: true | !stream-closed <<";
    in_every_state(make, |world| {
        for request in ["GET", "GET ?offset=@2_0", "GET ?offset=-1", "GET ?offset=now"] {
            world.ask(request).assert_is(at_the_tail);
        }
        world.ask("GET ?offset=@1_1").assert_is("410 | stream-next-offset: @2_0");
        world.ask("GET ?offset=@2_2").assert_is("400 | error: offset_beyond_tail");
        world.ask("HEAD").assert_is("200 | stream-next-offset: @2_0 | !stream-closed");
        world.ask(last).assert_is("204 | stream-next-offset: @2_0 | producer-seq: 0");
        let regression = "POST | content-type: text/plain | stream-seq: b << x";
        world.ask(regression).assert_is("409 << Sequence conflict");
        assert!(matches!(world.send(&Request::parse("GET ?offset=-1&live=sse")), Outcome::Parked(..)));
    });
    let mut world = make();
    world.run(&["HEAD", "RESTART"]);
    assert!(world.bucket.objects.is_empty());
    for (body, tail) in [("e", "@2_1"), ("f", "@3_0"), ("g", "@3_1")] {
        world.ask(&post("text/plain", body)).assert_is(&format!("204 | stream-next-offset: {tail}"));
    }
    world.ask("GET").assert_is("200 | stream-next-offset: @3_1 << efg");
    world.ask("GET ?offset=@1_1").assert_is("410 | stream-next-offset: @2_0");
}

#[test]
fn fully_trimmed_closed_stream_stays_closed() {
    let make = || {
        let mut world = world_of(MINUTE, &["a", "b", "c"]);
        world.run(&[CLOSE, "WAIT 60s"]);
        world
    };
    in_every_state(make, |world| {
        let end = "stream-next-offset: @1_1 | stream-closed: true";
        for request in ["GET", "GET ?offset=@1_1", "GET ?offset=-1", "GET ?offset=now"] {
            world.ask(request).assert_is(&format!("200 | {end} | stream-up-to-date: true <<"));
        }
        for request in ["GET ?offset=@0_0", "GET ?offset=@0_1", "GET ?offset=@1_0"] {
            world.ask(request).assert_is("410 | error: offset_gone | stream-next-offset: @1_1");
        }
        world.ask("HEAD").assert_is(&format!("200 | {end}"));
        world.ask("GET ?offset=-1&live=long-poll").assert_is(&format!("204 | {end} <<"));
        world.ask(HELLO).assert_is(&format!("409 | error: stream_closed | {end}"));
        world.ask(CLOSE).assert_is(&format!("204 | {end}"));
        let client = SseClient::open(world, "GET ?offset=-1&live=sse");
        assert_eq!((client.data().len(), client.is_over()), (0, true));
        assert_eq!(client.control()["streamNextOffset"], with_offsets("@1_1"));
    });
    let mut world = make();
    world.run(&["HEAD"]);
    assert!(world.bucket.objects.is_empty());
    world.run(&["DELETE", MINUTE, "HEAD"]);
    world.ask("GET").assert_is("200 | stream-next-offset: @2_0");
    // A last segment that is too small for the bucket is retained.
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max: 2, bytes_max: MANY, closed_bytes_min: 2 }));
    world.run(&[
        MINUTE,
        &post("text/plain", "ab"),
        &post("text/plain", "c"),
        &post("text/plain", "d"),
        CLOSE,
    ]);
    world.run(&["WAIT 1000s"]);
    world.ask("GET").assert_is("200 | stream-next-offset: @1_1 | stream-closed: true << d");
}

/// The TTL and cursors depend on the time of the last write. Here only the stream's own row still has it.
#[test]
fn fully_trimmed_stream_keeps_the_time_of_its_last_write() {
    let both = "PUT | content-type: text/plain | stream-ttl: 100 | stream-retention: 60";
    for restarts in [false, true] {
        let make = |wait: &str| {
            let mut world = world_after(2, &[both, "WAIT 50s", HELLO, HELLO, "WAIT 60s", "HEAD"]);
            assert!(world.bucket.objects.is_empty());
            if restarts {
                world.restart();
            }
            world.run(&[wait]);
            world
        };
        make("WAIT 39999ms").ask("HEAD").assert_is("200 | stream-next-offset: @1_0");
        make("WAIT 40s").ask("HEAD").assert_is("404");
    }
    let mut world = world_after(1, &[&put("7"), "WAIT 3s", HELLO]);
    let cursor = world.ask("GET ?offset=now").header("stream-cursor").map(str::to_owned);
    world.run(&["WAIT 7s", "HEAD", "RESTART"]);
    assert!(world.bucket.objects.is_empty());
    assert_eq!(world.ask("GET ?offset=now").header("stream-cursor").map(str::to_owned), cursor);
}

// Readers.

#[test]
fn reader_behind_trimmed_data_gets_410() {
    for chunk_max_bytes in [1, 3] {
        let mut world = world_after(2, &[]);
        world.limit_chunks(chunk_max_bytes);
        world.run(&[MINUTE]);
        for message in ["a", "b", "c", "d", "e"] {
            world.run(&[&post("text/plain", message)]);
        }
        // One client is catching up, and one is at the tail.
        let connect = |world: &mut World, url: &str| {
            SseClient::connect(world, Request::parse(url)).unwrap_or_else(|refused| panic!("{refused:?}"))
        };
        let mut behind = connect(&mut world, "GET ?offset=@0_1&live=sse");
        let mut there = connect(&mut world, "GET ?offset=now&live=sse");
        let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
        world.run(&["WAIT 60s", "RING"]);
        behind.pump(&mut world);
        there.pump(&mut world);
        assert!(behind.is_over(), "the response ends; the client gets 410 when it reconnects");
        assert!("bcd".starts_with(&behind.data().concat()), "{:?}", behind.data());
        let next = behind.control()["streamNextOffset"].as_str().unwrap().to_owned();
        for live in ["", "&live=sse", "&live=long-poll"] {
            let refused = world.ask(&format!("GET ?offset={next}{live}"));
            refused.assert_is("410 | error: offset_gone | stream-next-offset: @2_0");
        }
        // An `EventSource` sends its offset in `Last-Event-ID`.
        let again = format!("GET ?offset=-1&live=sse | last-event-id: {next}");
        world.ask(&again).assert_is("410 | stream-next-offset: @2_0");
        world.run(&[&post("text/plain", "f")]);
        poll.answer(&mut world).unwrap().assert_is("200 << f");
        world.run(&[&post("text/plain", "g")]);
        there.pump(&mut world);
        assert_eq!(there.data().concat(), "fg");
    }
}

/// The bucket is slow, and meanwhile the data of the read is trimmed.
#[test]
fn read_overtaken_by_a_trim_returns_410_or_retained_data() {
    let modes = ["", "&live=long-poll", "&live=sse"];
    for (wait, offset, expected) in [
        (59_999, "-1", "abcde"),
        (59_999, "@0_1", "bcde"),
        (60_000, "-1", "cde"),
        (60_000, "@0_0", ""),
        (60_000, "@0_1", ""),
        (60_000, "@1_1", "de"),
        (65_000, "-1", "e"),
        (65_000, "@1_0", ""),
    ] {
        for mode in modes {
            let mut world = world_of(MINUTE, &["a", "b"]);
            world.run(&["WAIT 5s"]);
            world.run(
                &["c", "d", "e"].map(|message| post("text/plain", message)).each_ref().map(String::as_str),
            );
            world.now -= 5_000;
            world.meanwhile = Meanwhile::Alarm(wait);
            let request = Request::parse(&format!("GET ?offset={offset}{mode}"));
            match world.send(&request) {
                Outcome::Answered(gone) if expected.is_empty() => {
                    gone.assert_is("410 | error: offset_gone | stream-next-offset");
                }
                Outcome::Answered(found) => found.assert_is(&format!("200 << {expected}")),
                Outcome::Parked(socket, _) => {
                    let frame = world.sockets.frame_at(socket, 0).unwrap();
                    let text = String::from_utf8_lossy(&frame).into_owned();
                    assert!(text.contains(&format!("data:{expected}\n")), "{text}");
                }
            }
        }
    }
}

/// 10: caches must not store data for longer than the stream retains it.
#[test]
fn cache_lifetime_ends_with_the_retention() {
    let public = |max_age, stale| {
        format!(
            "200 | cache-control: public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error=0"
        )
    };
    for (seconds, wait, max_age, stale) in [
        (3600u64, 0u64, 60, 300),
        (3600, 3240, 60, 300),
        (3600, 3300, 60, 240),
        (3600, 3550, 50, 0),
        (90, 0, 60, 30),
        (10, 9, 1, 0),
    ] {
        for mode in ["", "&live=long-poll"] {
            let mut world = world_of(&put(&seconds.to_string()), &["aa", "b", "c"]);
            world.limit_chunks(2);
            world.run(&[&format!("WAIT {wait}s")]);
            world.ask(&format!("GET ?offset=@0_1{mode}")).assert_is(&public(max_age, stale));
        }
    }
    // The stream may expire before that.
    let both =
        "PUT | content-type: text/plain | stream-retention: 3600 | stream-expires-at: 2030-01-01T00:01:10Z";
    let mut world = world_of(both, &["aa", "b", "c"]);
    world.limit_chunks(2);
    world.ask("GET ?offset=@0_1").assert_is(&public(60, 10));
    let mut world = world_of(&put("bytes=100"), &["aa", "b", "c"]);
    world.limit_chunks(2);
    world.ask("GET ?offset=@0_1").assert_is(&public(60, 300));
}

// Effects.

/// Without any request: the alarm is set for the oldest segment, and then for the next.
#[test]
fn alarm_trims_expired_segments() {
    let mut world = world_of(MINUTE, &["a", "b"]);
    for pair in [["c", "d"], ["e", "f"]] {
        world.run(&["WAIT 10s", &post("text/plain", pair[0]), &post("text/plain", pair[1])]);
    }
    world.run(&["RESTART"]);
    let mut left = Vec::new();
    while let Some(at) = world.alarm_at() {
        world.now = at;
        world.ring();
        left.push((at - START, world.bucket.objects.len()));
        world.assert_bucket_is_tidy();
    }
    assert_eq!(left, [(60_000, 2), (70_000, 1), (80_000, 0)]);
    world.ask("GET").assert_is("200 | stream-next-offset: @3_0 <<");
    // The object dies after the trim, and before it deletes the segment from the bucket.
    let mut world = world_of(MINUTE, &["a", "b"]);
    world.rotates = false;
    world.run(&["WAIT 60s", "HEAD", "RESTART"]);
    assert_eq!((world.bucket.objects.len(), world.alarm_at()), (1, Some(world.now)));
    world.rotates = true;
    world.ring();
    assert!(world.bucket.objects.is_empty());
    assert_eq!(world.alarm_at(), None);
    // A request came just before the alarm, and postponed it.
    let mut world = world_of(MINUTE, &["a", "b"]);
    world.rotates = false;
    world.run(&["WAIT 60s", "WAIT 1ms", "HEAD", "RESTART"]);
    assert_eq!((world.bucket.objects.len(), world.alarm_at()), (1, Some(world.now + RETRY)));
    world.rotates = true;
    world.now += RETRY;
    world.ring();
    assert!(world.bucket.objects.is_empty());
    assert_eq!(world.alarm_at(), None);
}

/// A stream with a lifetime has one alarm for its expiry and for trims.
#[test]
fn one_alarm_serves_retention_and_ttl() {
    let both = "PUT | content-type: text/plain | stream-ttl: 100 | stream-retention: 60";
    let mut world = world_of(both, &["a", "b"]);
    assert_eq!(world.alarm_at(), Some(START + 60_000));
    world.run(&["WAIT 60s", "RING"]);
    assert!(world.bucket.objects.is_empty());
    assert_eq!(world.alarm_at(), Some(START + 100_000));
    world.run(&["WAIT 40s", "RING"]);
    world.ask("HEAD").assert_is("404");
    let mut world = world_of(&both.replace("100", "30"), &["a", "b"]);
    assert_eq!(world.alarm_at(), Some(START + 30_000));
    world.run(&["WAIT 30s", "RING"]);
    assert!(world.bucket.objects.is_empty());
    assert_eq!(world.alarm_at(), None);
    // The next incarnation has its own retention, and inherits no alarm.
    let mut world = world_of(MINUTE, &["a", "b"]);
    world.run(&["WAIT 1s", "DELETE", TEXT, HELLO, HELLO, "WAIT 100s", "RING"]);
    world.ask("GET").assert_is("200 << hellohello");
    assert_eq!(world.alarm_at(), None);
}

/// A failed trim is completed later, and no reader sees half of it.
#[test]
fn failed_trim_is_retried() {
    for fault in
        [Fault::Statement(0), Fault::Statement(1), Fault::Statement(2), Fault::Commit, Fault::CommitButStored]
    {
        for how in ["GET", "RING", "RESTART"] {
            let mut world = world_of(MINUTE, &["a", "b", "c"]);
            world.rotates = false;
            world.run(&["WAIT 60s"]);
            if how == "RESTART" {
                world.restart();
            }
            world.sql.arm(fault);
            if how == "RING" {
                world.ring();
            } else {
                world.ask("GET");
            }
            world.sql.disarm();
            world.ask("GET ?offset=@0_1").assert_is("410 | stream-next-offset: @1_0");
            world.ask("GET").assert_is("200 | stream-next-offset: @1_1 << c");
            world.now += RETRY;
            world.work();
            world.assert_bucket_is_tidy();
            assert!(world.bucket.objects.is_empty(), "{fault:?} {how}");
        }
    }
    // A trim by size that follows an upload.
    for statement in 0..6 {
        let mut world = world_of(&put("bytes=1"), &["a", "b", "c"]);
        world.rotates = false;
        world.run(&[&post("text/plain", "d")]);
        let work = world.next_work().unwrap();
        assert_eq!(world.bucket.take(&work), Ended::Done);
        world.sql.arm(Fault::Statement(statement));
        world.done(&work);
        world.sql.disarm();
        world.now += RETRY;
        world.work();
        world.ask("GET").assert_is("200 | stream-next-offset: @2_0 << cd");
        world.assert_bucket_is_tidy();
    }
}

/// A segment that is not in the bucket is not trimmed, and neither is one during its upload.
#[test]
fn segment_is_not_trimmed_before_its_upload() {
    let mut world = world_after(1, &[]);
    world.rotates = false;
    world.retain(RetentionDefaults { segments: Some(1), seconds: Some(60) });
    world.run(&[TEXT]);
    for message in ["a", "b", "c", "d"] {
        world.run(&[&post("text/plain", message)]);
    }
    world.run(&["WAIT 100s"]);
    world.ask("GET").assert_is("200 << abcd");
    let work = world.next_work().unwrap();
    world.ask("GET").assert_is("200 << abcd");
    assert_eq!(world.bucket.take(&work), Ended::Done);
    world.done(&work);
    world.ask("GET").assert_is("200 << bcd");
    world.work();
    world.ask("GET").assert_is("200 | stream-next-offset: @4_0 <<");
    world.assert_bucket_is_tidy();
    assert!(world.bucket.objects.is_empty());
}

// Cost.

/// Retention costs a constant number of rows for each segment, and none for appends and reads.
#[test]
fn trimmed_segment_costs_two_rows() {
    const SEGMENTS: u64 = 50;
    for (create, trimmed, alarms) in [
        (TEXT.to_owned(), 0, 10),
        (put("bytes=1"), SEGMENTS - 1, 10),
        // The object sets the alarm for each segment; in the other cases once a minute.
        (put("60"), SEGMENTS - 6, SEGMENTS),
        (put("100000"), 0, 2),
    ] {
        let mut world = world_after(10, &[&create]);
        world.sql.take_rows_written();
        let before = world.alarms_set();
        for _ in 0..SEGMENTS * 10 {
            world.run(&[HELLO, "WAIT 1s"]);
            if world.alarm_at().is_some_and(|at| at <= world.now) {
                world.ring();
            }
        }
        // Each seal writes the stream's row and the segment's. Each trim writes both again.
        let rows = world.sql.take_rows_written();
        assert_eq!(rows, SEGMENTS * 10 + SEGMENTS * 2 + trimmed * 2, "{create}");
        assert_eq!(world.bucket.objects.len() as u64, SEGMENTS - trimmed, "{create}");
        assert!(world.alarms_set() - before <= alarms, "{create}: {}", world.alarms_set() - before);
        for request in ["GET", "GET ?offset=now", "HEAD"] {
            world.ask(request);
        }
        assert_eq!(world.sql.take_rows_written(), 0);
    }
}
