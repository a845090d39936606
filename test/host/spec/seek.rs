//! Extensions: reads that begin at an instant (`at`) or a number of messages before the tail (`last`), and forks at an
//! instant.

use durable_streams::protocol::call::Call;
use durable_streams::protocol::fork::OWNERS_MAX;
use durable_streams::protocol::lifetime::rfc3339;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use durable_streams::stream::seek::OWNERS_SOUGHT_MAX;
use proptest::prelude::*;

use super::rotation::{post, world_after};
use super::{BYTES, CLOSE, JSON, TEXT};
use crate::support::family::{Begun, Fate, Sent};
use crate::support::world::START;
use crate::support::{Family, LongPoll, Outcome, Request, SseClient, World, check};

/// Four text messages of different lengths, two seconds apart, the first one two seconds after the creation.
const FOUR: [&str; 9] = [
    TEXT,
    "WAIT 2s",
    "POST | content-type: text/plain << a",
    "WAIT 2s",
    "POST | content-type: text/plain << bc",
    "WAIT 2s",
    "POST | content-type: text/plain << def",
    "WAIT 2s",
    "POST | content-type: text/plain << ghij",
];

/// The same as JSON, the second one a batch.
const JSONS: [&str; 7] = [
    JSON,
    "WAIT 2s",
    "POST | content-type: application/json << 1",
    "WAIT 2s",
    "POST | content-type: application/json << [2,3]",
    "WAIT 2s",
    "POST | content-type: application/json << 4",
];

/// `GET ?at=` for so many seconds after the creation.
fn at(seconds: u64) -> String {
    format!("GET ?at={}", rfc3339(START + seconds * 1000))
}

#[test]
fn read_begins_at_the_first_message_of_the_instant_or_later() {
    let whole = "200 | stream-start-offset: @0_0 | stream-next-offset: @0_10 << abcdefghij";
    check(&FOUR, "GET ?at=1970-01-01T00:00:00Z", whole);
    check(&FOUR, "GET ?at=1960-01-01T00:00:00Z", whole);
    for seconds in 0..=2 {
        check(&FOUR, &at(seconds), whole);
    }
    for seconds in 3..=4 {
        check(&FOUR, &at(seconds), "200 | stream-start-offset: @0_1 << bcdefghij");
    }
    check(&FOUR, &at(8), "200 | stream-start-offset: @0_6 | stream-up-to-date: true << ghij");
    check(
        &FOUR,
        &at(9),
        "200 | stream-start-offset: @0_10 | stream-next-offset: @0_10 | stream-up-to-date: true <<",
    );
    check(&FOUR, "GET ?at=2999-01-01T00:00:00Z", "200 | stream-start-offset: @0_10 <<");
    // A batch has one time.
    check(&JSONS, &at(3), "200 | stream-start-offset: @0_1 | stream-next-offset: @0_4 << [2,3,4]");
    check(&JSONS, &at(4), "200 | stream-start-offset: @0_1 << [2,3,4]");
    check(&JSONS, &at(5), "200 | stream-start-offset: @0_3 << [4]");
    check(&JSONS, &at(7), "200 | stream-start-offset: @0_4 << []");
    check(&[TEXT], &at(0), "200 | stream-start-offset: @0_0 <<");
    check(&[], &at(0), "404");
}

#[test]
fn instants_have_zones_and_fractions() {
    let offset = |text: &str, expected: &str| {
        check(&FOUR, &format!("GET ?at={text}"), &format!("200 | stream-start-offset: {expected}"));
    };
    offset("2030-01-01T02:00:04%2B02:00", "@0_1");
    offset("2029-12-31T23:00:04-01:00", "@0_1");
    offset("2030-01-01T00:00:04.000Z", "@0_1");
    // The message was written at the millisecond itself, before the instant.
    offset("2030-01-01T00:00:04.000001Z", "@0_3");
    offset("2030-01-01T00:00:03.999999Z", "@0_1");
}

