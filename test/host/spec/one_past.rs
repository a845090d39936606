//! Offsets one past another, in streams of bytes (`src/stream/one_past.rs`): what such an offset reads, and that no
//! response contains one that is ambiguous.

use std::collections::BTreeSet;

use super::rotation::{MANY, post, world_after};
use super::{CLOSE, JSON, TEXT};
use crate::support::{Family, LongPoll, Outcome, Request, SseClient, World};
use durable_streams::protocol::bridge::FRAME_HEAD_BYTES;
use durable_streams::protocol::offset::Offset;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

/// Appends of several lengths, two of one byte in a row.
const APPENDS: [&str; 5] = ["hello", "w", "o", "rld", "xy"];

/// A text stream of these appends, with `appends_max` of them in a segment.
fn world_of(appends_max: u64, more: &[&str]) -> World {
    let posts: Vec<String> = APPENDS.iter().map(|append| post("text/plain", append)).collect();
    let steps = posts.iter().map(String::as_str).chain(more.iter().copied());
    world_after(appends_max, &std::iter::once(TEXT).chain(steps).collect::<Vec<_>>())
}

/// Checks what each mode returns where there is data: the bytes and the next offset.
#[track_caller]
fn assert_reads(world: &mut World, offset: &str, next: &str, body: &str) {
    for live in ["", "&live=long-poll"] {
        world
            .ask(&format!("GET ?offset={offset}{live}"))
            .assert_is(&format!("200 | stream-next-offset: {next} << {body}"));
    }
    let mut client = SseClient::open(world, &format!("GET ?offset={offset}&live=sse"));
    assert_eq!(client.data().concat(), body);
    client.disconnect(world);
}

#[test]
fn one_past_the_start_of_an_append_reads_the_append() {
    let table = [
        ("@0_0", "helloworldxy"),
        ("@0_1", "helloworldxy"),
        ("@0_2", "lloworldxy"),
        ("@0_5", "worldxy"),
        // The end of an append of one byte.
        ("@0_6", "orldxy"),
        ("@0_7", "rldxy"),
        ("@0_8", "rldxy"),
        ("@0_9", "dxy"),
        ("@0_10", "xy"),
        ("@0_11", "xy"),
    ];
    for closes in [false, true] {
        for restarts in [false, true] {
            let mut world = world_of(MANY, if closes { &[CLOSE] } else { &[] });
            if restarts {
                world.restart();
            }
            for (offset, body) in table {
                assert_reads(&mut world, offset, "@0_12", body);
            }
        }
    }
}

/// Each append has filled a segment, which is in the bucket or still to be uploaded.
#[test]
fn one_past_the_start_of_a_segment_reads_what_follows() {
    let table = [
        ("@0_0", "helloworldxy"),
        ("@0_1", "helloworldxy"),
        ("@0_4", "oworldxy"),
        // The end of a segment, and one past it.
        ("@0_5", "worldxy"),
        ("@0_6", "worldxy"),
        ("@1_0", "worldxy"),
        ("@1_1", "orldxy"),
        ("@2_1", "rldxy"),
        ("@3_1", "rldxy"),
        ("@3_2", "dxy"),
        ("@4_1", "xy"),
        ("@4_3", ""),
    ];
    for is_in_bucket in [false, true] {
        let mut world = world_after(1, &[]);
        world.rotates = is_in_bucket;
        world.run(&[TEXT]);
        for append in APPENDS {
            world.run(&[&post("text/plain", append)]);
        }
        assert_eq!(world.bucket.objects.len(), if is_in_bucket { 5 } else { 0 });
        for (offset, body) in table {
            assert_reads(&mut world, offset, "@5_0", body);
        }
    }
}

