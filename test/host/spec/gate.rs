//! The gate between the object's frames and the client: what a live response passes on (ARCHITECTURE.md, "The gate").

use super::{HELLO, TEXT};
use crate::support::sql::Fault;
use crate::support::{LongPoll, SseClient, World};
use durable_streams::edge::gate::{Bridge, Gate};
use durable_streams::protocol::bridge::frame_head;
use durable_streams::protocol::offset::Offset;

#[test]
fn gate_passes_a_frame_that_begins_at_the_passed_offset() {
    let offset = |position| Offset { segment: 1, position };
    let next_incarnation = |position| Offset { segment: 2, position };
    let table = [
        // The first frame is the reader's own snapshot. It may begin anywhere.
        (None, offset(7), offset(9), Gate::Pass, Some(offset(9))),
        (Some(offset(5)), offset(5), offset(8), Gate::Pass, Some(offset(8))),
        // A closure has no data.
        (Some(offset(5)), offset(5), offset(5), Gate::Pass, Some(offset(5))),
        // All of it was passed on before. Another request would be wasteful.
        (Some(offset(5)), offset(2), offset(5), Gate::Skip, Some(offset(5))),
        (Some(offset(5)), offset(0), offset(3), Gate::Skip, Some(offset(5))),
        // Data is missing, or part of it was passed on before.
        (Some(offset(5)), offset(6), offset(8), Gate::Gap, Some(offset(5))),
        (Some(offset(5)), offset(2), offset(8), Gate::Gap, Some(offset(5))),
        (Some(offset(5)), next_incarnation(0), next_incarnation(3), Gate::Gap, Some(offset(5))),
    ];
    for (passed, start, next, expected, then) in table {
        let mut bridge = Bridge { passed };
        assert_eq!(bridge.admit(&frame_head(start, next)), expected, "{start} to {next} at {passed:?}");
        assert_eq!(bridge.passed, then, "the response is at the end of its last frame");
    }
}

#[test]
fn malformed_frame_is_a_gap() {
    let whole = frame_head(Offset::segment_start(1), Offset::segment_start(1));
    let cut = &whole[..whole.len() - 1];
    let text = "x".repeat(66);
    for frame in [&b""[..], cut, text.as_bytes(), &[0xff; 66], &[0; 66]] {
        assert_eq!(Bridge::default().admit(frame), Gate::Gap);
    }
}

/// A panic would end the whole isolate.
#[test]
fn malformed_frame_does_not_panic() {
    let frame = format!("{}\u{20ac}{}", "x".repeat(32), "x".repeat(31));
    assert_eq!(Bridge::default().admit(frame.as_bytes()), Gate::Gap);
}

/// A socket stores its incarnation. It may outlive its stream: the delete was stored, and then something failed. The
/// object sends such a socket nothing of the next incarnation, so this does not depend on the gate.
#[test]
fn socket_of_an_earlier_incarnation_is_sent_nothing() {
    let mut world = World::after(&[TEXT, HELLO]);
    let client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let ahead = SseClient::open(&mut world, "GET ?offset=-1&live=sse&cursor=4503599627370000");
    let poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.sql.arm(Fault::CommitButStored);
    world.ask("DELETE").assert_is("500");
    world.run(&[TEXT, "POST | content-type: text/plain << secret", "POST | stream-closed: true"]);
    for socket in [client.socket(), ahead.socket()].map(Option::unwrap) {
        assert!(world.sockets.frame_at(socket, 0).is_some(), "the socket's own snapshot");
        assert!(world.sockets.frame_at(socket, 1).is_none() && world.sockets.close_code(socket).is_none());
    }
    assert!(world.sockets.frame_at(poll.socket(), 0).is_none());
}