#[test]
fn read_begins_some_messages_before_the_tail() {
    for (count, start, rest) in [(1, 6, "ghij"), (2, 3, "defghij"), (3, 1, "bcdefghij"), (4, 0, "abcdefghij")]
    {
        let expected = format!("200 | stream-start-offset: @0_{start} | stream-next-offset: @0_10 << {rest}");
        check(&FOUR, &format!("GET ?last={count}"), &expected);
    }
    check(&FOUR, "GET ?last=10000", "200 | stream-start-offset: @0_0 << abcdefghij");
    // In a JSON stream, each message of a batch counts.
    for (count, rest) in [(1, "[4]"), (2, "[3,4]"), (3, "[2,3,4]"), (4, "[1,2,3,4]"), (5, "[1,2,3,4]")] {
        check(&JSONS, &format!("GET ?last={count}"), &format!("200 << {rest}"));
    }
    check(&[TEXT], "GET ?last=1", "200 | stream-start-offset: @0_0 | stream-up-to-date: true <<");
    check(&[JSON], "GET ?last=1", "200 | stream-start-offset: @0_0 << []");
    check(&[TEXT, CLOSE], "GET ?last=1", "200 | stream-closed: true <<");
    check(&[], "GET ?last=1", "404");
}

#[test]
fn answers_that_move_are_not_cached() {
    for from in ["last=1", "at=2030-01-01T00:00:04Z", "at=2999-01-01T00:00:00Z"] {
        check(&FOUR, &format!("GET ?{from}"), "200 | cache-control: no-store");
    }
    let mut world = World::after(&FOUR);
    world.limit_chunks(2);
    world
        .ask("GET ?last=4")
        .assert_is("200 | cache-control: no-store | stream-next-offset: @0_1 | !stream-up-to-date");
    world.ask("GET ?offset=@0_1").assert_is("200 | cache-control: public, max-age=60, stale-while-revalidate=300, stale-if-error=0 | !stream-start-offset");
}

#[test]
fn the_start_is_named_if_the_url_does_not_name_it() {
    check(&FOUR, "GET", "200 | stream-start-offset: @0_0");
    check(&FOUR, "GET ?offset=now", "200 | stream-start-offset: @0_10");
    check(&FOUR, "GET ?offset=@0_1", "200 | !stream-start-offset");
    // One past the tail means the tail.
    check(&FOUR, "GET ?offset=@0_11", "200 | stream-start-offset: @0_10");
    let retained = [
        "PUT | content-type: text/plain | stream-retention: 60",
        &post("text/plain", "a"),
        "WAIT 90s",
        &post("text/plain", "b"),
    ];
    world_after(1, &retained).ask("GET ?last=9").assert_is("200 | stream-start-offset: @1_0 << b");
}

#[test]
fn malformed_and_combined_parameters_are_refused() {
    let refused = |query: &str, why: &str| {
        for live in ["", "&live=long-poll", "&live=sse"] {
            let response = World::after(&FOUR).ask(&format!("GET ?{query}{live}"));
            response.assert_is("400 | error: invalid_query | cache-control: no-store");
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert!(body.contains(why), "{query}: {body}");
        }
    };
    for text in [
        "",
        "now",
        "0",
        "1893456000000",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-13-01T00:00:00Z",
        "2030-01-01T00:00:00+02:00",
        "-2030-01-01T00:00:00Z",
    ] {
        refused(&format!("at={text}"), "RFC 3339");
    }
    for text in ["", "0", "-1", "+1", "01", "1.0", "10001", "99999999999999999999", "all"] {
        refused(&format!("last={text}"), "1 to 10000");
    }
    let instant = "2030-01-01T00:00:00Z";
    for both in [
        format!("at={instant}&last=1"),
        format!("offset=-1&at={instant}"),
        "offset=now&last=1".to_owned(),
        format!("last=1&at={instant}&offset=-1"),
    ] {
        refused(&both, "only one of offset, at and last");
    }
    refused("last=1&last=1", "once");
    refused(&format!("at={instant}&at={instant}"), "once");
}

#[test]
fn segments_in_the_bucket_have_one_time() {
    // Two messages in each segment: at 2 and 4 seconds, and at 6 and 8 seconds.
    let check = |state: &[&str], request: &str, expected: &str| {
        let mut world = world_after(2, state);
        world.ask(request).assert_is(expected);
        world.restart();
        world.ask(request).assert_is(expected);
    };
    for (seconds, start) in [(2, "@0_0"), (3, "@0_0"), (4, "@0_0"), (5, "@1_0"), (8, "@1_0"), (9, "@2_0")] {
        check(&FOUR, &at(seconds), &format!("200 | stream-start-offset: {start}"));
    }
    // The hot log has a time for each message again.
    let more = [&FOUR[..], &["WAIT 2s", "POST | content-type: text/plain << k"]].concat();
    check(&more, &at(8), "200 | stream-start-offset: @1_0 << defghijk");
    check(&more, &at(9), "200 | stream-start-offset: @2_0 << k");
}

