//! PROTOCOL.md 5.1: Stream-TTL and Stream-Expires-At.

use super::{CLOSE, HELLO, TEXT};
use crate::support::world::START;
use crate::support::{LongPoll, Request, SseClient, World, check};

const TTL: &str = "PUT | content-type: text/plain | stream-ttl: 160";
const TTL_MS: u64 = 160_000;
/// How much later than its TTL a stream may expire after the object lost its memory.
const SLACK_MS: u64 = TTL_MS / 16;
const EXPIRES: &str = "PUT | content-type: text/plain | stream-expires-at: 2030-01-01T00:02:40Z";

fn is_alive(world: &mut World) -> bool {
    match world.ask("HEAD").status {
        200 => true,
        404 => false,
        other => panic!("{other}"),
    }
}

#[test]
fn stream_expires_exactly_at_its_ttl_or_expires_at() {
    for put in [TTL, EXPIRES] {
        check(&[put, "WAIT 159999ms"], "HEAD", "200");
        for request in [
            "HEAD",
            "GET",
            HELLO,
            CLOSE,
            "DELETE",
            "GET ?offset=now&live=long-poll",
            "GET ?offset=-1&live=sse",
        ] {
            check(&[put, "WAIT 160s"], request, "404 | error: stream_not_found");
        }
    }
}

#[test]
fn reads_and_writes_extend_the_ttl_and_head_does_not() {
    let slides = [
        "GET",
        "GET ?offset=now",
        "GET | if-none-match: *",
        HELLO,
        CLOSE,
        TTL,
        "POST | content-type: text/plain | producer-id: p | producer-epoch: 0 | producer-seq: 0 << x",
    ];
    for request in slides {
        let mut world = World::after(&[TTL, "WAIT 159s"]);
        assert!(world.ask(request).status < 400);
        world.run(&["WAIT 159999ms"]);
        assert!(is_alive(&mut world), "{request} extends the TTL");
        world.run(&["WAIT 1ms"]);
        assert!(!is_alive(&mut world), "{request} extends it by no more than the TTL");
    }
    check(&[TTL, "WAIT 159s", "HEAD", "WAIT 1s"], "GET", "404");
}

/// 5.1: the countdown restarts when a live read begins.
#[test]
fn live_reads_extend_the_ttl_when_they_begin() {
    for live in ["long-poll", "sse"] {
        let mut world = World::after(&[TTL, "WAIT 159s"]);
        let request = Request::parse(&format!("GET ?offset=now&live={live}"));
        let socket = match world.send(&request) {
            crate::support::Outcome::Parked(socket, _) => socket,
            crate::support::Outcome::Answered(response) => panic!("{response:?}"),
        };
        world.sockets.drop_socket(socket);
        world.run(&["WAIT 159s"]);
        assert!(is_alive(&mut world));
        world.run(&["WAIT 1s"]);
        assert!(!is_alive(&mut world));
    }
}

#[test]
fn refused_requests_do_not_extend_the_ttl() {
    for refused in ["GET ?offset=@0_9", "GET ?offset=x", "POST << x", "POST | content-type: text/html << x"] {
        let mut world = World::after(&[TTL, "WAIT 159s"]);
        assert!(world.ask(refused).status >= 400);
        world.run(&["WAIT 1s"]);
        assert!(!is_alive(&mut world), "{refused}");
    }
}

#[test]
fn expires_at_is_not_extended() {
    check(&[EXPIRES, "WAIT 159s", "GET", HELLO, "WAIT 1s"], "GET", "404");
}

