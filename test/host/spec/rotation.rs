//! Rotation is invisible to clients: data in the bucket reads as it did in the hot log. Data that is lost there
//! causes a failure, and is never replaced by other data.

use std::collections::BTreeSet;

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::http::with_offsets;
use crate::support::world::Meanwhile;
use crate::support::{LongPoll, SseClient, World};
use durable_streams::object::ahead::AHEAD_MAX_BYTES;
use durable_streams::object::effect::{Effect, Outcome};
use durable_streams::protocol::json::LENGTHS_MAX;
use durable_streams::stream::rotate::SegmentLimits;
use serde_json::Value;

/// So large that the limit has no effect on a test.
pub(super) const MANY: u64 = 1 << 40;

/// A world with this many appends in a segment.
#[track_caller]
pub(super) fn world_after(appends_max: u64, steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max, bytes_max: MANY, closed_bytes_min: 1 }));
    world.run(steps);
    world
}

/// [`crate::support::check`] with two messages in a segment, after all uploads are done.
#[track_caller]
fn check(state: &[&str], request: &str, expected: &str) {
    for restarts in [false, true] {
        let mut world = world_after(2, state);
        world.assert_bucket_is_tidy();
        if restarts {
            world.restart();
        }
        world.ask(request).assert_is(expected);
    }
}

pub(super) fn post(content_type: &str, body: &str) -> String {
    format!("POST | content-type: {content_type} << {body}")
}

/// The steps that make a text stream of these messages.
fn text(messages: &[&str]) -> Vec<String> {
    let posts = messages.iter().map(|message| post("text/plain", message));
    std::iter::once(TEXT.to_owned()).chain(posts).collect()
}

/// A text stream of these messages, then more steps.
#[track_caller]
pub(super) fn world_of(appends_max: u64, messages: &[&str], more: &[&str]) -> World {
    let steps = text(messages);
    let steps: Vec<&str> = steps.iter().map(String::as_str).chain(more.iter().copied()).collect();
    world_after(appends_max, &steps)
}

/// Reads to the tail: the content, independent of its chunks, and every next offset.
fn read_from(world: &mut World, offset: &str) -> (Vec<u8>, Vec<String>) {
    let (mut content, mut offset, mut offsets) = (Vec::new(), offset.to_owned(), Vec::new());
    loop {
        let chunk = world.ask(&format!("GET ?offset={offset}"));
        assert_eq!(chunk.status, 200, "{chunk:?}");
        if chunk.header("content-type") == Some("application/json") {
            let messages: Vec<Value> = serde_json::from_slice(&chunk.body).unwrap();
            content.extend(messages.iter().flat_map(|message| format!("{message}\n").into_bytes()));
        } else {
            content.extend_from_slice(&chunk.body);
        }
        let is_last = chunk.header("stream-up-to-date").is_some();
        assert!(
            is_last || chunk.next() > offset.as_str() || offset == "-1",
            "a read makes progress: {chunk:?}"
        );
        chunk.next().clone_into(&mut offset);
        offsets.push(offset.clone());
        if is_last {
            return (content, offsets);
        }
    }
}

// Offsets.