#[test]
fn one_past_the_tail_is_the_tail() {
    for (appends_max, tail, past, beyond) in [(MANY, "@0_12", "@0_13", "@0_14"), (1, "@5_0", "@5_1", "@5_2")]
    {
        let mut world = world_of(appends_max, &[]);
        let at_tail = format!(
            "200 | stream-next-offset: {tail} | stream-up-to-date: true | cache-control: no-store <<"
        );
        world.ask(&format!("GET ?offset={past}")).assert_is(&at_tail);
        let poll = LongPoll::park(&mut world, &format!("GET ?offset={past}&live=long-poll"));
        poll.time_out(&mut world).assert_is(&format!("204 | stream-next-offset: {tail}"));
        let client = SseClient::open(&mut world, &format!("GET ?offset={past}&live=sse"));
        assert!(client.data().is_empty());
        assert_eq!(client.events()[0].id, crate::support::http::with_offsets(tail));
        for live in ["", "&live=long-poll", "&live=sse"] {
            let refused = "400 | error: offset_beyond_tail";
            world.ask(&format!("GET ?offset={beyond}{live}")).assert_is(refused);
        }
        let mut world = world_of(appends_max, &[CLOSE]);
        for live in ["", "&live=long-poll", "&live=sse"] {
            let status = if live == "&live=long-poll" { 204 } else { 200 };
            world
                .ask(&format!("GET ?offset={past}{live}"))
                .assert_is(&format!("{status} | stream-next-offset: {tail} | stream-closed: true"));
            world.ask(&format!("GET ?offset={beyond}{live}")).assert_is("400");
        }
    }
    // The same for the tail of an empty stream.
    World::after(&[TEXT]).ask("GET ?offset=@0_1").assert_is("200 | stream-next-offset: @0_0 <<");
    let mut json = World::after(&[JSON, "POST | content-type: application/json << [1,2]"]);
    json.ask("GET ?offset=@0_1").assert_is("200 << [2]");
    json.ask("GET ?offset=@0_3").assert_is("400 | error: offset_beyond_tail");
}

/// A reader that waits one past the tail receives the next append whole. Its response is uncacheable: after an append
/// of one byte, the same URL names the data after that byte.
#[test]
fn waiter_one_past_the_tail_receives_the_next_append_whole() {
    for (append, next, then) in [("!!", "@0_14", "!!"), ("!", "@0_13", "")] {
        let mut world = world_of(MANY, &[]);
        let mut poll = LongPoll::park(&mut world, "GET ?offset=@0_13&live=long-poll");
        let mut events = SseClient::open(&mut world, "GET ?offset=@0_13&live=sse");
        world.run(&["RESTART", &post("text/plain", append)]);
        let answer = poll.answer(&mut world).unwrap();
        answer.assert_is(&format!("200 | stream-next-offset: {next} | cache-control: no-store << {append}"));
        events.pump(&mut world);
        assert_eq!(events.data(), [append]);
        world.ask("GET ?offset=@0_13").assert_is(&format!("200 | stream-next-offset: {next} << {then}"));
    }
}

#[test]
fn one_past_a_trimmed_offset_is_gone() {
    let mut world = world_after(2, &["PUT | content-type: text/plain | stream-retention: bytes=4"]);
    for append in APPENDS {
        world.run(&[&post("text/plain", append)]);
    }
    // "hello" and "w" are trimmed.
    for offset in ["@0_0", "@0_1", "@0_6", "@0_7"] {
        world.ask(&format!("GET ?offset={offset}")).assert_is("410 | stream-next-offset: @1_0");
    }
    assert_reads(&mut world, "@1_0", "@2_2", "orldxy");
    assert_reads(&mut world, "@1_1", "@2_2", "rldxy");
    assert_reads(&mut world, "@1_2", "@2_2", "rldxy");
}

// Forks.

fn family_of(appends_max: u64, chunk_max_bytes: usize, steps: &[String]) -> Family {
    let segments = SegmentLimits { appends_max, bytes_max: 1 << 20, closed_bytes_min: 1 };
    let mut family = Family::with(0, chunk_max_bytes, Some(segments), RetentionDefaults::default());
    family.run(&steps.iter().map(String::as_str).collect::<Vec<_>>());
    family
}

fn append_to(path: &str, body: &str) -> String {
    format!("POST /v1/stream/{path} | content-type: text/plain << {body}")
}

fn fork(path: &str, source: &str, offset: &str) -> String {
    format!("PUT /v1/stream/{path} | stream-forked-from: /v1/stream/{source} | stream-fork-offset: {offset}")
}

/// Checks what a fork returns, to a plain read and over SSE.
#[track_caller]
fn assert_fork_reads(family: &mut Family, path: &str, offset: &str, body: &str) {
    let url = format!("GET /v1/stream/{path}?offset={offset}");
    family.ask(&url).assert_is(&format!("200 << {body}"));
    let Outcome::Parked(socket, _) = family.send(&format!("{url}&live=sse")) else {
        panic!("the SSE response ended at once")
    };
    let frame = family.member(path).sockets.frame_at(socket, 0).unwrap();
    let events = crate::support::event_source::parse(&frame[FRAME_HEAD_BYTES..]);
    let data = events.iter().filter(|event| event.name == "data").map(|event| event.data.as_str());
    assert_eq!(data.collect::<String>(), body, "{url}");
}