#[test]
fn counting_crosses_segments() {
    let check = |appends_max: u64, state: &[&str], count: u64, expected: &str| {
        let mut world = world_after(appends_max, state);
        world.ask(&format!("GET ?last={count}")).assert_is(expected);
        world.restart();
        world.ask(&format!("GET ?last={count}")).assert_is(expected);
    };
    // JSON is exact everywhere.
    for (count, start, rest) in [
        (1, "@1_0", "[4]"),
        (2, "@0_2", "[3,4]"),
        (3, "@0_1", "[2,3,4]"),
        (4, "@0_0", "[1,2,3,4]"),
        (9, "@0_0", "[1,2,3,4]"),
    ] {
        check(2, &JSONS, count, &format!("200 | stream-start-offset: {start} << {rest}"));
    }
    // Bytes are exact in the hot log. In the bucket, the read begins with a segment.
    let five = [&FOUR[..], &["POST | content-type: text/plain << k"]].concat();
    for (count, start, rest) in [
        (1, "@2_0", "k"),
        (2, "@1_0", "defghijk"),
        (3, "@1_0", "defghijk"),
        (4, "@0_0", "abcdefghijk"),
        (6, "@0_0", "abcdefghijk"),
    ] {
        check(2, &five, count, &format!("200 | stream-start-offset: {start} << {rest}"));
    }
    let closed = [&FOUR[..], &[CLOSE]].concat();
    check(3, &closed, 1, "200 | stream-start-offset: @1_0 | stream-closed: true << ghij");
    check(9, &closed, 1, "200 | stream-start-offset: @0_0 | stream-closed: true << abcdefghij");
}

#[test]
fn segments_that_wait_for_the_bucket_are_searched_too() {
    let mut world = World::new();
    world.rotates = false;
    world.limit_segments(Some(SegmentLimits { appends_max: 2, bytes_max: 1 << 30, closed_bytes_min: 1 }));
    world.run(&FOUR);
    world.ask(&at(4)).assert_is("200 | stream-start-offset: @0_1 << bcdefghij");
    world.ask(&at(5)).assert_is("200 | stream-start-offset: @1_0 << defghij");
    world.ask(&at(9)).assert_is("200 | stream-start-offset: @2_0 <<");
    world.ask("GET ?last=3").assert_is("200 | stream-start-offset: @0_1 << bcdefghij");
}

#[test]
fn an_append_of_several_rows_counts_by_row() {
    let mut world = World::after(&[BYTES]);
    let large = Request::parse("POST | content-type: application/octet-stream").body(vec![7; (1 << 20) + 1]);
    world.send_answered(&large).assert_is("204");
    world.ask("GET ?last=1").assert_is("200 | stream-start-offset: @0_1048576");
    world.ask("GET ?last=2").assert_is("200 | stream-start-offset: @0_0");
    // A large message of JSON is one message.
    let mut world = World::after(&[JSON, "POST | content-type: application/json << 1"]);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let large = Request::parse("POST | content-type: application/json").body(large.into_bytes());
    world.send_answered(&large).assert_is("204");
    world.ask("GET ?last=1").assert_is("200 | stream-start-offset: @0_1 | stream-next-offset: @0_2");
    world.ask("GET ?last=2").assert_is("200 | stream-start-offset: @0_0");
}

/// If the clock was set back, an instant after the last message's time is the tail, and any other is the first message
/// in order that is as late.
#[test]
fn a_clock_that_was_set_back_does_not_hide_earlier_offsets() {
    let mut world = World::after(&FOUR);
    world.now = START + 5000;
    world.run(&["POST | content-type: text/plain << k"]);
    world.ask(&at(5)).assert_is("200 | stream-start-offset: @0_3 << defghijk");
    world.ask(&at(4)).assert_is("200 | stream-start-offset: @0_1");
    world.ask(&at(7)).assert_is("200 | stream-start-offset: @0_11 <<");
}

#[test]
fn long_poll_begins_there_and_waits_at_the_tail() {
    let mut world = World::after(&FOUR);
    world
        .ask("GET ?last=1&live=long-poll")
        .assert_is("200 | stream-start-offset: @0_6 | cache-control: no-store << ghij");
    let mut poll = LongPoll::park(&mut world, &format!("{}&live=long-poll", at(9)));
    world.run(&["POST | content-type: text/plain << k"]);
    let response = poll.answer(&mut world).expect("a frame");
    response.assert_is(
        "200 | stream-start-offset: @0_10 | stream-next-offset: @0_11 | cache-control: no-store << k",
    );
}