/// An offset reads the same data before the rotation, after it, and after a restart.
#[test]
fn offset_reads_the_same_data_after_rotation() {
    for (create, content_type, bodies) in [
        (JSON, "application/json", ["1", "[2, 3]", "\"four\"", "[5]", "{\"six\": 6}", "[7,8,9]", "10"]),
        (TEXT, "text/plain", ["a", "bc", "def", "g", "hi", "jklmnop", "q"]),
        (BYTES, "application/octet-stream", ["a", "bc", "def", "g", "hi", "jklmnop", "q"]),
    ] {
        for chunk_max_bytes in [2, 7, 1 << 20] {
            let mut world = world_after(2, &[]);
            world.limit_chunks(chunk_max_bytes);
            world.rotates = false;
            let mut tails = vec![world.ask(create).next().to_owned()];
            tails.extend(bodies.map(|body| world.ask(&post(content_type, body)).next().to_owned()));
            assert!(tails.windows(2).all(|pair| pair[0] < pair[1]), "{tails:?}");
            let offsets: BTreeSet<String> = tails.into_iter().chain(read_from(&mut world, "-1").1).collect();
            let contents = |world: &mut World| -> Vec<Vec<u8>> {
                offsets.iter().map(|offset| read_from(world, offset).0).collect()
            };
            let hot = contents(&mut world);
            assert!(world.bucket.objects.is_empty());
            world.work();
            assert!(world.bucket.objects.len() >= 3, "the segments are uploaded");
            let pending = contents(&mut world);
            assert!(pending == hot, "{content_type} in chunks of {chunk_max_bytes}");
            world.restart();
            assert!(contents(&mut world) == hot, "{content_type} in chunks of {chunk_max_bytes}, restarted");
            // Offsets from reads of the bucket are offsets of the same stream.
            for offset in read_from(&mut world, "-1").1 {
                let rest = read_from(&mut world, &offset).0;
                assert!(hot[0].ends_with(&rest), "from {offset}");
            }
        }
    }
}

/// Responses contain one offset for the boundary of two segments. The other ways to write it work, too.
#[test]
fn offset_past_the_end_of_a_segment_reads_the_next() {
    for rotates in [true, false] {
        let mut world = world_of(2, &[], &[]);
        world.rotates = rotates;
        for (body, tail) in [("ab", "@0_2"), ("c", "@1_0"), ("d", "@1_1")] {
            world.ask(&post("text/plain", body)).assert_is(&format!("204 | stream-next-offset: {tail}"));
        }
        for _ in 0..2 {
            for offset in ["@0_3", "@0_4", "@0_9999", "@1_0"] {
                assert_eq!(read_from(&mut world, &with_offsets(offset)).0, b"d", "from {offset}");
            }
            world.restart();
        }
    }
}

#[test]
fn segment_is_full_by_appends_or_bytes() {
    // Content type, appends and bytes that fill a segment; then bodies, each with the tail after it.
    type Case<'c> = (&'c str, u64, u64, &'c [(&'c str, &'c str)]);
    let table: [Case<'_>; 8] = [
        ("text/plain", 2, MANY, &[("aaaa", "@0_4"), ("b", "@1_0"), ("c", "@1_1"), ("d", "@2_0")]),
        ("text/plain", 1, MANY, &[("a", "@1_0"), ("b", "@2_0")]),
        ("text/plain", MANY, 5, &[("abcd", "@0_4"), ("e", "@1_0"), ("abcde", "@2_0"), ("f", "@2_1")]),
        ("text/plain", MANY, 5, &[("abcd", "@0_4"), ("0123456789", "@1_0"), ("0123456789", "@2_0")]),
        (
            "application/json",
            2,
            MANY,
            &[("[1,2,3]", "@0_3"), ("4", "@1_0"), ("[1,2]", "@1_2"), ("3", "@2_0")],
        ),
        ("application/json", MANY, 5, &[("[1,2]", "@0_2"), ("3", "@0_3"), ("4", "@1_0")]),
        ("application/json", MANY, 5, &[("[1,2,3]", "@1_0"), ("\"0123456789\"", "@2_0"), ("1", "@2_1")]),
        ("application/octet-stream", 3, 4, &[("a", "@0_1"), ("b", "@0_2"), ("c", "@1_0"), ("defg", "@2_0")]),
    ];
    for (content_type, appends_max, bytes_max, posts) in table {
        for restarts in [false, true] {
            let mut world = World::new();
            world.limit_segments(Some(SegmentLimits { appends_max, bytes_max, closed_bytes_min: 1 }));
            world.run(&[&format!("PUT | content-type: {content_type}")]);
            for (body, tail) in posts {
                let expected = format!("204 | stream-next-offset: {tail}");
                world.ask(&post(content_type, body)).assert_is(&expected);
                if restarts {
                    world.restart();
                }
                world.ask("HEAD").assert_is(&format!("200 | stream-next-offset: {tail}"));
            }
            let (_, last) = posts.last().unwrap();
            let sealed: usize = last[1..].split_once('_').unwrap().0.parse().unwrap();
            assert_eq!(world.bucket.objects.len(), sealed, "{posts:?}");
            world.assert_bucket_is_tidy();
        }
    }
}