/// However early the date is. A world begins at 2030-01-01T00:00:00Z.
#[test]
fn expiry_in_the_past_is_refused_with_its_reason() {
    for at in [
        "2030-01-01T00:00:00Z",
        "2029-12-31T23:59:59.999Z",
        "2030-01-01T00:59:59+01:00",
        "2029-12-31T22:59:59-01:00",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1960-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "-0001-12-31T00:00:00Z",
        "-029719-04-05T22:13:20.000Z",
    ] {
        for state in [&[][..], &[TEXT], &[EXPIRES]] {
            let put = format!("PUT | content-type: text/plain | stream-expires-at: {at}");
            let refused = World::after(state).ask(&put);
            refused.assert_is("400 | error: invalid_header");
            assert!(
                refused.text().contains("Stream-Expires-At cannot be used: it is in the past"),
                "{refused:?}"
            );
        }
    }
    for at in
        ["-", "-1", "--0001-12-31T00:00:00Z", "-0001-13-31T00:00:00Z", "-12-31T00:00:00Z", "0000", "-\u{e9}-"]
    {
        let refused = World::new().ask(&format!("PUT | stream-expires-at: {at}"));
        refused.assert_is("400 | error: invalid_header");
        assert!(!refused.text().contains("in the past"), "{refused:?}");
    }
    check(&["PUT | stream-expires-at: 2030-01-01T00:00:00.001Z", "WAIT 1ms"], "GET", "404");
}

#[test]
fn ttl_of_zero_expires_at_once() {
    check(&["PUT | stream-ttl: 0"], "GET", "404");
}

/// The platform bills every row, so reads must not write one each: they write at most 16 per TTL.
#[test]
fn reads_write_at_most_sixteen_rows_per_ttl() {
    for step_ms in [100, 1_000, 7_000, 9_999, 10_001, 30_000] {
        let mut world = World::after(&[TTL]);
        let restarts = step_ms > 1_000;
        world.sql.take_rows_written();
        let ttls = 5;
        for read in 0..ttls * TTL_MS / step_ms {
            world.now += step_ms;
            world.ask("GET").assert_is("200");
            if restarts && read % 3 == 0 {
                world.restart();
            }
        }
        let rows = world.sql.take_rows_written();
        assert!(rows <= 16 * ttls, "{rows} rows for reads every {step_ms} ms");
    }
}

/// The object may lose its memory after any read. The stream never expires early, and at most a sixteenth of its TTL
/// late.
#[test]
fn restart_does_not_expire_a_stream_early() {
    for first in [1u64, 4_999, 9_999, 10_000, 10_001, 100_000, 159_999] {
        for second in [1u64, 5_000, 10_000, 10_001, 159_999] {
            for request in ["GET", HELLO] {
                let mut world = World::after(&[TTL]);
                world.now = START + first;
                world.run(&["GET"]);
                world.now += second;
                world.run(&[request, "RESTART"]);
                let last = world.now;
                world.now = last + TTL_MS - 1;
                assert!(is_alive(&mut world), "early after {first} and {second}");
                world.now = last + TTL_MS + SLACK_MS;
                assert!(!is_alive(&mut world), "late after {first} and {second}");
            }
        }
    }
}

/// The stored expiry may be up to a sixteenth of the TTL later than the one in memory. After a 404, it must not
/// count.
#[test]
fn expired_stream_stays_expired_after_a_restart() {
    let mut world = World::after(&[TTL, HELLO, "WAIT 1s", "GET", "WAIT 160s"]);
    world.ask("GET").assert_is("404");
    world.restart();
    world.ask("GET").assert_is("404");
}

#[test]
fn alarm_reclaims_an_expired_stream() {
    for put in [TTL, EXPIRES] {
        let mut world = World::after(&[put, HELLO]);
        assert_eq!(world.alarm_at(), Some(START + TTL_MS));
        world.run(&["WAIT 160s", "RING"]);
        assert_eq!(world.alarm_at(), None);
        assert_eq!(world.sql.tables(), ["stream"], "messages and producers are deleted");
        world.run(&["RING", "RESTART", "RING"]);
        assert_eq!(world.alarm_at(), None);
        world.ask("GET").assert_is("404");
        // The next incarnation has its own offsets.
        world.ask(TEXT).assert_is("201 | stream-next-offset: @1_0");
        world.ask("GET ?offset=@0_5").assert_is("410");
    }
    assert_eq!(World::after(&[TEXT]).alarm_at(), None, "a stream without a lifetime has no alarm");
}

