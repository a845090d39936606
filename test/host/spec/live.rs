//! How the edge goes on with a live response, and how it ends one: time, room, slow clients, limits.

use durable_streams::edge::live::long_poll::{LongPoll as PollAtEdge, PollStep, SOCKETS_MAX};
use durable_streams::edge::live::sse::{ASKS_MAX, HEARTBEAT_EVERY, REST, SseEnds, SseResponse, SseStep};
use durable_streams::edge::live::{Answered, Room, UNCOUNTED_BYTES};
use durable_streams::protocol::Millis;
use durable_streams::protocol::bridge::{CLOSE_CATCH_UP, CLOSE_DONE, frame_head};
use durable_streams::protocol::offset::{Offset, ReadFrom};

use super::{HELLO, TEXT};
use crate::support::{Request, SseClient, World};

const SSE: &str = "GET ?offset=-1&live=sse";
const NOW: Millis = 1_000_000;
const ENDS: SseEnds =
    SseEnds { deadline: NOW + 100_000, until: NOW + 300_000, stall: 60_000, cpu_limit: 1 << 40 };
const SOCKET: Answered = Answered::Socket { next: None };

fn at(position: u64) -> Offset {
    Offset { segment: 1, position }
}

fn part(position: u64) -> Answered {
    Answered::Found { next: Some(at(position)), closed: false }
}

/// Room that is there or not.
struct Always(bool);

impl Room for Always {
    fn resize(&mut self, _bytes: usize) -> bool {
        self.0
    }

    fn renew(&mut self) {}

    fn release(&mut self) {}
}

fn begin(first: Answered, ends: SseEnds) -> SseResponse<Always> {
    SseResponse::begin(first, ends, Always(true), NOW).expect("it goes on")
}

fn connect(world: &mut World, ends: SseEnds) -> SseClient {
    let (deadline, until) = (world.now + ends.deadline - NOW, world.now + ends.until - NOW);
    let mut client =
        SseClient::connect_within(world, Request::parse(SSE), SseEnds { deadline, until, ..ends }).unwrap();
    client.pump(world);
    client
}

fn heartbeats(client: &SseClient) -> usize {
    String::from_utf8_lossy(&client.text).matches(":\n\n").count()
}

/// Heartbeats come at their own time, appends or not, and the response ends at its own.
#[test]
fn heartbeats_postpone_no_end() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = connect(&mut world, ENDS);
    let deadline = client.deadline();
    while world.now < deadline {
        assert!(!client.is_over(), "it ended {} ms early", deadline - world.now);
        world.now += 1_000;
        world.run(&["POST | content-type: text/plain << x"]);
        client.pump(&mut world);
    }
    assert!(client.is_over() && client.socket().is_none(), "it goes on after its deadline");
    assert_eq!(heartbeats(&client), 6, "one each 15 s of 100 s");
}

#[test]
fn what_a_shell_is_told() {
    let mut response = begin(part(5), ENDS);
    assert_eq!(response.next(NOW), SseStep::PassOn);
    response.passed_on(Some(10));
    // Idempotent: only what happens changes what is next.
    assert_eq!([response.next(NOW), response.next(NOW)], [SseStep::Ask(Some(at(5))); 2]);
    assert!(!response.is_waiting());
    response.answered(Answered::Later, NOW);
    assert_eq!(response.next(NOW), SseStep::Rest(NOW + REST));
    assert!(response.is_waiting());
    let later = NOW + REST;
    assert_eq!(response.next(later), SseStep::Ask(Some(at(5))));
    response.answered(SOCKET, later);
    assert_eq!(response.next(later), SseStep::Listen(later + HEARTBEAT_EVERY));
    assert!(response.frame(&frame_head(at(5), at(8)), 3), "it goes on where the response stands");
    assert!(!response.frame(&frame_head(at(5), at(8)), 3), "it was passed on");
    assert!(response.is_waiting(), "nothing is to be done");
    assert!(!response.frame(&frame_head(at(9), at(10)), 1), "a gap");
    assert!(!response.is_waiting());
    assert!(!response.frame(&frame_head(at(8), at(9)), 1), "too late: the socket is not listened to");
    response.closed(CLOSE_DONE);
    assert_eq!(response.next(later), SseStep::Ask(Some(at(8))));
    response.answered(SOCKET, later);
    response.closed(CLOSE_CATCH_UP);
    assert_eq!(response.next(later), SseStep::Ask(Some(at(8))));
    response.answered(SOCKET, later);
    response.closed(CLOSE_DONE);
    assert_eq!(response.next(later), SseStep::End(later + ENDS.stall));
    response.answered(SOCKET, later);
    assert!(response.is_over(), "too late");
}

/// What is the whole response needs no machine.
#[test]
fn a_whole_answer() {
    for first in [Answered::Found { next: Some(at(5)), closed: true }, Answered::Later, Answered::Ended] {
        assert!(SseResponse::begin(first, ENDS, Always(true), NOW).is_none(), "{first:?}");
    }
}

/// A response asks only so often, and not after its deadline.
#[test]
fn asks_are_counted() {
    let mut response = begin(part(0), ENDS);
    let mut asks = 1;
    loop {
        match response.next(NOW) {
            SseStep::Ask(_) => {
                asks += 1;
                response.answered(part(asks), NOW);
            }
            SseStep::PassOn => response.passed_on(Some(1)),
            end @ (SseStep::Listen(_) | SseStep::Heartbeat | SseStep::Rest(_) | SseStep::End(_)) => {
                break assert_eq!(end, SseStep::End(NOW + ENDS.stall));
            }
        }
    }
    assert_eq!(asks as usize, ASKS_MAX);
    let mut response = begin(part(0), ENDS);
    response.passed_on(Some(1));
    assert!(matches!(response.next(ENDS.deadline), SseStep::End(_)));
}