/// A PUT with a body may fill a segment. The object then uploads it without another request.
#[test]
fn put_that_fills_a_segment_seals_it() {
    let small = SegmentLimits { appends_max: 3, bytes_max: 8, closed_bytes_min: 1 };
    for (put, body, tail, segments) in [
        ("PUT | content-type: text/plain", "0123456", "@0_7", 0),
        ("PUT | content-type: text/plain", "01234567", "@1_0", 1),
        ("PUT | content-type: text/plain", "0123456789", "@1_0", 1),
        ("PUT | content-type: application/json", "[1,2,3,4]", "@0_4", 0),
        ("PUT | content-type: application/json", "[1,2,3,45]", "@1_0", 1),
        ("PUT | content-type: application/json", "[]", "@0_0", 0),
        ("PUT | content-type: application/json | stream-closed: true", "[1,2,3,45]", "@1_0", 1),
        ("PUT | content-type: application/json | stream-closed: true", "[1,2]", "@0_2", 1),
    ] {
        for restarts in [false, true] {
            let mut world = World::new();
            world.limit_segments(Some(small));
            let expected = format!("stream-next-offset: {tail}");
            world.ask(&format!("{put} << {body}")).assert_is(&format!("201 | {expected}"));
            assert_eq!(world.bucket.objects.len(), segments, "{put} << {body}");
            if restarts {
                world.restart();
            }
            world.ask("GET").assert_is(&format!("200 | {expected} | stream-up-to-date: true << {body}"));
            world.ask("HEAD").assert_is(&format!("200 | {expected}"));
            world.assert_bucket_is_tidy();
        }
    }
    // One append may fill a segment. An empty array is no append.
    for (body, tail) in [("1", "@1_0"), ("[]", "@0_0")] {
        let mut world = World::new();
        world.limit_segments(Some(SegmentLimits { appends_max: 1, ..small }));
        world
            .ask(&format!("PUT | content-type: application/json << {body}"))
            .assert_is(&format!("201 | stream-next-offset: {tail}"));
    }
    // The PUT's transaction seals the segment, so it is sealed after a crash, too.
    let mut world = World::new();
    world.limit_segments(Some(small));
    world.rotates = false;
    world.run(&["PUT | content-type: text/plain << 0123456789", "RESTART"]);
    world.ask("HEAD").assert_is("200 | stream-next-offset: @1_0");
    world.work();
    assert_eq!(world.bucket.objects.len(), 1);
    let more = post("text/plain", "more");
    world.run(&[&more]);
    world.ask("GET ?offset=@1_0").assert_is("200 | stream-next-offset: @1_4 << more");
}

// Reads.