#[test]
fn alarm_is_set_again_for_a_stream_that_was_used() {
    for restart in ["WAIT 0s", "RESTART"] {
        let mut world = World::after(&[TTL, "WAIT 100s", HELLO, restart, "WAIT 60s", "RING"]);
        assert_eq!(world.alarm_at(), Some(START + 100_000 + TTL_MS));
        world.run(&["GET", "WAIT 100s", "RING"]);
        assert_eq!(world.alarm_at(), Some(START + 160_000 + TTL_MS));
    }
    // A recreated stream without a lifetime does not set the old alarm again.
    let mut world = World::after(&[TTL, "DELETE", TEXT, "WAIT 160s", "RING"]);
    assert_eq!(world.alarm_at(), None);
    world.ask("GET").assert_is("200");
}

#[test]
fn failed_alarm_is_retried() {
    use crate::support::sql::Fault;
    use durable_streams::object::pending::RETRY;
    for fault in
        [Fault::Statement(0), Fault::Statement(1), Fault::Statement(2), Fault::Commit, Fault::CommitButStored]
    {
        let mut world = World::after(&[TTL, HELLO, "WAIT 160s"]);
        world.sql.arm(fault);
        world.ring();
        assert!(world.sql.disarm(), "{fault:?} was not used");
        let again_at = world.alarm_at().expect("the alarm is set again");
        assert!(again_at <= world.now + RETRY, "{fault:?}: {again_at}");
        world.now = world.now.max(again_at);
        world.ring();
        assert_eq!(world.sql.tables(), ["stream"]);
        world.ask(TEXT).assert_is("201 | stream-next-offset: @1_0");
    }
}

#[test]
fn stream_is_created_again_before_the_alarm() {
    for restart in ["WAIT 0s", "RESTART"] {
        let mut world = World::after(&[TTL, HELLO, "WAIT 160s", restart]);
        world.ask(TEXT).assert_is("201 | stream-next-offset: @1_0");
        world.ask("GET").assert_is("200 | stream-next-offset: @1_0 <<");
        world.run(&["RING", HELLO]);
        world.ask("GET").assert_is("200 << hello");
    }
    // The next incarnation's lifetime sets the alarm anew.
    let mut world = World::after(&[TTL, "WAIT 200s", TTL]);
    assert_eq!(world.alarm_at(), Some(START + 200_000 + TTL_MS));
    world.ask("DELETE").assert_is("204");
}

/// 5.1: a stream with active live readers does not expire, even if nothing is appended.
#[test]
fn live_reader_keeps_a_stream_from_expiring() {
    let mut world = World::after(&[TTL, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    for _ in 0..10 {
        world.run(&["WAIT 150s", "RING", "RESTART"]);
        assert!(world.alarm_at().is_some_and(|at| at > world.now), "the alarm is set again, for later");
    }
    world.run(&["WAIT 1000s", HELLO]);
    client.pump(&mut world);
    assert_eq!(client.data(), ["hello", "hello"]);
    client.disconnect(&world);
    world.run(&["WAIT 159s"]);
    assert!(is_alive(&mut world));
    world.run(&["WAIT 20s"]);
    assert!(!is_alive(&mut world));
    // A waiter is a live reader, too.
    let mut world = World::after(&[TTL]);
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&["WAIT 200s", "RESTART", HELLO]);
    poll.answer(&mut world).unwrap().assert_is("200 << hello");
}

#[test]
fn live_reader_does_not_extend_expires_at() {
    let mut world = World::after(&[EXPIRES, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&["WAIT 160s", "RING"]);
    client.pump(&mut world);
    assert!(client.is_over());
    poll.answer(&mut world).unwrap().assert_is("404");
}

/// Creating the next incarnation ends the readers of the expired one, with or without the alarm.
#[test]
fn next_incarnation_ends_readers_of_the_expired_one() {
    let mut world = World::after(&[EXPIRES, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&["WAIT 160s", TEXT, "POST | content-type: text/plain << secret"]);
    client.pump(&mut world);
    assert!(client.is_over());
    assert_eq!(client.data(), ["hello"]);
    let answer = poll.answer(&mut world).unwrap();
    assert!(answer.status == 404 || answer.status == 410, "{answer:?}");
}
