//! PROTOCOL.md 5.7: long-polls.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{LongPoll, Outcome, Request, World, check};
use durable_streams::protocol::cursor::CURSOR_MAX;

/// The cursor at the instant at which every world begins, which is also the start of an interval (10.1: 20 s, counted
/// from 2024-10-09).
const CURSOR: u64 = (1_893_456_000 - 1_728_432_000) * 1000;
/// The cursor of the next interval. A long-poll that begins with the world ends then.
const NEXT_CURSOR: u64 = CURSOR + 20_000;

#[test]
fn existing_data_is_answered_at_once() {
    check(
        &[TEXT, HELLO],
        "GET ?offset=-1&live=long-poll",
        &format!(
            "200 | content-type: text/plain | stream-next-offset: @0_5 | stream-up-to-date: true | \
             stream-cursor: {CURSOR} | etag | !stream-closed << hello"
        ),
    );
    check(&[TEXT, HELLO], "GET ?offset=@0_2&live=long-poll", "200 | stream-cursor << llo");
    check(
        &[TEXT, HELLO, CLOSE],
        "GET ?offset=-1&live=long-poll",
        "200 | stream-closed: true | !stream-cursor << hello",
    );
}

#[test]
fn end_of_a_closed_stream_is_answered_at_once() {
    for offset in ["@0_5", "now"] {
        check(
            &[TEXT, HELLO, CLOSE],
            &format!("GET ?offset={offset}&live=long-poll"),
            "204 | stream-closed: true | stream-up-to-date: true | stream-next-offset: @0_5 | !stream-cursor <<",
        );
    }
}

#[test]
fn long_poll_needs_an_offset_and_a_stream() {
    check(&[TEXT], "GET ?live=long-poll", "400 | error: invalid_query");
    check(&[], "GET ?offset=-1&live=long-poll", "404");
}

#[test]
fn timeout_is_a_204_at_the_tail() {
    for (state, offset, next) in
        [(&[TEXT][..], "-1", "@0_0"), (&[TEXT, HELLO], "@0_5", "@0_5"), (&[TEXT, HELLO], "now", "@0_5")]
    {
        let mut world = World::after(state);
        let mut poll = LongPoll::park(&mut world, &format!("GET ?offset={offset}&live=long-poll"));
        assert_eq!(poll.answer(&mut world), None);
        poll.time_out(&mut world).assert_is(&format!(
            "204 | stream-next-offset: {next} | stream-up-to-date: true | stream-cursor: {NEXT_CURSOR} | !stream-closed | \
             cache-control: no-store <<"
        ));
    }
}

#[test]
fn append_wakes_all_waiters() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut at_tail = LongPoll::park(&mut world, "GET ?offset=@0_5&live=long-poll");
    let mut at_now = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.sockets.take_frames_made();
    world.run(&["RESTART", "POST | content-type: text/plain << world"]);
    let expected = "200 | content-type: text/plain | stream-next-offset: @0_10 | stream-up-to-date: true | !stream-closed";
    let answer = at_tail.answer(&mut world).unwrap();
    answer.assert_is(&format!("{expected} | stream-cursor: {CURSOR} << world"));
    // A waiter gets the same response as a later reader of the same URL, including the tag.
    let read = world.ask("GET ?offset=@0_5&live=long-poll");
    assert_eq!(
        (answer.header("etag"), answer.header("cache-control")),
        (read.header("etag"), read.header("cache-control"))
    );
    // `now` names another offset in each request, so the response is uncacheable.
    at_now.answer(&mut world).unwrap().assert_is(&format!("{expected} | cache-control: no-store << world"));
}

#[test]
fn json_waiters_get_arrays() {
    let mut world = World::after(&[JSON]);
    let mut poll = LongPoll::park(&mut world, "GET ?offset=-1&live=long-poll");
    world.run(&["POST | content-type: application/json << [1,{\"b\": 2}]"]);
    poll.answer(&mut world).unwrap().assert_is("200 | stream-next-offset: @0_2 << [1,{\"b\":2}]");
}

#[test]
fn close_wakes_waiters() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&[CLOSE]);
    poll.answer(&mut world).unwrap().assert_is(
        "204 | stream-closed: true | stream-up-to-date: true | stream-next-offset: @0_5 | !stream-cursor <<",
    );
    let mut poll_of_last = {
        let mut world = World::after(&[TEXT]);
        let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
        world.run(&["POST | content-type: text/plain | stream-closed: true << bye"]);
        poll.answer(&mut world).unwrap()
    };
    poll_of_last.headers.retain(|(name, _)| name != "stream-cursor");
    poll_of_last.assert_is("200 | stream-closed: true | stream-up-to-date: true << bye");
}