#[test]
fn rotated_data_reads_like_the_hot_log() {
    let five = text(&["a", "b", "c", "d", "e"]);
    let five: Vec<&str> = five.iter().map(String::as_str).collect();
    for (request, expected) in [
        (
            "GET",
            "200 | content-type: text/plain | stream-next-offset: @2_1 | stream-up-to-date: true | !stream-closed | etag << abcde",
        ),
        ("GET ?offset=@0_1", "200 | stream-next-offset: @2_1 | stream-up-to-date: true << bcde"),
        ("GET ?offset=@0_2", "200 | stream-next-offset: @2_1 | stream-up-to-date: true << cde"),
        ("GET ?offset=@1_0", "200 | stream-next-offset: @2_1 | stream-up-to-date: true << cde"),
        ("GET ?offset=@1_1", "200 | stream-next-offset: @2_1 | cache-control: no-cache << de"),
        (
            "GET ?offset=@2_0",
            "200 | stream-next-offset: @2_1 | stream-up-to-date: true | !stream-closed << e",
        ),
        ("GET ?offset=now", "200 | stream-next-offset: @2_1 | stream-up-to-date: true <<"),
        (
            "GET ?offset=-1&live=long-poll",
            "200 | stream-next-offset: @2_1 | stream-up-to-date: true | stream-cursor << abcde",
        ),
        ("HEAD", "200 | stream-next-offset: @2_1 | !stream-closed <<"),
    ] {
        check(&five, request, expected);
    }
    // The segment that was sealed last ends at the tail.
    let to_the_tail = "200 | stream-next-offset: @2_0 | stream-up-to-date: true | cache-control: no-cache";
    check(&five[..5], "GET ?offset=@1_0", &format!("{to_the_tail} | !stream-closed << cd"));
    check(
        &five[..5],
        "GET ?offset=@1_1&live=long-poll",
        "200 | stream-up-to-date: true | stream-cursor << d",
    );
    check(&five[..5], "HEAD", "200 | stream-next-offset: @2_0 | !stream-closed <<");
    let closed = [&five[..5], &[CLOSE]].concat();
    check(&closed, "GET ?offset=@1_0", &format!("{to_the_tail} | stream-closed: true << cd"));
    check(&closed, "GET", &format!("{to_the_tail} | stream-closed: true << abcd"));
    // A full chunk ends before the tail, so it is cacheable.
    let mut world = world_after(2, &five);
    world.limit_chunks(3);
    let cacheable = "cache-control: public, max-age=60, stale-while-revalidate=300, stale-if-error=0";
    world
        .ask("GET ?offset=@0_1")
        .assert_is(&format!("200 | stream-next-offset: @1_0 | !stream-up-to-date | {cacheable} << b"));
}

/// A world between two turns of encoding. 40 appends fill the segment, and after a restart the object reads that many
/// rows in several turns.
fn half_encoded() -> (World, String) {
    let letters: Vec<String> = (0..40u8).map(|n| char::from(b'A' + n).to_string()).collect();
    let mut world = world_of(40, &[], &[]);
    world.rotates = false;
    for letter in &letters {
        world.run(&[&post("text/plain", letter)]);
    }
    world.announces = false;
    world.restart();
    world.wake();
    assert!(world.next_turn() && world.position(&is_put).is_none());
    (world, letters.concat())
}

fn is_put(effect: &Effect) -> bool {
    matches!(effect, Effect::Put(_))
}

/// Whether a segment of 17 appends of this size is encoded without a read from storage.
fn is_encoded_ahead(append_bytes: usize) -> bool {
    let mut world = world_of(17, &[], &[]);
    (world.rotates, world.announces) = (false, false);
    let append = post("text/plain", &"x".repeat(append_bytes));
    for _ in 0..17 {
        world.run(&[&append]);
    }
    world.next_turn() && world.position(&is_put).is_some()
}

#[test]
fn segment_is_encoded_while_it_grows_if_memory_allows() {
    assert!(is_encoded_ahead(1));
    assert!(!is_encoded_ahead(AHEAD_MAX_BYTES / 16));
    // All objects of an isolate share this memory. It is free again when an object ends, or its stream is deleted.
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
    let mut ended = world_of(17, &[], &[]);
    ended.run(&[&post("text/plain", &"x".repeat(AHEAD_MAX_BYTES / 16)), "DELETE"]);
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
}

/// The bytes of a segment do not depend on how it was encoded: while it grew, or from storage after a restart.
#[test]
fn segment_bytes_do_not_depend_on_how_it_was_encoded() {
    let large = format!("\"{}\"", "x".repeat((1 << 20) + 1));
    let json: &[&str] = &["[1,2]", "{\"a\":[3,\"]\"]}", "[\"é\",{}]", "4", "[[5],6]", "7"];
    let with_large: &[&str] = &["1", &large, "[2,3]", "4", "5", "6"];
    for (content_type, bodies) in
        [("application/json", json), ("application/json", with_large), ("text/plain", json)]
    {
        let objects = |restarts: &[usize]| {
            let mut world = world_of(3, &[], &[]);
            world.run(&["DELETE", &format!("PUT | content-type: {content_type}")]);
            world.rotates = false;
            for (n, body) in bodies.iter().enumerate() {
                if restarts.contains(&n) {
                    world.restart();
                }
                world.run(&[&post(content_type, body)]);
            }
            while let Some(work) = world.next_work() {
                assert_eq!(world.bucket.take(&work), Outcome::Done);
                world.done(&work);
            }
            world.assert_bucket_is_tidy();
            world.bucket.objects.into_values().collect::<Vec<_>>()
        };
        let ahead = objects(&[]);
        assert_eq!(ahead.len(), 2, "{content_type}");
        for restarts in [&[1, 4][..], &[2], &[3], &[5], &[0, 1, 2, 3, 4, 5]] {
            assert!(objects(restarts) == ahead, "{content_type}, restarted before {restarts:?}");
        }
    }
}