/// `b` forks `a` one byte inside "world", and `c` forks `b` one byte inside "OWN". The fork point is an append
/// boundary for the fork, but not for its source. Data is inherited from the hot log, and from the bucket.
#[test]
fn fork_point_is_an_append_boundary_of_the_fork() {
    for appends_max in [1000, 1] {
        let is_hot = appends_max == 1000;
        let a = |hot: u64, segment: u64, position: u64| {
            if is_hot { format!("@0_{hot}") } else { format!("@{segment}_{position}") }
        };
        let mut family = family_of(
            appends_max,
            1 << 20,
            &[
                "PUT /v1/stream/a | content-type: text/plain".to_owned(),
                append_to("a", "hello"),
                append_to("a", "world"),
                fork("b", "a", &a(6, 1, 1)),
            ],
        );
        // The fork has no data of its own yet, so its tail is there.
        assert_fork_reads(&mut family, "b", &a(6, 1, 1), "");
        assert_fork_reads(&mut family, "b", &a(7, 1, 2), "");
        assert_fork_reads(&mut family, "b", &a(5, 1, 0), "w");
        family.run(&[&append_to("b", "OWN")]);
        let table = [
            (a(0, 0, 0), "hellowOWN"),
            (a(1, 0, 1), "hellowOWN"),
            (a(2, 0, 2), "llowOWN"),
            (a(5, 0, 5), "wOWN"),
            (a(5, 1, 0), "wOWN"),
            (a(6, 1, 1), "OWN"),
            (a(7, 1, 2), "OWN"),
            (a(8, 1, 3), "N"),
        ];
        for (offset, body) in &table {
            assert_fork_reads(&mut family, "b", offset, body);
        }
        // The source still has the whole append.
        assert_fork_reads(&mut family, "a", &a(6, 1, 1), "world");
        family.run(&[&fork("c", "b", &a(7, 1, 2))]);
        assert_fork_reads(&mut family, "c", &a(6, 1, 1), "O");
        assert_fork_reads(&mut family, "c", &a(7, 1, 2), "");
        family.run(&[&append_to("c", "CC")]);
        let table = [(a(1, 0, 1), "hellowOCC"), (a(6, 1, 1), "OCC"), (a(7, 1, 2), "CC"), (a(8, 1, 3), "CC")];
        for (offset, body) in &table {
            assert_fork_reads(&mut family, "c", offset, body);
        }
        // The same after a restart of all objects.
        for path in ["a", "b", "c"] {
            family.crash(path, false);
        }
        assert_fork_reads(&mut family, "c", &a(8, 1, 3), "CC");
        assert_fork_reads(&mut family, "b", &a(7, 1, 2), "OWN");
    }
}

// Offsets in responses.

/// Reads a stream chunk by chunk: its bytes, and each next offset with the number of bytes before it.
fn chunks(mut ask: impl FnMut(&str) -> crate::support::Response) -> (Vec<u8>, Vec<(String, usize)>) {
    let (mut whole, mut given, mut offset) = (Vec::new(), Vec::new(), "-1".to_owned());
    loop {
        let chunk = ask(&offset);
        chunk.assert_is("200");
        whole.extend_from_slice(&chunk.body);
        given.push((chunk.next().to_owned(), whole.len()));
        if chunk.header("stream-up-to-date").is_some() {
            return (whole, given);
        }
        assert!(!chunk.body.is_empty() || chunk.next() > offset.as_str(), "{offset} makes no progress");
        offset = chunk.next().to_owned();
    }
}

fn past(offset: &str) -> String {
    let offset = Offset::parse(offset).unwrap();
    Offset { position: offset.position + 1, ..offset }.to_string()
}

