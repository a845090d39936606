//! PROTOCOL.md 5.2: appends (POST with a body).

use std::cell::RefCell;
use std::collections::BTreeSet;

use durable_streams::protocol::bridge::header_in;
use durable_streams::protocol::command::{APPEND_HEADERS, Command, RequestHead};
use durable_streams::protocol::names::header;
use durable_streams::protocol::offset::Offset;
use http::Method;

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{Request, World, check};

#[test]
fn append_answers_204_with_the_next_offset() {
    check(
        &[TEXT],
        HELLO,
        "204 | stream-next-offset: @0_5 | !stream-closed | cache-control: no-store | !producer-seq <<",
    );
    check(&[TEXT, HELLO, HELLO], "GET", "200 | stream-next-offset: @0_10 << hellohello");
    check(&[JSON], "POST | content-type: application/json << [1,2]", "204 | stream-next-offset: @0_2");
    check(&[], HELLO, "404 | error: stream_not_found");
}

#[test]
fn content_type_must_match_the_streams() {
    for matching in ["text/plain", "TEXT/PLAIN", "text/plain; charset=latin1", " text/plain"] {
        let mut world = World::after(&[TEXT]);
        world.send_answered(&Request::parse("POST << x").header("content-type", matching)).assert_is("204");
    }
    for other in ["text/html", "application/json", "text", "nonsense"] {
        check(&[TEXT], &format!("POST | content-type: {other} << x"), "409 | error: content_type_mismatch");
    }
    check(&[TEXT], "POST << x", "400 | error: missing_content_type");
}

#[test]
fn empty_body_is_refused() {
    check(&[TEXT], "POST | content-type: text/plain", "400 | error: empty_body");
    check(&[TEXT], "POST", "400 | error: empty_body");
    check(&[BYTES], "POST | stream-closed: false", "400 | error: empty_body");
}