#[test]
fn large_segment_is_encoded_in_several_turns() {
    let (mut world, content) = half_encoded();
    // Requests are answered meanwhile, and appends belong to the next segment.
    world.run(&[&post("text/plain", "!")]);
    world.ask("GET").assert_is(&format!("200 << {content}!"));
    let mut turns = 1;
    while world.position(&is_put).is_none() {
        assert!(world.next_turn(), "a turn is due");
        turns += 1;
        assert!(turns < 40);
    }
    assert!(turns > 1);
    let upload = world.next_work().unwrap();
    assert_eq!(world.bucket.take(&upload), Outcome::Done);
    world.done(&upload);
    world.assert_bucket_is_tidy();
    assert_eq!(world.next_work(), None);
    world.ask("GET").assert_is(&format!("200 << {content}!"));
}

#[test]
fn restart_or_delete_discards_a_half_encoded_segment() {
    // The object loses its memory: encoding starts over.
    let (mut world, content) = half_encoded();
    world.restart();
    world.work();
    world.assert_bucket_is_tidy();
    world.ask("GET").assert_is(&format!("200 << {content}"));
    // The stream ends: nothing is uploaded.
    let (mut world, _) = half_encoded();
    world.run(&["DELETE"]);
    world.work();
    assert!(world.bucket.objects.is_empty());
    // A new stream at the same URL fills a segment, which contains nothing of the old one.
    let (mut world, _) = half_encoded();
    world.run(&["DELETE", TEXT]);
    let mut content = String::new();
    for n in 0..40 {
        world.run(&[&post("text/plain", &format!("{n},"))]);
        content += &format!("{n},");
    }
    world.work();
    world.assert_bucket_is_tidy();
    world.ask("GET").assert_is(&format!("200 << {content}"));
}

/// While a read waits, the data that it planned to read from the hot log is uploaded. The read gets it from the
/// bucket.
#[test]
fn read_overtaken_by_rotation_is_complete() {
    for closes in [false, true] {
        for (chunk_max_bytes, content) in [(1 << 20, "abcde"), (2, "ab")] {
            let mut world = world_of(2, &[], &[]);
            world.limit_chunks(chunk_max_bytes);
            world.rotates = false;
            for body in ["a", "b", "c", "d", "e"] {
                world.run(&[&post("text/plain", body)]);
            }
            let first = world.next_work().unwrap();
            assert_eq!(world.bucket.take(&first), Outcome::Done);
            world.done(&first);
            if closes {
                world.run(&[CLOSE]);
            }
            world.meanwhile = Meanwhile::Rotation;
            let found = world.ask("GET ?offset=@0_0");
            found.assert_is(&format!("200 << {content}"));
            let is_whole = content == "abcde";
            assert_eq!(found.header("stream-up-to-date").is_some(), is_whole);
            assert_eq!(found.header("stream-closed").is_some(), is_whole && closes);
        }
    }
}

#[test]
fn if_none_match_works_on_rotated_data() {
    let mut world = world_of(2, &["a", "b", "c"], &[]);
    let etag = world.ask("GET ?offset=@0_1").header("etag").unwrap().to_owned();
    let again = format!("GET ?offset=@0_1 | if-none-match: {etag}");
    world.ask(&again).assert_is(&format!("304 | etag: {etag} <<"));
}

