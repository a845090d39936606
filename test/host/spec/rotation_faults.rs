//! Rotation under faults and at the end of streams: damaged segments, failed uploads and deletes, and state that
//! outlives the hot log.

use super::rotation::{MANY, post, world_after, world_of};
use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::bucket::BucketFault;
use crate::support::http::{STREAM_URL, with_offsets};
use crate::support::sql::Fault;
use crate::support::world::CHUNK_MAX_BYTES;
use crate::support::{Outcome, Request, SseClient, World};
use ::http::Method;
use durable_streams::object::effect::{Effect, Outcome as Ended};
use durable_streams::object::fetch::{Fetch, Fetched};
use durable_streams::object::pending::RETRY;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::rotation::COLLECTED_AT_ONCE_MAX;
use durable_streams::object::{Answer, Error, Object, Ports, Settings};
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::registry::Registries;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

const KEY: &str = "Y2hhdC80Mg/1/0000000000000000";
const READS: [&str; 3] = ["GET", "GET ?offset=-1&live=long-poll", "GET ?offset=-1&live=sse"];

fn produced(seq: u64) -> String {
    format!("POST | content-type: text/plain | producer-id: p | producer-epoch: 0 | producer-seq: {seq} << x")
}

// State that outlives the hot log.

/// Each append fills a segment, so only rows of segments still contain this state.
#[test]
fn stream_state_outlives_the_hot_log() {
    let seq = |seq: &str| format!("POST | content-type: text/plain | stream-seq: {seq} << x");
    let [b, a] = [seq("b"), seq("a")];
    let [first, second, third] = [produced(0), produced(1), produced(2)];
    let closing = second.replace(" << ", " | stream-closed: true << ");
    let ttl = "PUT | content-type: text/plain | stream-ttl: 60";
    let table: [(&[&str], &str, &str); 13] = [
        (&[TEXT, &b], &a, "409 << Sequence conflict"),
        (&[TEXT, &b], &b, "409 << Sequence conflict"),
        (&[TEXT, &b, HELLO], &b, "409 << Sequence conflict"),
        (&[TEXT, &b, HELLO], &seq("c"), "204 | stream-next-offset: @3_0"),
        (&[TEXT, &first], &first, "204 | stream-next-offset: @1_0 | producer-seq: 0"),
        (&[TEXT, &first], &second, "200 | stream-next-offset: @2_0 | producer-seq: 1"),
        (&[TEXT, &first], &third, "409 | error: producer_gap | producer-expected-seq: 1"),
        (&[TEXT, &first, &closing], &closing, "204 | stream-next-offset: @2_0 | stream-closed: true"),
        (&[TEXT, HELLO, CLOSE], CLOSE, "204 | stream-next-offset: @1_0 | stream-closed: true"),
        // The write was 59 s ago and is in the bucket.
        (&[ttl, "WAIT 59s", HELLO, "WAIT 59999ms"], "HEAD", "200 | stream-next-offset: @1_0"),
        (&[ttl, "WAIT 59s", HELLO, "WAIT 60s"], "HEAD", "404"),
        (&[ttl, HELLO, "WAIT 59s", CLOSE, "WAIT 59s"], "HEAD", "200 | stream-closed: true"),
        // A close stores the expiry, which may be later by 1/16 of the TTL.
        (&[ttl, HELLO, "WAIT 59s", CLOSE, "WAIT 64s"], "HEAD", "404"),
    ];
    for appends_max in [1, 2] {
        for (steps, request, expected) in table {
            for restarts in [false, true] {
                let mut world = world_after(appends_max, steps);
                if appends_max == 1 {
                    assert!(!world.bucket.objects.is_empty());
                }
                if restarts {
                    world.restart();
                }
                // With two messages in a segment, only the offsets differ.
                let expected: Vec<&str> = expected
                    .split(" | ")
                    .filter(|part| appends_max == 1 || !part.contains("offset"))
                    .collect();
                world.ask(request).assert_is(&expected.join(" | "));
            }
        }
    }
}

/// The closed tail is in the bucket, and only its row has the time of the last write.
#[test]
fn closed_stream_in_the_bucket_expires_on_time() {
    for (wait, status) in
        [("WAIT 59999ms", "200 | stream-closed: true | stream-next-offset: @0_5"), ("WAIT 64s", "404")]
    {
        let last = HELLO.replace(" << ", " | stream-closed: true << ");
        let steps = [
            "PUT | content-type: text/plain | stream-ttl: 60",
            "WAIT 30s",
            &last,
            "RESTART",
            wait,
            "RESTART",
        ];
        let mut world = world_after(2, &steps);
        assert_eq!(world.bucket.objects.len(), 1);
        world.ask("HEAD").assert_is(status);
    }
}