#[test]
fn events_begin_there_and_a_reconnect_continues() {
    let mut world = World::after(&FOUR);
    let mut client = SseClient::open(&mut world, "GET ?last=2&live=sse");
    client.head().assert_is("200 | stream-start-offset: @0_3");
    world.run(&["POST | content-type: text/plain << k"]);
    client.pump(&mut world);
    assert_eq!(client.data(), ["defghij", "k"]);
    for from in ["last=2", "at=2030-01-01T00:00:00Z"] {
        let continued = format!("GET ?{from}&live=sse | last-event-id: @0_10");
        let mut client = SseClient::open(&mut world, &continued);
        client.pump(&mut world);
        assert_eq!(client.data(), ["k"], "{from}");
    }
}

// Forks.

/// `a` has messages at 2 and 4 seconds, `b` leaves it at 5 seconds and has one at 6, `c` leaves that at 7 and has one at 8.
const CHAIN: [&str; 13] = [
    "PUT /v1/stream/a | content-type: text/plain",
    "WAIT 2s",
    "POST /v1/stream/a | content-type: text/plain << a",
    "WAIT 2s",
    "POST /v1/stream/a | content-type: text/plain << bc",
    "WAIT 1s",
    "PUT /v1/stream/b | stream-forked-from: /v1/stream/a",
    "WAIT 1s",
    "POST /v1/stream/b | content-type: text/plain << def",
    "WAIT 1s",
    "PUT /v1/stream/c | stream-forked-from: /v1/stream/b",
    "WAIT 1s",
    "POST /v1/stream/c | content-type: text/plain << ghij",
];

#[track_caller]
fn check_fork(request: &str, expected: &str) {
    for crashes in [false, true] {
        let mut family = Family::new(0);
        family.run(&CHAIN);
        if crashes {
            family.run(&["CRASH a", "CRASH b", "CRASH c"]);
        }
        family.ask(request).assert_is(expected);
        family.assert_edges_are_true();
    }
}

#[test]
fn the_inherited_part_is_searched_at_its_owners() {
    for (seconds, start, rest) in [
        (0, 0, "abcdefghij"),
        (2, 0, "abcdefghij"),
        (3, 1, "bcdefghij"),
        (5, 3, "defghij"),
        (6, 3, "defghij"),
        (7, 6, "ghij"),
        (9, 10, ""),
    ] {
        let request = format!("GET /v1/stream/c?at={}", rfc3339(START + seconds * 1000));
        check_fork(
            &request,
            &format!("200 | stream-start-offset: @0_{start} | cache-control: no-store << {rest}"),
        );
    }
    for (count, start, rest) in
        [(1, 6, "ghij"), (2, 3, "defghij"), (3, 1, "bcdefghij"), (4, 0, "abcdefghij"), (5, 0, "abcdefghij")]
    {
        let request = format!("GET /v1/stream/c?last={count}");
        check_fork(
            &request,
            &format!("200 | stream-start-offset: @0_{start} | cache-control: no-store << {rest}"),
        );
    }
}

#[test]
fn a_fork_may_begin_at_an_instant() {
    let fork = |seconds: u64| {
        format!(
            "PUT /v1/stream/d | stream-forked-from: /v1/stream/c | stream-fork-at: {}",
            rfc3339(START + seconds * 1000)
        )
    };
    for (seconds, tail) in [(0, 0), (2, 0), (3, 1), (4, 1), (5, 3), (6, 3), (7, 6), (8, 6), (9, 10), (99, 10)]
    {
        check_fork(&fork(seconds), &format!("201 | stream-next-offset: @0_{tail}"));
        let mut family = Family::new(0);
        family.run(&CHAIN);
        family.run(&[&fork(seconds)]);
        family.ask("GET /v1/stream/d").assert_is(&format!("200 << {}", &"abcdefghij"[..tail]));
        // A repeated PUT is the same; another instant is another fork, even if the content would be equal.
        family.ask(&fork(seconds)).assert_is("200");
        family.ask(&fork(seconds + 100)).assert_is("409 | error: stream_exists");
        family.ask("PUT /v1/stream/d | stream-forked-from: /v1/stream/c").assert_is("200");
    }
}