/// Closing uploads the last segment as it is. The tail does not change.
#[test]
fn close_rotates_the_last_segment() {
    let last = "POST | content-type: text/plain | stream-closed: true << c";
    let [two, three] = [text(&["a", "b"]), text(&["a", "b", "c"])];
    for (steps, end) in [(&three, CLOSE), (&two, last)] {
        let state: Vec<&str> = steps.iter().map(String::as_str).chain([end]).collect();
        assert_eq!(world_after(2, &state).bucket.objects.len(), 2);
        for (request, expected) in [
            ("GET", "200 | stream-next-offset: @1_1 | stream-up-to-date: true | stream-closed: true << abc"),
            (
                "GET ?offset=@1_0",
                "200 | stream-next-offset: @1_1 | stream-up-to-date: true | stream-closed: true << c",
            ),
            (
                "GET ?offset=@1_1",
                "200 | stream-next-offset: @1_1 | stream-up-to-date: true | stream-closed: true <<",
            ),
            ("GET ?offset=@1_0&live=long-poll", "200 | stream-next-offset: @1_1 | stream-closed: true << c"),
            ("GET ?offset=@1_1&live=long-poll", "204 | stream-next-offset: @1_1 | stream-closed: true <<"),
            ("HEAD", "200 | stream-next-offset: @1_1 | stream-closed: true <<"),
            (HELLO, "409 | error: stream_closed | stream-next-offset: @1_1 | stream-closed: true"),
        ] {
            check(&state, request, expected);
        }
    }
    let full_last = "POST | content-type: text/plain | stream-closed: true << b";
    check(&[TEXT, HELLO, full_last], "GET", "200 | stream-next-offset: @1_0 | stream-closed: true << hellob");
}

/// The last segment of a closed stream stays in the hot log if it is small. Full segments are uploaded whatever their
/// size.
#[test]
fn small_last_segment_of_a_closed_stream_is_not_uploaded() {
    let limits = SegmentLimits { appends_max: 3, bytes_max: MANY, closed_bytes_min: 8 };
    let [seven, eight] = ["0123456", "01234567"];
    let closing = |body: &str| post("text/plain", body).replace(" << ", " | stream-closed: true << ");
    let put = |body: &str| format!("PUT | content-type: text/plain | stream-closed: true << {body}");
    let (open, last) = (post("text/plain", "01"), closing("23456"));
    for (steps, segments) in [
        (vec![TEXT, &post("text/plain", seven), CLOSE], 0),
        (vec![TEXT, &post("text/plain", eight), CLOSE], 1),
        (vec![TEXT, &closing(seven)], 0),
        (vec![TEXT, &closing(eight)], 1),
        (vec![&put(seven)], 0),
        (vec![&put(eight)], 1),
        (vec![TEXT, CLOSE], 0),
        // A full segment was uploaded before, however small. The close considers what came after it.
        (vec![TEXT, &open, &open, &open, &last], 1),
        (vec![TEXT, &open, &open, &open, &open, &last, CLOSE], 1),
        (vec![TEXT, &open, &open, &last], 1),
    ] {
        for restarts in [false, true] {
            let mut world = World::new();
            world.limit_segments(Some(limits));
            world.rotates = false;
            world.run(&steps);
            let seen =
                |world: &mut World| [world.ask("GET"), world.ask("HEAD"), world.ask("GET ?offset=now")];
            let before = seen(&mut world);
            if restarts {
                world.restart();
            }
            world.work();
            assert_eq!(world.bucket.objects.len(), segments, "{steps:?}");
            assert_eq!(seen(&mut world), before);
            world.run(&["DELETE"]);
            world.work();
            world.assert_bucket_is_tidy();
            assert_eq!(world.sql.tables().last().map(String::as_str), Some("stream"));
        }
    }
    // If the limit is lowered later, the segment is uploaded.
    let mut world = World::new();
    world.limit_segments(Some(limits));
    world.run(&[TEXT, &closing(seven)]);
    world.limit_segments(Some(SegmentLimits { closed_bytes_min: 7, ..limits }));
    world.run(&["HEAD"]);
    world.ask("GET").assert_is(&format!("200 | stream-next-offset: @0_7 | stream-closed: true << {seven}"));
    assert_eq!(world.bucket.objects.len(), 1);
}