// Damage in the bucket.

/// However a segment is damaged, no reader receives wrong data, and the segment can be repaired.
#[test]
fn damaged_segment_is_never_served() {
    for content in [
        [TEXT, "POST | content-type: text/plain << ab", HELLO],
        [JSON, "POST | content-type: application/json << 12", "POST | content-type: application/json << [3]"],
    ] {
        let mut world = world_after(2, &content);
        let sound = world.bucket.objects[KEY].clone();
        let expected = world.ask("GET").body;
        let (block, ends) = blocks_of(&sound);
        let mut damages: Vec<(Option<Vec<u8>>, bool)> = vec![(None, true)];
        damages.extend((block + 1..sound.len()).map(|end| (Some(sound[..end].to_vec()), end < ends)));
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            damages.push((Some(bytes), (block..ends).contains(&at)));
        }
        for (damaged, is_missed) in damages {
            match &damaged {
                Some(bytes) => world.bucket.objects.insert(KEY.to_owned(), bytes.clone()),
                None => world.bucket.objects.remove(KEY),
            };
            for read in READS {
                if is_missed {
                    world.ask(read).assert_is("500 | error: internal | cache-control: no-store");
                } else if read == "GET" {
                    assert_eq!(world.ask(read).body, expected);
                }
            }
            world.ask("HEAD").assert_is("200 | stream-next-offset: @1_0");
            world.bucket.objects.insert(KEY.to_owned(), sound.clone());
            assert_eq!(world.ask("GET").body, expected, "the repaired segment is readable");
        }
    }
}

/// The range of the blocks in a small segment: after its header, and before its footer of one entry and its trailer.
fn blocks_of(object: &[u8]) -> (usize, usize) {
    let content_type = usize::from(object[7]);
    (5 + 1 + 2 + content_type + 8 + 8 + 4 + 8, object.len() - (8 + 8 + 8) - (8 + 4 + 8 + 5))
}

/// The log entry names the segment's key.
#[test]
fn failure_names_the_segment() {
    let mut world = world_of(2, &["ab", "c"], &[]);
    let segments = Some(SegmentLimits { appends_max: 2, bytes_max: MANY, closed_bytes_min: 1 });
    let mut object = Object::new(Settings {
        long_poll_timeout: 20_000,
        chunk_max_bytes: CHUNK_MAX_BYTES,
        segments,
        guarded: false,
        hides_public: false,
        has_index: false,
        registries: Registries::Off,
        webhooks_give_up_after: 259_200_000,
        measures: false,
        producers: ProducerLimits::SERVED,
        retention: RetentionDefaults::default(),
    });
    let ports = Ports { sql: &world.sql, sockets: &world.sockets };
    let head = RequestHead { method: &Method::GET, url: STREAM_URL, header: &|_| None, random: &String::new };
    let command = Command::parse(&head, b"").unwrap();
    let Command::Read(read) = &command else { panic!("{command:?}") };
    let served = object.serve(&ports, "chat/42", &command, world.now).unwrap();
    let Answer::Fetch(pending) = served else { panic!("{served:?}") };
    let [fetch @ Fetch::Object { key, .. }] = &pending.fetches[..] else { panic!("{pending:?}") };
    assert_eq!(key, KEY);
    let Fetched::Bytes(sound) = world.bucket.fetch(fetch) else { panic!("the segment is missing") };
    let mut flipped = sound.clone();
    flipped[4] ^= 1;
    for (fetched, why) in [
        (Fetched::Missing, "it is not in the bucket"),
        (Fetched::Bytes(sound[..3].to_vec()), "it is cut off"),
        (Fetched::Bytes(flipped), "a block's checksum is wrong"),
    ] {
        let Err(Error::Failed(failure)) = object.resume(&ports, read, &pending, &[fetched], world.now) else {
            panic!("{why}: it did not fail");
        };
        assert_eq!(failure.to_string(), format!("read segment: {KEY}: {why}"));
    }
    let sound = [Fetched::Bytes(sound)];
    assert!(object.resume(&ports, read, &pending, &sound, world.now).is_ok());
    // The stream ended during the fetch, so the bytes are not served.
    world.run(&["DELETE", TEXT]);
    let ports = Ports { sql: &world.sql, sockets: &world.sockets };
    object.forget();
    let stopped = object.resume(&ports, read, &pending, &sound, world.now);
    assert!(matches!(stopped, Err(Error::Refused(_))), "{stopped:?}");
}

