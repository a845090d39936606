//! How the edge continues a live response and how it ends one: time, room in memory, slow clients and limits.

use durable_streams::edge::live::long_poll::{LongPoll as PollAtEdge, PollStep, SOCKETS_MAX};
use durable_streams::edge::live::sse::{ASKS_MAX, HEARTBEAT_EVERY, REST, SseEnds, SseResponse, SseStep};
use durable_streams::edge::live::{LiveAnswer, Room, UNCOUNTED_BYTES};
use durable_streams::protocol::Millis;
use durable_streams::protocol::bridge::{CLOSE_CATCH_UP, CLOSE_DONE, frame_head};
use durable_streams::protocol::offset::{Offset, ReadFrom};

use super::{HELLO, TEXT};
use crate::support::{Request, SseClient, World};

const SSE: &str = "GET ?offset=-1&live=sse";
const NOW: Millis = 1_000_000;
const ENDS: SseEnds =
    SseEnds { deadline: NOW + 100_000, until: NOW + 300_000, stall: 60_000, cpu_limit: 1 << 40 };
const SOCKET: LiveAnswer = LiveAnswer::Socket { next: None };

fn at(position: u64) -> Offset {
    Offset { segment: 1, position }
}

fn part(position: u64) -> LiveAnswer {
    LiveAnswer::Found { next: Some(at(position)), closed: false }
}

/// Room in memory that is always granted or always refused.
struct Always(bool);

impl Room for Always {
    fn resize(&mut self, _bytes: usize) -> bool {
        self.0
    }

    fn renew(&mut self) {}

    fn release(&mut self) {}
}

fn begin(first: LiveAnswer, ends: SseEnds) -> SseResponse<Always> {
    SseResponse::begin(first, ends, Always(true), NOW).expect("the response continues")
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

/// Heartbeats have their own schedule, with or without appends, and do not postpone the deadline.
#[test]
fn heartbeats_do_not_postpone_the_deadline() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = connect(&mut world, ENDS);
    let deadline = client.deadline();
    while world.now < deadline {
        assert!(!client.is_over(), "the response ended {} ms early", deadline - world.now);
        world.now += 1_000;
        world.run(&["POST | content-type: text/plain << x"]);
        client.pump(&mut world);
    }
    assert!(client.is_over() && client.socket().is_none(), "the response continues after its deadline");
    assert_eq!(heartbeats(&client), 6, "one every 15 s for 100 s");
}

#[test]
fn sse_response_continues_from_the_passed_offset() {
    let mut response = begin(part(5), ENDS);
    assert_eq!(response.next(NOW), SseStep::PassOn);
    response.passed_on(Some(10));
    // Calling `next` twice gives the same step: only events change it.
    assert_eq!([response.next(NOW), response.next(NOW)], [SseStep::Ask(Some(at(5))); 2]);
    assert!(!response.is_waiting());
    response.answered(LiveAnswer::Later, NOW);
    assert_eq!(response.next(NOW), SseStep::Rest(NOW + REST));
    assert!(response.is_waiting());
    let later = NOW + REST;
    assert_eq!(response.next(later), SseStep::Ask(Some(at(5))));
    response.answered(SOCKET, later);
    assert_eq!(response.next(later), SseStep::Listen(later + HEARTBEAT_EVERY));
    assert!(response.frame(&frame_head(at(5), at(8)), 3), "the frame continues at the passed offset");
    assert!(!response.frame(&frame_head(at(5), at(8)), 3), "the frame was passed on before");
    assert!(response.is_waiting(), "there is nothing to do");
    assert!(!response.frame(&frame_head(at(9), at(10)), 1), "a gap");
    assert!(!response.is_waiting());
    assert!(
        !response.frame(&frame_head(at(8), at(9)), 1),
        "too late: the response no longer listens to the socket"
    );
    response.closed(CLOSE_DONE);
    assert_eq!(response.next(later), SseStep::Ask(Some(at(8))));
    response.answered(SOCKET, later);
    response.closed(CLOSE_CATCH_UP);
    assert_eq!(response.next(later), SseStep::Ask(Some(at(8))));
    response.answered(SOCKET, later);
    response.closed(CLOSE_DONE);
    assert_eq!(response.next(later), SseStep::End(later + ENDS.stall));
    response.answered(SOCKET, later);
    assert!(response.is_over(), "an answer after the end changes nothing");
}

/// If the first answer is the whole response, the edge needs no state machine.
#[test]
fn complete_answer_needs_no_live_response() {
    for first in [LiveAnswer::Found { next: Some(at(5)), closed: true }, LiveAnswer::Later, LiveAnswer::Ended]
    {
        assert!(SseResponse::begin(first, ENDS, Always(true), NOW).is_none(), "{first:?}");
    }
}

/// A response makes a limited number of calls, and none after its deadline.
#[test]
fn calls_of_a_response_are_limited() {
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

/// A response ends after the event that spends its CPU time. Whatever ends it, it sends nothing after the token
/// expires.
#[test]
fn cpu_limit_ends_a_response_and_token_expiry_bounds_its_end() {
    let ends = SseEnds { cpu_limit: 10, until: NOW + 5, ..ENDS };
    let mut response = begin(SOCKET, ends);
    let written = (0..).take_while(|_| response.frame(&frame_head(at(0), at(0)), 3)).count();
    assert_eq!(written, 24);
    assert_eq!(response.next(NOW), SseStep::End(NOW + 5));
}

/// The edge ends the response of a client that does not read: at once if it is too far behind, otherwise after it has
/// read nothing for the stall time.
#[test]
fn slow_client_is_ended() {
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
    assert_eq!(response.next(NOW), SseStep::End(NOW), "the end waits for no unread data");
    let mut response = begin(part(5), ENDS);
    response.passed_on(None);
    assert_eq!(response.next(NOW), SseStep::End(NOW));
}

/// A frame without room is requested again once there is room. Nothing that follows it is sent before it.
#[test]
fn frame_without_room_is_sent_later_in_order() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = connect(&mut world, ENDS);
    client.room.set(0);
    let large = "x".repeat(2 * UNCOUNTED_BYTES);
    world.run(&[&format!("POST | content-type: text/plain << {large}"), HELLO]);
    client.pump(&mut world);
    assert!(client.socket().is_none(), "the object may hibernate");
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
    assert_eq!(client.room.get(), 1 << 20, "the client has read everything");
    assert!(!client.is_over());
}

#[test]
fn response_without_room_ends_at_its_deadline() {
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

/// A long-poll waits at a few sockets one after another, and then answers that there is nothing new.
#[test]
fn long_poll_answers_204_after_its_last_socket() {
    let socket = LiveAnswer::Socket { next: Some(at(5)) };
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

/// A frame after a gap is not an answer, so the edge requests the data instead. That response is uncacheable, unless
/// the client's URL names the offset.
#[test]
fn long_poll_requests_data_after_a_gap() {
    let socket = LiveAnswer::Socket { next: Some(at(5)) };
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
