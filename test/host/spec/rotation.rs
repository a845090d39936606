//! Rotation: clients see none of it. What is in the bucket reads as it did in the hot log, and what is lost there is
//! missed and never made up.

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

/// From here on the limits are not what is tested.
pub(super) const MANY: u64 = 1 << 40;

/// A world whose segments have so many messages.
#[track_caller]
pub(super) fn world_after(appends_max: u64, steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max, bytes_max: MANY, closed_bytes_min: 1 }));
    world.run(steps);
    world
}

/// [`crate::support::check`], with two messages a segment and all that is due in the bucket.
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

/// A text stream of these messages.
fn text(messages: &[&str]) -> Vec<String> {
    let posts = messages.iter().map(|message| post("text/plain", message));
    std::iter::once(TEXT.to_owned()).chain(posts).collect()
}

/// A text stream, and more steps.
#[track_caller]
pub(super) fn world_of(appends_max: u64, messages: &[&str], more: &[&str]) -> World {
    let steps = text(messages);
    let steps: Vec<&str> = steps.iter().map(String::as_str).chain(more.iter().copied()).collect();
    world_after(appends_max, &steps)
}

/// Reads to the tail: the content, whatever its chunks, and all offsets that were given.
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
        assert!(is_last || chunk.next() > offset.as_str() || offset == "-1", "a read gets on: {chunk:?}");
        chunk.next().clone_into(&mut offset);
        offsets.push(offset.clone());
        if is_last {
            return (content, offsets);
        }
    }
}

// Offsets.

/// Whoever has an offset has it for good: it gives the same before the rotation, after it, and after a restart.
#[test]
fn offsets_outlive_rotation() {
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
            assert!(world.bucket.objects.len() >= 3, "segments have arrived");
            let pending = contents(&mut world);
            assert!(pending == hot, "{content_type} in chunks of {chunk_max_bytes}");
            world.restart();
            assert!(contents(&mut world) == hot, "{content_type} in chunks of {chunk_max_bytes}, restarted");
            // The offsets that reads from the bucket gave are of the same stream.
            for offset in read_from(&mut world, "-1").1 {
                let rest = read_from(&mut world, &offset).0;
                assert!(hot[0].ends_with(&rest), "from {offset}");
            }
        }
    }
}

/// The place between two segments has one offset; whoever makes the other one up gets on, too.
#[test]
fn the_end_of_a_segment_leads_into_the_next() {
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
fn full_segments() {
    // Appends and bytes from which on a segment is full; then bodies, and where each leads.
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

/// What a PUT brings may fill a segment, and is then in the bucket without another request.
#[test]
fn a_put_that_fills_a_segment() {
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
    // One append may be all that a segment holds; nothing is none.
    for (body, tail) in [("1", "@1_0"), ("[]", "@0_0")] {
        let mut world = World::new();
        world.limit_segments(Some(SegmentLimits { appends_max: 1, ..small }));
        world
            .ask(&format!("PUT | content-type: application/json << {body}"))
            .assert_is(&format!("201 | stream-next-offset: {tail}"));
    }
    // In the transaction of the PUT: after a crash it is sealed all the same.
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
fn reads_from_the_bucket() {
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
    // The segment that was last sealed leads to the tail.
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
    // A chunk that is full ends where it does, and may be kept.
    let mut world = world_after(2, &five);
    world.limit_chunks(3);
    let kept = "cache-control: public, max-age=60, stale-while-revalidate=300, stale-if-error=0";
    world
        .ask("GET ?offset=@0_1")
        .assert_is(&format!("200 | stream-next-offset: @1_0 | !stream-up-to-date | {kept} << b"));
}

/// 40 appends fill a segment: more rows than are read in one turn, and read they are, because memory was lost. The world
/// stands between two of these turns.
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

/// Whether the segment of 17 appends of that size is there without being read.
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
fn a_segment_is_encoded_while_it_grows_if_there_is_room() {
    assert!(is_encoded_ahead(1));
    assert!(!is_encoded_ahead(AHEAD_MAX_BYTES / 16));
    // The room is free again, whatever has become of what was in it.
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
    let mut ended = world_of(17, &[], &[]);
    ended.run(&[&post("text/plain", &"x".repeat(AHEAD_MAX_BYTES / 16)), "DELETE"]);
    assert!(is_encoded_ahead(AHEAD_MAX_BYTES / 17));
}

/// What was encoded while the segment grew is what is read of it if memory was lost meanwhile, byte for byte.
#[test]
fn a_segment_is_the_same_whether_it_was_encoded_ahead_or_read() {
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
fn a_large_segment_is_encoded_in_several_turns() {
    let (mut world, content) = half_encoded();
    // Whoever asks something meanwhile is answered, and what is appended belongs to the next segment.
    world.run(&[&post("text/plain", "!")]);
    world.ask("GET").assert_is(&format!("200 << {content}!"));
    let mut turns = 1;
    while world.position(&is_put).is_none() {
        assert!(world.next_turn(), "it is due");
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
fn what_happens_between_two_turns_of_encoding() {
    // Memory is lost: it begins anew.
    let (mut world, content) = half_encoded();
    world.restart();
    world.work();
    world.assert_bucket_is_tidy();
    world.ask("GET").assert_is(&format!("200 << {content}"));
    // The stream ends: nothing goes to the bucket.
    let (mut world, _) = half_encoded();
    world.run(&["DELETE"]);
    world.work();
    assert!(world.bucket.objects.is_empty());
    // A new stream at the same URL fills a segment: nothing of the old one is in it.
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

/// What a read would have taken from the hot log goes to the bucket while it waits: it is read from there.
#[test]
fn reads_that_are_overtaken() {
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
fn what_is_known_is_not_sent_again() {
    let mut world = world_of(2, &["a", "b", "c"], &[]);
    let etag = world.ask("GET ?offset=@0_1").header("etag").unwrap().to_owned();
    let again = format!("GET ?offset=@0_1 | if-none-match: {etag}");
    world.ask(&again).assert_is(&format!("304 | etag: {etag} <<"));
}

/// A closed stream's last segment goes to the bucket as it is, and its end stays the tail.
#[test]
fn closed_streams() {
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

/// What would not be worth its way stays where it is: the last segment of a closed stream, and only that.
#[test]
fn small_closed_streams_stay() {
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
        // What an append filled has gone before, however small it is; the close looks at what came after it.
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
    // A deployment that sets the limit lower finds the rest.
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
fn long_polls_go_on_at_the_tail() {
    for rotates in [true, false] {
        let mut world = world_of(2, &["a", "b", "c", "d"], &["RESTART"]);
        let (mut content, mut offset) = (String::new(), "-1".to_owned());
        while offset != with_offsets("@2_0") {
            let part = world.ask(&format!("GET ?offset={offset}&live=long-poll"));
            content.push_str(&part.text());
            assert!(part.next() > offset.as_str() || offset == "-1", "a read gets on: {part:?}");
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
        // The append that seals tells of the next segment's start.
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
fn sse_goes_on_at_the_tail() {
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
            for (body, end, told) in [("6", "@3_0", 2), ("7", "@3_1", 3)] {
                if restarts {
                    world.restart();
                }
                say(&mut world, body);
                client.pump(&mut world);
                assert_eq!(client.data(), data[..told], "{content_type} {rotates} {restarts}");
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

/// The ends of a batch's messages are known when it is encoded, unless it has very many.
#[test]
fn batches_of_very_many_messages() {
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