// The end of a stream.

/// Deleting an incarnation's segments deletes no others.
#[test]
fn incarnations_share_no_segments() {
    let mut world = world_of(2, &["a", "b", "c"], &[]);
    world.rotates = false;
    world.run(&["DELETE", TEXT, &post("text/plain", "d"), &post("text/plain", "e"), "RESTART"]);
    world.ask("GET").assert_is("200 | stream-next-offset: @3_0 << de");
    assert_eq!(world.bucket.objects.len(), 1, "the old segment is still there");
    world.bucket.objects.insert("other/1/0".to_owned(), b"of another stream".to_vec());
    world.work();
    let keys: Vec<&String> = world.bucket.objects.keys().collect();
    assert_eq!(keys, ["Y2hhdC80Mg/2/0000000000000002", "other/1/0"]);
    world.ask("GET").assert_is("200 | stream-next-offset: @3_0 << de");
    world.ask("GET ?offset=@0_0").assert_is("410 | error: offset_gone");
    world.ask("GET ?offset=@0_1").assert_is("410 | error: offset_gone");
    world.run(&["DELETE"]);
    world.work();
    assert_eq!(world.bucket.objects.keys().collect::<Vec<_>>(), ["other/1/0"]);
}

#[test]
fn segments_of_an_expired_stream_are_deleted() {
    let mut world = world_after(1, &["PUT | content-type: text/plain | stream-ttl: 60", HELLO, HELLO]);
    assert_eq!(world.bucket.objects.len(), 2);
    world.run(&["WAIT 61s", "RING"]);
    world.work();
    assert!(world.bucket.objects.is_empty());
    world.assert_bucket_is_tidy();
}

/// The object may lose its memory after each batch.
#[test]
fn many_segments_are_deleted_in_batches() {
    for restarts in [false, true] {
        let mut world = world_of(1, &["x"; 250], &[]);
        assert_eq!(world.bucket.objects.len(), 250);
        world.rotates = false;
        world.run(&["DELETE"]);
        let mut batches = Vec::new();
        while let Some(work) = world.next_work() {
            let Effect::Delete(collection) = &work else { panic!("{work:?}") };
            batches.push(collection.keys.len() as u64);
            assert_eq!(world.bucket.take(&work), Ended::Done);
            if restarts && batches.len() == 2 {
                // The batch is deleted, but the object does not know, and deletes it again.
                world.restart();
                continue;
            }
            world.done(&work);
            world.assert_bucket_is_tidy();
        }
        let all = COLLECTED_AT_ONCE_MAX;
        assert_eq!(batches, if restarts { vec![all, all, all, 50] } else { vec![all, all, 50] });
        assert!(world.bucket.objects.is_empty());
    }
}

// Faults.

#[test]
fn failed_upload_or_delete_is_retried() {
    for fault in [BucketFault::Fails, BucketFault::FailsButStored] {
        for restarts in [false, true] {
            let mut world = world_of(2, &["a"], &[]);
            let again = |world: &mut World| {
                if restarts {
                    world.restart();
                } else {
                    world.ask("HEAD");
                    assert!(world.under_way.is_empty(), "no retry before its time");
                    world.now += RETRY;
                }
                world.ask("HEAD")
            };
            world.bucket.arm(fault);
            world.run(&[&post("text/plain", "b")]);
            assert!(world.sql.segment_keys().is_empty(), "the segment is still in the hot log");
            world.ask("GET ?offset=@1_0").assert_is("200 | stream-up-to-date: true <<");
            again(&mut world);
            world.assert_bucket_is_tidy();
            assert_eq!(world.bucket.objects.len(), 1);
            world.ask("GET").assert_is("200 << ab");
            world.bucket.arm(fault);
            world.run(&["DELETE"]);
            assert_eq!(world.sql.segment_keys().len(), 1, "the segment is still to be deleted");
            again(&mut world);
            world.assert_bucket_is_tidy();
            assert!(world.bucket.objects.is_empty());
        }
    }
}