#[test]
fn malformed_instants_of_forks_are_refused() {
    let refused = |headers: &str, why: &str| {
        let mut family = Family::new(0);
        family.run(&CHAIN);
        let response = family.ask(&format!("PUT /v1/stream/d | {headers}"));
        response.assert_is("400 | error: invalid_header");
        assert!(response.text().contains(why), "{headers}: {response:?}");
    };
    let source = "stream-forked-from: /v1/stream/c | ";
    refused("stream-fork-at: 2030-01-01T00:00:00Z", "it needs Stream-Forked-From");
    refused(&format!("{source}stream-fork-at: 2030-01-01"), "RFC 3339");
    let with = |other: &str| format!("{source}stream-fork-at: 2030-01-01T00:00:00Z | {other}");
    refused(&with("stream-fork-offset: @0_0"), "instead of");
    refused(&with("stream-fork-sub-offset: 1"), "instead of");
}

/// A source of an older build would grant its tail.
#[test]
fn a_source_that_does_not_know_instants_is_not_forked() {
    let mut family = Family::new(0);
    family.run(&CHAIN);
    family.has_older_owners = true;
    let fork =
        format!("PUT /v1/stream/d | stream-forked-from: /v1/stream/a | stream-fork-at: {}", rfc3339(START));
    family.ask(&fork).assert_is("503 | retry-after: 5");
    family.let_alarms_ring();
    family.assert_edges_are_true();
    family.has_older_owners = false;
    family.ask(&fork).assert_is("201");
}

/// The number of calls is bounded, however long the chain of forks is.
#[test]
fn a_search_calls_few_owners() {
    let mut family = Family::new(0);
    family.run(&["PUT /v1/stream/f0 | content-type: text/plain"]);
    for at in 0..40 {
        family.run(&[
            "WAIT 1s",
            &format!("POST /v1/stream/f{at} | content-type: text/plain << x"),
            "WAIT 1s",
        ]);
        family.run(&[&format!("PUT /v1/stream/f{} | stream-forked-from: /v1/stream/f{at}", at + 1)]);
    }
    for at in [0, 1, 39, 40, 41, 78, 79, 80] {
        let calls = calls_of(&mut family, &format!("GET /v1/stream/f40?at={}", rfc3339(START + at * 1000)));
        assert!(calls <= OWNERS_MAX.ilog2() as usize + 1, "{calls} calls for {at}");
    }
    // Text needs a call for each owner; the rest is not counted.
    assert_eq!(calls_of(&mut family, "GET /v1/stream/f40?last=30"), OWNERS_SOUGHT_MAX);
    let sought = "x".repeat(OWNERS_SOUGHT_MAX);
    family.ask("GET /v1/stream/f40?last=30").assert_is(&format!("200 << {sought}"));
    family.ask("GET /v1/stream/f40?last=5").assert_is("200 << xxxxx");
}

/// How many owners a read asks for its beginning.
fn calls_of(family: &mut Family, request: &str) -> usize {
    let Begun::Waits(id) = family.begin(&Request::parse(request)) else { return 0 };
    let mut calls = 0;
    loop {
        let index = family.tasks.iter().position(|task| task.id == id).expect("the task waits");
        calls += usize::from(matches!(family.next_call(index), Some(Sent { call: Call::Seek(_), .. })));
        if family.advance(id, Fate::Arrives).is_some() {
            family.settle();
            return calls;
        }
    }
}

#[test]
fn a_lost_call_fails_the_read_and_changes_nothing() {
    let mut family = Family::new(0);
    family.run(&CHAIN);
    let request = format!("GET /v1/stream/c?at={}", rfc3339(START));
    let Begun::Waits(id) = family.begin(&Request::parse(&request)) else { panic!("no owner was asked") };
    let outcome = loop {
        if let Some(outcome) = family.advance(id, Fate::Lost) {
            break outcome;
        }
    };
    let Outcome::Answered(response) = outcome else { panic!("{outcome:?}") };
    response.assert_is("500");
    family.ask(&request).assert_is("200 << abcdefghij");
}

// The model: a list of messages with their times.

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Append so many messages to the newest stream.
    Append(usize),
    /// Continue in a fork of the newest stream; at an instant so many seconds ago, if there is one.
    Fork(Option<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3u64).prop_map(Step::Wait),
        6 => (1..4usize).prop_map(Step::Append),
        1 => Just(Step::Fork(None)),
        1 => (0..20u64).prop_map(|ago| Step::Fork(Some(ago))),
    ];
    prop::collection::vec(step, 1..40)
}