// Live readers.

#[test]
fn long_poll_continues_across_rotation() {
    for rotates in [true, false] {
        let mut world = world_of(2, &["a", "b", "c", "d"], &["RESTART"]);
        let (mut content, mut offset) = (String::new(), "-1".to_owned());
        while offset != with_offsets("@2_0") {
            let part = world.ask(&format!("GET ?offset={offset}&live=long-poll"));
            content.push_str(&part.text());
            assert!(part.next() > offset.as_str() || offset == "-1", "a read makes progress: {part:?}");
            part.next().clone_into(&mut offset);
        }
        assert_eq!(content, "abcd");
        world.rotates = rotates;
        let url = format!("GET ?offset={offset}&live=long-poll");
        let mut first = LongPoll::park(&mut world, &url);
        world.run(&[&post("text/plain", "e")]);
        first
            .answer(&mut world)
            .unwrap()
            .assert_is("200 | stream-next-offset: @2_1 | stream-up-to-date: true << e");
        // An append that seals a segment announces the start of the next.
        let mut second = LongPoll::park(&mut world, &url.replace(&offset, &with_offsets("@2_1")));
        world.run(&[&post("text/plain", "f")]);
        second
            .answer(&mut world)
            .unwrap()
            .assert_is("200 | stream-next-offset: @3_0 | stream-up-to-date: true << f");
        let mut third = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
        world.run(&[CLOSE]);
        third
            .answer(&mut world)
            .unwrap()
            .assert_is("204 | stream-next-offset: @3_0 | stream-closed: true <<");
    }
}

#[test]
fn sse_continues_across_rotation() {
    for (create, content_type, data) in [
        (TEXT, "text/plain", ["12345", "6", "7"]),
        (BYTES, "application/octet-stream", ["MTIzNDU=", "Ng==", "Nw=="]),
        (JSON, "application/json", ["[1,2,3,4,5]", "[6]", "[7]"]),
    ] {
        for (rotates, restarts) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut world = world_after(2, &[create]);
            let say = |world: &mut World, body: &str| world.run(&[&post(content_type, body)]);
            for body in ["1", "2", "3", "4", "5"] {
                say(&mut world, body);
            }
            assert_eq!(world.bucket.objects.len(), 2);
            world.rotates = rotates;
            let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
            assert_eq!(client.data(), data[..1]);
            for (body, end, event_count) in [("6", "@3_0", 2), ("7", "@3_1", 3)] {
                if restarts {
                    world.restart();
                }
                say(&mut world, body);
                client.pump(&mut world);
                assert_eq!(client.data(), data[..event_count], "{content_type} {rotates} {restarts}");
                assert_eq!(client.control()["streamNextOffset"], with_offsets(end));
                assert_eq!(client.control()["upToDate"], true);
            }
            world.run(&[CLOSE]);
            client.pump(&mut world);
            assert!(client.is_over());
            assert_eq!(client.control()["streamClosed"], true);
            assert_eq!(client.data(), data);
        }
    }
}

/// A batch's message lengths are known when the segment is encoded, unless it has more than `LENGTHS_MAX` messages.
#[test]
fn batch_above_the_lengths_limit_is_readable_from_the_bucket() {
    for count in [LENGTHS_MAX, LENGTHS_MAX + 1] {
        let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let batch = format!("[{}]", numbers.join(" , "));
        let mut world = World::new();
        world.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: 1 << 20, closed_bytes_min: 1 }));
        world.run(&[JSON, &format!("POST | content-type: application/json << {batch}")]);
        assert_eq!(world.bucket.objects.len(), 1);
        world.ask("GET").assert_is(&format!("200 << [{}]", numbers.join(",")));
        let from = format!("GET ?offset=@0_{}", count - 2);
        world.ask(&with_offsets(&from)).assert_is(&format!("200 << [{}]", numbers[count - 2..].join(",")));
    }
}