#[test]
fn delete_wakes_waiters() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&["DELETE"]);
    poll.answer(&mut world).unwrap().assert_is("404 | error: stream_not_found");
}

/// A waiter never receives data of the next incarnation.
#[test]
fn waiter_receives_nothing_of_the_next_incarnation() {
    let mut world = World::after(&[TEXT, HELLO]);
    world.announces = false;
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.run(&["DELETE", TEXT, "POST | content-type: text/plain << secret"]);
    world.announce();
    let answer = poll.answer(&mut world).unwrap();
    assert!(answer.status == 404 || answer.status == 410, "{answer:?}");
    assert!(!answer.text().contains("secret"));
}

/// Data that is too large for a frame is fetched with a read.
#[test]
fn append_that_is_too_large_for_a_frame_is_fetched() {
    let mut world = World::after(&[BYTES]);
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    let body = vec![b'x'; (1 << 20) + 1];
    world
        .send_answered(&Request::parse("POST | content-type: application/octet-stream").body(body))
        .assert_is("204");
    let answer = poll.answer(&mut world).unwrap();
    answer.assert_is("200 | stream-next-offset: @0_1048576 | !stream-up-to-date | stream-cursor");
}

/// 10.1: the cursor comes from the clock and the last write, and is never behind the client's.
#[test]
fn cursor_is_never_behind_the_clients() {
    // The client's cursor, the cursor with data, and the cursor at the timeout.
    let table = [
        (None, CURSOR, NEXT_CURSOR),
        (Some(0), CURSOR, NEXT_CURSOR),
        (Some(CURSOR - 1), CURSOR, NEXT_CURSOR),
        (Some(CURSOR), CURSOR + 1, NEXT_CURSOR),
        (Some(CURSOR + 7), CURSOR + 8, NEXT_CURSOR),
        (Some(NEXT_CURSOR), NEXT_CURSOR + 1, NEXT_CURSOR + 1),
        // `CURSOR_MAX` is the largest cursor that the server issues. From a client, it ignores that one and larger ones.
        (Some(CURSOR_MAX - 1), CURSOR_MAX, CURSOR_MAX),
        (Some(CURSOR_MAX), CURSOR, NEXT_CURSOR),
        (Some(CURSOR_MAX + 1), CURSOR, NEXT_CURSOR),
    ];
    for (client, with_data, when_time_is_up) in table {
        let cursor = client.map(|client| format!("&cursor={client}")).unwrap_or_default();
        let expected = format!("200 | stream-cursor: {with_data}");
        check(&[TEXT, HELLO], &format!("GET ?offset=-1&live=long-poll{cursor}"), &expected);
        let mut world = World::after(&[TEXT]);
        let url = format!("GET ?offset=now&live=long-poll{cursor}");
        let mut poll = LongPoll::park(&mut world, &url);
        world.run(&["RESTART", HELLO]);
        poll.answer(&mut world).unwrap().assert_is(&expected);
        let timed_out = LongPoll::park(&mut world, &url).time_out(&mut world);
        timed_out.assert_is(&format!("204 | stream-cursor: {when_time_is_up}"));
    }
    for (steps, cursor) in [
        (&[TEXT, HELLO][..], CURSOR),
        (&[TEXT, HELLO, "WAIT 19999ms"], CURSOR),
        (&[TEXT, "WAIT 7ms", HELLO, "WAIT 9s"], CURSOR + 7),
        (&[TEXT, "WAIT 7ms", HELLO, "WAIT 9s", "RESTART"], CURSOR + 7),
        (&[TEXT, HELLO, "WAIT 20s"], NEXT_CURSOR),
        (&[TEXT, HELLO, "WAIT 20s", "WAIT 1ms", HELLO, HELLO, "WAIT 1s"], NEXT_CURSOR + 1),
    ] {
        let expected = format!("200 | stream-cursor: {cursor}");
        check(steps, "GET ?offset=-1&live=long-poll", &expected);
        // The server ignores a cursor that it did not issue.
        for other in ["", "x", "-1", "1.5", "4503599627370497", "99999999999999999999999"] {
            check(steps, &format!("GET ?offset=-1&live=long-poll&cursor={other}"), &expected);
        }
        // A reader that reaches the tail gets the cursor with that response, so it waits under the same URL as all
        // others.
        check(steps, "GET", &expected);
        check(steps, "GET ?offset=now", &expected);
    }
    let chunked = World::with_chunks(2);
    let closed = "200 | stream-closed: true | !stream-cursor";
    check(&[TEXT, HELLO, CLOSE], "GET", closed);
    let mut world = chunked;
    world.run(&[TEXT, HELLO]);
    world.ask("GET").assert_is("200 | stream-next-offset: @0_2 | !stream-cursor << he");
}