/// The failed upload may be stored, and the stream is deleted before the retry.
#[test]
fn upload_that_failed_but_is_stored_is_deleted() {
    for fault in [BucketFault::Fails, BucketFault::FailsButStored] {
        for restarts in [false, true] {
            let mut world = world_of(2, &["a"], &[]);
            world.bucket.arm(fault);
            world.run(&[&post("text/plain", "b")]);
            if restarts {
                world.restart();
            }
            world.run(&["DELETE"]);
            world.now += RETRY;
            world.work();
            assert!(world.bucket.objects.is_empty());
            world.assert_bucket_is_tidy();
        }
    }
}

/// The segment is uploaded, but storing its row failed, or the result is unknown.
#[test]
fn failed_row_of_a_segment_is_retried() {
    for fault in
        [Fault::Statement(0), Fault::Statement(1), Fault::Statement(2), Fault::Commit, Fault::CommitButStored]
    {
        let mut world = world_of(2, &["a"], &[]);
        world.rotates = false;
        world.run(&[&post("text/plain", "b")]);
        for step in ["HEAD", "DELETE"] {
            world.ask(step);
            let work = world.next_work().unwrap();
            assert_eq!(world.bucket.take(&work), Ended::Done);
            world.sql.arm(fault);
            world.done(&work);
            world.sql.disarm();
            if step == "HEAD" {
                world.ask("GET").assert_is("200 | stream-next-offset: @1_0 << ab");
            }
            world.now += RETRY;
            world.work();
            world.assert_bucket_is_tidy();
        }
        assert!(world.bucket.objects.is_empty());
    }
}

/// Live readers of a damaged segment are refused, and no socket stays open.
#[test]
fn live_read_of_a_damaged_segment_is_refused() {
    let mut world = world_of(2, &["a", "b"], &[]);
    world.bucket.objects.clear();
    for read in &READS[1..] {
        assert!(matches!(world.send(&Request::parse(read)), Outcome::Answered(_)));
    }
    // The tail is intact.
    assert!(matches!(world.send(&Request::parse("GET ?offset=now&live=sse")), Outcome::Parked(..)));
}

// Cost.

/// An append costs one row, with or without a producer. A segment costs the stream's row, its own row, and one for
/// each of its producers.
#[test]
fn segment_costs_two_rows_and_one_per_producer() {
    const SEGMENT_ROWS: u64 = 2;
    for (appends_max, segments) in [(10, 100), (100, 10), (1, 1000)] {
        for producers in [0, 1] {
            let mut world = world_after(appends_max, &[TEXT]);
            world.sql.take_rows_written();
            for n in 0..1000 {
                world.run(&[if producers == 1 { produced(n) } else { HELLO.to_owned() }.as_str()]);
            }
            assert_eq!(world.bucket.objects.len() as u64, segments);
            let rows = world.sql.take_rows_written();
            assert_eq!(rows, 1000 + segments * (SEGMENT_ROWS + producers), "{appends_max} a segment");
        }
    }
}

/// No response contains this offset, but it is valid: the end of a segment is the start of the next.
#[test]
fn end_of_a_segment_is_the_start_of_the_next() {
    let state = [
        JSON,
        "POST | content-type: application/json << [1,2]",
        "POST | content-type: application/json << 3",
    ];
    for rotates in [false, true] {
        let mut world = world_after(1, &[]);
        world.rotates = rotates;
        world.run(&state);
        world.ask("GET ?offset=@0_2").assert_is("200 | stream-next-offset: @2_0 << [3]");
        let client = SseClient::open(&mut world, &with_offsets("GET ?offset=@0_2&live=sse"));
        assert_eq!(client.data(), ["[3]"]);
    }
}

/// An append may end inside a character, and so may its segment. Reads across it do not repair the character.
#[test]
fn segment_may_end_inside_a_character() {
    for (rotates, chunk_max_bytes) in [(true, 1 << 20), (true, 2), (false, 2), (false, 3)] {
        let mut world = world_after(1, &[]);
        world.limit_chunks(chunk_max_bytes);
        world.rotates = rotates;
        world.run(&[TEXT]);
        for body in [&b"a\xe2"[..], &b"\x82\xac"[..], b"b"] {
            world
                .send_answered(&Request::parse("POST | content-type: text/plain").body(body))
                .assert_is("204");
        }
        let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
        client.pump(&mut world);
        let text = client.data().concat();
        assert!(text.starts_with('a') && text.ends_with('b'), "{text:?}");
        assert_eq!(text.matches('a').count() + text.matches('b').count(), 2, "{text:?}");
    }
}