/// It ends after the event that used up its CPU time, and whatever it ends for, nothing is sent that the token does not allow.
#[test]
fn limits_end_a_response() {
    let ends = SseEnds { cpu_limit: 10, until: NOW + 5, ..ENDS };
    let mut response = begin(SOCKET, ends);
    let written = (0..).take_while(|_| response.frame(&frame_head(at(0), at(0)), 3)).count();
    assert_eq!(written, 24);
    assert_eq!(response.next(NOW), SseStep::End(NOW + 5));
}

/// A client that does not read is let go: at once when it is too far behind, else when it has read nothing for long.
#[test]
fn slow_clients_resume() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = connect(&mut world, SseEnds { stall: 40_000, ..ENDS });
    client.reads = false;
    world.run(&["POST | content-type: text/plain << x"]);
    client.pump(&mut world);
    for (passed, is_over) in [(15_000, false), (30_000, false), (45_000, false), (60_000, true)] {
        world.now += 15_000;
        client.pump(&mut world);
        assert_eq!(client.is_over(), is_over, "after {passed} ms");
    }
    let mut response = begin(SOCKET, ENDS);
    for (bytes, is_written) in [(5 << 20, true), (1, false), (1, false)] {
        assert_eq!(response.frame(&frame_head(at(0), at(0)), bytes), is_written);
    }
    assert_eq!(response.next(NOW), SseStep::End(NOW), "nothing of it is waited for");
    let mut response = begin(part(5), ENDS);
    response.passed_on(None);
    assert_eq!(response.next(NOW), SseStep::End(NOW));
}

/// A frame for which there is no room is asked for again once there is, and nothing that follows it comes first.
#[test]
fn what_has_no_room_comes_later() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = connect(&mut world, ENDS);
    client.room.set(0);
    let large = "x".repeat(2 * UNCOUNTED_BYTES);
    world.run(&[&format!("POST | content-type: text/plain << {large}"), HELLO]);
    client.pump(&mut world);
    assert!(client.socket().is_none(), "the object may sleep");
    assert_eq!(client.data(), ["hello"]);
    for _ in 0..3 {
        world.now += REST;
        client.pump(&mut world);
        assert_eq!(client.data(), ["hello"], "there is no room yet");
    }
    client.room.set(1 << 20);
    world.now += REST;
    client.pump(&mut world);
    assert_eq!(client.data().concat(), format!("hello{large}hello"));
    assert_eq!(client.room.get(), 1 << 20, "all of it was read");
    assert!(!client.is_over());
}

/// Room that never comes ends the response at its deadline.
#[test]
fn no_room_is_no_life() {
    let mut response = SseResponse::begin(SOCKET, ENDS, Always(false), NOW).unwrap();
    assert!(!response.frame(&frame_head(at(0), at(0)), UNCOUNTED_BYTES + 1));
    let mut now = NOW;
    while let SseStep::Rest(until) = response.next(now) {
        assert!(until > now && until <= ENDS.deadline);
        now = until;
    }
    assert_eq!(now, ENDS.deadline);
    assert!(response.is_over());
}

/// A long-poll waits at a few sockets, and then answers that there is nothing.
#[test]
fn a_long_poll_gives_up() {
    let socket = Answered::Socket { next: Some(at(5)) };
    let mut poll = PollAtEdge::begin(socket, Some(ReadFrom::Now), NOW).unwrap();
    let mut sockets = 0;
    while poll.next() == PollStep::Wait(NOW) {
        sockets += 1;
        poll.ended();
        assert_eq!(poll.next(), PollStep::Ask(at(5)));
        poll.answered(socket);
    }
    assert_eq!(sockets, SOCKETS_MAX);
    assert_eq!(poll.next(), PollStep::Wait(0), "the last socket is only closed");
    poll.ended();
    assert_eq!(poll.next(), PollStep::NothingNew);
}

/// A frame that leaves something out is no answer; and what is asked for instead is for no cache, unless the client's URL
/// names that offset.
#[test]
fn a_long_poll_asks_again() {
    let socket = Answered::Socket { next: Some(at(5)) };
    for (from, uncached) in [
        (Some(ReadFrom::Now), true),
        (Some(ReadFrom::Start), true),
        (Some(ReadFrom::At(at(6))), true),
        (None, true),
        (Some(ReadFrom::At(at(5))), false),
    ] {
        let mut poll = PollAtEdge::begin(socket, from, NOW).unwrap();
        assert!(!poll.frame(&frame_head(at(6), at(7))));
        assert_eq!(poll.next(), PollStep::Ask(at(5)));
        poll.answered(part(7));
        assert_eq!(poll.next(), PollStep::Answer { uncached }, "{from:?}");
    }
    let mut poll = PollAtEdge::begin(socket, None, NOW).unwrap();
    assert!(poll.frame(&frame_head(at(5), at(7))));
    poll.timed_out();
    assert_eq!(poll.next(), PollStep::NothingNew);
    assert!(PollAtEdge::begin(part(5), None, NOW).is_none());
}