/// With every chunk size, and data in the hot log or in the bucket, no chunk ends one byte inside an append, the
/// chunks together are the stream, and one past the start of an append reads like its start. `b` inherits from `a`,
/// including part of its last append.
#[test]
fn no_chunk_ends_one_byte_inside_an_append() {
    let texts: [&[&str]; 3] = [
        &["abcde", "f", "gh", "ijk", "l", "m", "nopq", "rstuvwxyz"],
        &["a\u{e9}", "\u{1f600}", "x", "\u{20ac}yz", "\r\n", "q", "\u{e9}\u{e9}\u{e9}", "a\r\nb"],
        &["\u{1f600}\u{1f600}", "aa", "a\u{1f600}", "\n\n", "\u{20ac}\u{20ac}", "a\u{e9}a\u{e9}", "b", "cd"],
    ];
    for (texts, inherited) in texts.iter().flat_map(|texts| [(texts, 5), (texts, 7)]) {
        for (appends_max, max_bytes) in
            [1000, 1, 3].into_iter().flat_map(|n| (1..12).map(move |max| (n, max)))
        {
            let create = "PUT /v1/stream/a | content-type: text/plain".to_owned();
            let appends = texts[..inherited].iter().map(|body| append_to("a", body));
            let mut family = family_of(appends_max, max_bytes, &[vec![create], appends.collect()].concat());
            // The fork point is one byte before the source's tail.
            let have: usize = texts[..inherited].iter().map(|text| text.len()).sum();
            family.run(&[&format!(
                "PUT /v1/stream/b | stream-forked-from: /v1/stream/a | stream-fork-offset: @0_0 | \
                 stream-fork-sub-offset: {}",
                have - 1
            )]);
            let own: Vec<String> = texts[inherited..].iter().map(|body| append_to("b", body)).collect();
            family.run(&own.iter().map(String::as_str).collect::<Vec<_>>());
            let mut ends = vec![0];
            for text in *texts {
                ends.push(ends.last().unwrap() + text.len());
            }
            // The boundaries of the fork: its own appends follow the inherited ones, of which the last is cut.
            let cut: BTreeSet<usize> =
                ends.iter().map(|end| if *end >= have { end - 1 } else { *end }).collect();
            let mut expected = texts.concat().into_bytes();
            expected.remove(have - 1);
            let what = format!("{texts:?}, {appends_max} a segment, chunks of {max_bytes}");
            let (whole, given) = chunks(|offset| family.ask(&format!("GET /v1/stream/b?offset={offset}")));
            assert_eq!(whole, expected, "{what}");
            for (offset, at) in given {
                let is_one_inside = at > 0 && cut.contains(&(at - 1)) && !cut.contains(&at);
                assert!(!is_one_inside, "{what}: {offset} is one byte inside an append");
                let follows = |at: usize| cut.range(at + 1..).next().copied();
                if cut.contains(&at)
                    && follows(at).is_some_and(|end| end > at + 1)
                    && Offset::parse(&offset).is_some()
                {
                    let [here, one_past] = [offset.clone(), past(&offset)]
                        .map(|offset| family.ask(&format!("GET /v1/stream/b?offset={offset}")));
                    assert_eq!(one_past.body, here.body, "{what}: one past {offset}");
                    assert_eq!(one_past.next(), here.next(), "{what}: one past {offset}");
                }
            }
        }
    }
}

/// An append that is larger than a row is stored in several, and each row counts as an append.
#[test]
fn each_row_of_a_large_append_counts_as_an_append() {
    const MIB: usize = 1 << 20;
    for appends_max in [MANY, 1] {
        let mut world = world_after(appends_max, &["PUT | content-type: application/octet-stream"]);
        world.limit_chunks(MIB);
        let body: Vec<u8> = (0..2 * MIB + 9).map(|at| (at / 7) as u8).collect();
        let append = Request::parse("POST | content-type: application/octet-stream");
        world.send_answered(&append.body(body.clone())).assert_is("204");
        let first = world.ask("GET ?offset=-1");
        first.assert_is(&format!("200 | stream-next-offset: @0_{MIB}"));
        for offset in [MIB, MIB + 1] {
            let second = world.ask(&format!("GET ?offset=@0_{offset}"));
            second.assert_is(&format!("200 | stream-next-offset: @0_{}", 2 * MIB));
            assert!(second.body == body[MIB..2 * MIB]);
        }
        let odd = world.ask(&format!("GET ?offset=@0_{}", MIB + 2));
        // This is not one byte inside the third row.
        assert!(odd.body.len() >= MIB - 2 && body[MIB + 2..].starts_with(&odd.body));
        let odd = world.ask("GET ?offset=@0_1");
        assert!(odd.body == body[..MIB]);
        world.limit_chunks(MIB + 1);
        let chunk = world.ask("GET ?offset=-1");
        assert!(chunk.body == body[..MIB], "a chunk would end one byte inside the second row");
    }
}