#[test]
fn append_may_close_the_stream() {
    let last = "POST | content-type: text/plain | stream-closed: true << hello";
    check(&[TEXT], last, "204 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT, last], "GET", "200 | stream-closed: true << hello");
    // Not idempotent without a producer: the server cannot append the body a second time.
    check(&[TEXT, last], last, "409 | stream-closed: true | stream-next-offset: @0_5 | error: stream_closed");
    check(&[TEXT, HELLO, CLOSE], HELLO, "409 | stream-closed: true | stream-next-offset: @0_5");
}

/// The server compares values byte by byte. Each must be greater than the last.
#[test]
fn stream_seq_must_increase() {
    let table = [
        ("2", "10", false),
        ("09", "10", true),
        ("a", "a", false),
        ("a", "B", false),
        ("B", "a", true),
        ("a", "aa", true),
        ("aa", "a", false),
        ("Z", "a", true),
        ("~", "z", false),
        ("z", "~", true),
    ];
    for (last, next, accepted) in table {
        let first = format!("POST | content-type: text/plain | stream-seq: {last} << a");
        let second = format!("POST | content-type: text/plain | stream-seq: {next} << b");
        let expected = if accepted { "204" } else { "409 | !stream-closed << Sequence conflict" };
        check(&[TEXT, &first], &second, expected);
        // An append without the header neither checks the stored value nor clears it.
        check(&[TEXT, &first, HELLO], &second, expected);
    }
}

#[test]
fn stream_seq_has_a_maximum_length() {
    for (seq, expected) in
        [("", "400"), (&"x".repeat(1024), "204"), (&"x".repeat(1025), "400 | error: invalid_header")]
    {
        let mut world = World::after(&[TEXT]);
        world.send_answered(&Request::parse(HELLO).header("stream-seq", seq)).assert_is(expected);
    }
}

/// Only an append that is stored advances it.
#[test]
fn refused_append_does_not_advance_stream_seq() {
    let seq = "POST | content-type: application/json | stream-seq: b << ";
    let mut world = World::after(&[JSON]);
    world.ask(&format!("{seq}{{")).assert_is("400");
    world.ask("POST | content-type: text/plain | stream-seq: b << 1").assert_is("409");
    world.ask(&format!("{seq}1")).assert_is("204");
    world.ask(&format!("{seq}1")).assert_is("409 << Sequence conflict");
}

/// Closed, content type, producer, body, `Stream-Seq`: each request would also meet all refusals that come after the
/// expected one.
#[test]
fn refusals_have_a_fixed_order() {
    let state = [
        JSON,
        "POST | content-type: application/json | producer-id: p | producer-epoch: 5 | producer-seq: 0 | stream-seq: m << 1",
    ];
    let closed = [state[0], state[1], CLOSE];
    let post = |content_type: &str, producer: &str, body: &str| {
        format!("POST | content-type: {content_type} | producer-id: p | {producer} | stream-seq: a << {body}")
    };
    let (stale, gap, fresh) = (
        "producer-epoch: 4 | producer-seq: 0",
        "producer-epoch: 5 | producer-seq: 9",
        "producer-epoch: 5 | producer-seq: 1",
    );
    let early = "producer-epoch: 6 | producer-seq: 1";
    let duplicate = "producer-epoch: 5 | producer-seq: 0";
    let json = "application/json";
    check(&closed, &post("text/plain", stale, "{"), "409 | error: stream_closed | stream-closed: true");
    check(&closed, "POST | stream-seq: a << {", "409 | error: stream_closed");
    check(&state, &post("text/plain", stale, "{"), "409 | error: content_type_mismatch");
    check(&state, &post(json, stale, "{"), "403 | error: stale_epoch");
    check(&state, &post(json, early, "{"), "400 | error: epoch_starts_at_zero");
    check(&state, &post(json, gap, "{"), "409 | error: producer_gap");
    check(&state, &post(json, duplicate, "{"), "204 | producer-seq: 0");
    check(&state, &post(json, fresh, "{"), "400 | error: invalid_json");
    check(&state, &post(json, fresh, "[]"), "400 | error: empty_batch");
    check(&state, &post(json, fresh, "2"), "409 << Sequence conflict");
    // No refused request changed the state: a valid append succeeds.
    check(&state, &post(json, fresh, "2").replace("seq: a", "seq: n"), "200 | producer-seq: 1");
}

/// With a stale offset, nothing is stored. The refusal names the tail, from which the writer continues.
#[test]
fn expected_offset_must_be_the_tail() {
    let post = |expected: &str| {
        format!("POST | content-type: text/plain | stream-expected-offset: {expected} << abc")
    };
    let conflict = "409 | stream-next-offset: @0_5 | cache-control: no-store | !stream-closed << Expected offset conflict";
    check(&[TEXT], &post("@0_0"), "204 | stream-next-offset: @0_3");
    check(&[TEXT, HELLO], &post("@0_5"), "204 | stream-next-offset: @0_8");
    check(
        &[TEXT, HELLO],
        &post("@0_5").replace("| s", "| stream-closed: true | s"),
        "204 | stream-closed: true",
    );
    for stale in ["@0_0", "@0_4", "@0_6", "@1_0"] {
        let mut world = World::after(&[TEXT, HELLO]);
        world.ask(&post(stale)).assert_is(conflict);
        world.ask("GET").assert_is("200 << hello");
    }
    let close = |expected: &str| format!("POST | stream-closed: true | stream-expected-offset: {expected}");
    check(&[TEXT, HELLO], &close("@0_5"), "204 | stream-closed: true | stream-next-offset: @0_5");
    let mut world = World::after(&[TEXT, HELLO]);
    world.ask(&close("@0_4")).assert_is(conflict);
    world.ask(HELLO).assert_is("204 | !stream-closed | stream-next-offset: @0_10");
    for malformed in ["", "5", "-1", "now", "0_5", "@0_5x", "@0_5, @0_5"] {
        for request in [post(malformed), close(malformed)] {
            let mut world = World::after(&[TEXT, HELLO]);
            world.ask(&request).assert_is("400 | error: invalid_header");
            world.ask("GET").assert_is("200 | !stream-closed << hello");
        }
    }
}

/// The order of an append's conditions: closed stream, producer's duplicate, `Stream-Seq`, expected offset.
#[test]
fn expected_offset_is_compared_last() {
    let post = |seq: &str, expected: &str| {
        format!(
            "POST | content-type: text/plain | stream-seq: {seq} | stream-expected-offset: {expected} << hello"
        )
    };
    let state = [TEXT, &post("m", "@0_0")];
    check(&state, &post("a", "@0_5"), "409 | stream-next-offset: @0_5 << Sequence conflict");
    check(&state, &post("a", "@0_0"), "409 | stream-next-offset: @0_5 << Sequence conflict");
    check(&state, &post("n", "@0_0"), "409 | stream-next-offset: @0_5 << Expected offset conflict");
    check(&state, &post("n", "@0_5"), "204 | stream-next-offset: @0_10");
    // The refused append did not advance `Stream-Seq`.
    let mut world = World::after(&state);
    world.ask(&post("n", "@0_0")).assert_is("409");
    world.ask(&post("n", "@0_5")).assert_is("204");
    let closed = [TEXT, HELLO, CLOSE];
    for expected in ["@0_0", "@0_5"] {
        check(&closed, &post("a", expected), "409 | error: stream_closed | stream-closed: true");
        let close = format!("POST | stream-closed: true | stream-expected-offset: {expected}");
        check(&closed, &close, "204 | stream-closed: true | stream-next-offset: @0_5");
    }
}

/// A producer's retry meets another tail than its first attempt, because that attempt moved it.
#[test]
fn duplicate_is_answered_whatever_its_expected_offset() {
    let post = |seq: u32, expected: &str| {
        format!(
            "POST | content-type: text/plain | producer-id: p | producer-epoch: 0 | producer-seq: {seq} \
             | stream-expected-offset: {expected} << hello"
        )
    };
    let first = post(0, "@0_0");
    check(&[TEXT], &first, "200 | stream-next-offset: @0_5 | producer-seq: 0");
    check(&[TEXT, &first], &first, "204 | stream-next-offset: @0_5 | producer-seq: 0");
    check(&[TEXT, &first, HELLO], &first, "204 | stream-next-offset: @0_10 | producer-seq: 0");
    // A conflict does not advance the producer: it sends the same sequence number with the tail from the response.
    let conflict = "409 | stream-next-offset: @0_10 | !producer-expected-seq << Expected offset conflict";
    let mut world = World::after(&[TEXT, &first, HELLO]);
    world.ask(&post(1, "@0_5")).assert_is(conflict);
    world.ask(&post(1, "@0_10")).assert_is("200 | producer-seq: 1");
    check(&[TEXT, &first], &post(2, "@0_5"), "409 | error: producer_gap");
    let last = post(1, "@0_5").replace("producer-id", "stream-closed: true | producer-id");
    check(&[TEXT, &first, &last], &last, "204 | stream-closed: true | producer-seq: 1");
    let close = "POST | stream-closed: true | producer-id: p | producer-epoch: 0 | producer-seq: 1";
    let stale = format!("{close} | stream-expected-offset: @0_0");
    check(&[TEXT, &first], &stale, "409 << Expected offset conflict");
    check(&[TEXT, &first, close], &stale, "204 | stream-closed: true | producer-seq: 1");
}

#[test]
fn body_is_limited_to_16_mib() {
    let body = vec![b'x'; (16 << 20) + 1];
    let request = Request::parse("POST | content-type: application/octet-stream");
    let mut world = World::after(&[BYTES]);
    let refused = world.send_answered(&request.clone().body(body.clone()));
    refused.assert_is("413 | error: body_too_large");
    assert!(refused.text().contains("16777216"), "the message names the limit: {}", refused.text());
    world.send_answered(&request.body(&body[1..])).assert_is("204 | stream-next-offset: @0_16777216");
}

/// Group commit passes only `APPEND_HEADERS` of each append to the object, so the parser must read no others.
#[test]
fn parser_reads_only_the_append_headers() {
    let read = RefCell::new(BTreeSet::new());
    for body in [&b""[..], b"x"] {
        let value = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            let value = match name {
                header::CONTENT_ENCODING => "identity".to_owned(),
                header::PRODUCER_EPOCH | header::PRODUCER_SEQ | header::STREAM_SEQ => "0".to_owned(),
                header::STREAM_EXPECTED_OFFSET => Offset::segment_start(0).to_string(),
                _ => "true".to_owned(),
            };
            Some(value)
        };
        let head = RequestHead { method: &Method::POST, url: "", header: &value, random: &String::new };
        Command::parse(&head, body).expect("it has all that it may have");
    }
    assert_eq!(read.into_inner(), APPEND_HEADERS.map(str::to_owned).into());
}

#[test]
fn header_in_matches_whole_names_only() {
    let lines = "a\nb\nb\n\nempty\nc\nc\n1\n";
    let found = ["a", "b", "empty", "c", "", "1", "d"].map(|name| header_in(lines, name));
    assert_eq!(found, [Some("b"), Some(""), Some("c"), Some("1"), None, None, None]);
    assert_eq!(header_in("", "a"), None);
}