/// The messages of the newest stream with their times, and that stream.
struct Model {
    family: Family,
    messages: Vec<(u64, u64)>,
    newest: usize,
    made: u64,
}

impl Model {
    fn run(steps: &[Step], appends_max: Option<u64>) -> Model {
        let limits = |appends_max| SegmentLimits { appends_max, bytes_max: 1 << 20, closed_bytes_min: 1 };
        let mut family = Family::with(0, 1 << 20, appends_max.map(limits), RetentionDefaults::default());
        family.run(&["PUT /v1/stream/f0 | content-type: application/json"]);
        let mut model = Model { family, messages: Vec::new(), newest: 0, made: 0 };
        for step in steps {
            model.step(step);
        }
        model
    }

    fn step(&mut self, step: &Step) {
        let newest = self.newest;
        match step {
            Step::Wait(seconds) => self.family.now += seconds * 1000,
            Step::Append(count) => {
                let ids: Vec<u64> = (self.made..self.made + *count as u64).collect();
                self.made += *count as u64;
                let post = format!("POST /v1/stream/f{newest} | content-type: application/json << {ids:?}");
                self.family.run(&[&post]);
                self.messages.extend(ids.into_iter().map(|id| (id, self.family.now)));
            }
            Step::Fork(ago) => {
                let mut put =
                    format!("PUT /v1/stream/f{} | stream-forked-from: /v1/stream/f{newest}", newest + 1);
                if let Some(ago) = ago {
                    put.push_str(&format!(" | stream-fork-at: {}", rfc3339(self.family.now - ago * 1000)));
                }
                self.family.run(&[&put]);
                self.newest += 1;
                let inherited = self.read("").1;
                let at = ago.map_or(u64::MAX, |ago| self.family.now - ago * 1000);
                let exact = self.messages.partition_point(|(_, written)| *written < at);
                // Rotated segments have one time each, and a fork at an instant leaves the source at the start of one.
                assert!(inherited.len() <= exact, "the fork has messages of the instant or later");
                assert_eq!(inherited, self.ids(0)[..inherited.len()]);
                self.messages.truncate(inherited.len());
            }
        }
    }

    fn ids(&self, from: usize) -> Vec<u64> {
        self.messages[from..].iter().map(|(id, _)| *id).collect()
    }

    /// Reads the newest stream to its tail: where the first response begins, and the messages.
    fn read(&mut self, query: &str) -> (String, Vec<u64>) {
        let path = format!("/v1/stream/f{}", self.newest);
        let (mut query, mut start, mut ids) = (query.to_owned(), None, Vec::new());
        loop {
            let response = self.family.ask(&format!("GET {path}{query}"));
            response.assert_is("200");
            start = start.or_else(|| response.header("stream-start-offset").map(str::to_owned));
            ids.extend(serde_json::from_slice::<Vec<u64>>(&response.body).unwrap());
            if response.header("stream-up-to-date").is_some() {
                return (start.unwrap_or_default(), ids);
            }
            query = format!("?offset={}", response.header("stream-next-offset").unwrap());
        }
    }

    /// Checks a read: it begins at message `exact`, or at most `slack` messages earlier.
    fn check(&mut self, query: &str, exact: usize, slack: usize) {
        let (start, found) = self.read(query);
        let all = self.ids(0);
        assert!(found.len() >= all.len() - exact, "{query} begins too late: {found:?} of {all:?}");
        assert!(found.len() <= all.len() - exact + slack, "{query} begins too early: {found:?} of {all:?}");
        assert_eq!(found, all[all.len() - found.len()..], "{query}");
        assert_eq!(self.read(&format!("?offset={start}")).1, found, "{query} is not at its start offset");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// Without a bucket, both are exact, in forks too. With one, `at` may begin up to a segment earlier.
    #[test]
    fn reads_begin_where_a_simple_model_says(steps in steps(), appends_max in prop::option::of(1..4u64)) {
        let mut model = Model::run(&steps, appends_max);
        // A segment has up to 3 appends of up to 3 messages.
        let slack = if appends_max.is_some() { 8 } else { 0 };
        for seconds in (START / 1000..=model.family.now / 1000 + 1).step_by(2) {
            let exact = model.messages.partition_point(|(_, written)| *written < seconds * 1000);
            model.check(&format!("?at={}", rfc3339(seconds * 1000)), exact, slack);
        }
        for count in [1, 2, 5, 10_000] {
            model.check(&format!("?last={count}"), model.messages.len().saturating_sub(count), 0);
        }
    }
}