/// Readers that arrive at different times, in different ways and with different cursors share one URL after the next
/// append, and after a timeout.
#[test]
fn readers_converge_on_one_cursor() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut polls = Vec::new();
    for (wait, url) in [
        ("WAIT 1ms", "?offset=now&live=long-poll".to_owned()),
        ("WAIT 300ms", "?offset=@0_5&live=long-poll".to_owned()),
        ("WAIT 5s", format!("?offset=@0_5&live=long-poll&cursor={CURSOR}")),
        ("WAIT 9s", format!("?offset=@0_5&live=long-poll&cursor={}", CURSOR + 1)),
    ] {
        world.run(&[wait]);
        polls.push(LongPoll::park(&mut world, &format!("GET {url}")));
    }
    let timed_out = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll").time_out(&mut world);
    timed_out.assert_is(&format!("204 | stream-cursor: {NEXT_CURSOR}"));
    let at = CURSOR + 14_301 + 2_000;
    world.run(&["WAIT 2s", HELLO]);
    for poll in &mut polls {
        let expected = format!("200 | stream-cursor: {at} | stream-next-offset: @0_10");
        poll.answer(&mut world).unwrap().assert_is(&expected);
    }
    world.ask("GET ?offset=@0_5").assert_is(&format!("200 | stream-cursor: {at}"));
}

/// Waiters with equal cursors share one frame.
#[test]
fn waiters_with_one_cursor_share_one_frame() {
    let mut world = World::after(&[TEXT]);
    let mut polls: Vec<LongPoll> =
        (0..50).map(|_| LongPoll::park(&mut world, "GET ?offset=-1&live=long-poll")).collect();
    world.sockets.take_frames_made();
    world.run(&[HELLO]);
    assert_eq!(world.sockets.take_frames_made(), 1);
    for poll in &mut polls {
        poll.answer(&mut world).unwrap().assert_is("200 << hello");
    }
    // Waiters with different cursors get their own, whatever their number.
    let mut polls: Vec<LongPoll> = (0..40)
        .map(|n| {
            LongPoll::park(&mut world, &format!("GET ?offset=now&live=long-poll&cursor={}", CURSOR + n % 20))
        })
        .collect();
    world.run(&[HELLO]);
    for (n, poll) in polls.iter_mut().enumerate() {
        let cursor = CURSOR + n as u64 % 20 + 1;
        poll.answer(&mut world).unwrap().assert_is(&format!("200 | stream-cursor: {cursor} << hello"));
    }
}

#[test]
fn readers_beyond_the_limit_get_503_with_retry_after() {
    let mut world = World::after(&[TEXT, HELLO]);
    world.sockets.crowd.set(29_999);
    assert!(matches!(world.send(&Request::parse("GET ?offset=now&live=long-poll")), Outcome::Parked(..)));
    for live in ["GET ?offset=now&live=long-poll", "GET ?offset=-1&live=sse"] {
        world.ask(live).assert_is("503 | error: too_many_readers | retry-after: 5");
    }
    // Reads that need not wait are served.
    world.ask("GET ?offset=-1&live=long-poll").assert_is("200 << hello");
    world.ask("GET").assert_is("200 << hello");
}

/// The object died between the commit and the announcement, but its sockets did not. The waiter must not get data
/// after a gap.
#[test]
fn lost_announcement_leaves_no_gap() {
    for offset in ["@0_5", "now"] {
        let mut world = World::after(&[TEXT, HELLO]);
        let mut poll = LongPoll::park(&mut world, &format!("GET ?offset={offset}&live=long-poll"));
        world.announces = false;
        world.run(&["POST | content-type: text/plain << lost", "RESTART"]);
        world.announces = true;
        world.run(&["POST | content-type: text/plain << next"]);
        assert_eq!(poll.waits_at(), "0000000000000000_0000000000000005");
        poll.answer(&mut world).unwrap().assert_is("200 | stream-next-offset: @0_13 << lostnext");
    }
}
