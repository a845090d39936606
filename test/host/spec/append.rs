//! PROTOCOL.md 5.2: POST with a body.

use std::cell::RefCell;
use std::collections::BTreeSet;

use durable_streams::protocol::bridge::header_in;
use durable_streams::protocol::command::{APPEND_HEADERS, Command, RequestHead};
use http::Method;

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{Request, World, check};

#[test]
fn appends() {
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
fn the_type_must_be_the_streams() {
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
fn an_empty_body_is_refused() {
    check(&[TEXT], "POST | content-type: text/plain", "400 | error: empty_body");
    check(&[TEXT], "POST", "400 | error: empty_body");
    check(&[BYTES], "POST | stream-closed: false", "400 | error: empty_body");
}

#[test]
fn appends_and_closes() {
    let last = "POST | content-type: text/plain | stream-closed: true << hello";
    check(&[TEXT], last, "204 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT, last], "GET", "200 | stream-closed: true << hello");
    // Not idempotent without a producer: the body cannot be appended.
    check(&[TEXT, last], last, "409 | stream-closed: true | stream-next-offset: @0_5 | error: stream_closed");
    check(&[TEXT, HELLO, CLOSE], HELLO, "409 | stream-closed: true | stream-next-offset: @0_5");
}

/// Byte by byte, and strictly increasing.
#[test]
fn stream_seq_grows() {
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
        let expected = if accepted { "204" } else { "409 | error: stream_seq_regression | !stream-closed" };
        check(&[TEXT, &first], &second, expected);
        // An append without the header neither looks at it nor forgets it.
        check(&[TEXT, &first, HELLO], &second, expected);
    }
}

#[test]
fn stream_seq_has_bounds() {
    for (seq, expected) in
        [("", "400"), (&"x".repeat(1024), "204"), (&"x".repeat(1025), "400 | error: invalid_header")]
    {
        let mut world = World::after(&[TEXT]);
        world.send_answered(&Request::parse(HELLO).header("stream-seq", seq)).assert_is(expected);
    }
}

/// Only what is stored moves it.
#[test]
fn a_refused_append_leaves_stream_seq() {
    let seq = "POST | content-type: application/json | stream-seq: b << ";
    let mut world = World::after(&[JSON]);
    world.ask(&format!("{seq}{{")).assert_is("400");
    world.ask("POST | content-type: text/plain | stream-seq: b << 1").assert_is("409");
    world.ask(&format!("{seq}1")).assert_is("204");
    world.ask(&format!("{seq}1")).assert_is("409 | error: stream_seq_regression");
}

/// Closed, type, producer, body, `Stream-Seq`: each refusal with all the later ones at hand.
#[test]
fn order_of_refusals() {
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
    check(&state, &post(json, fresh, "2"), "409 | error: stream_seq_regression");
    // And the state that none of them changed still takes the right one.
    check(&state, &post(json, fresh, "2").replace("seq: a", "seq: n"), "200 | producer-seq: 1");
}

#[test]
fn sixteen_mebibytes_and_not_one_byte_more() {
    let body = vec![b'x'; (16 << 20) + 1];
    let request = Request::parse("POST | content-type: application/octet-stream");
    let mut world = World::after(&[BYTES]);
    let refused = world.send_answered(&request.clone().body(body.clone()));
    refused.assert_is("413 | error: body_too_large");
    assert!(refused.text().contains("16777216"), "the limit is in the message: {}", refused.text());
    world.send_answered(&request.body(&body[1..])).assert_is("204 | stream-next-offset: @0_16777216");
}

/// What several appends bring along that go to the object together is what each of them is asked for.
#[test]
fn no_other_header_decides() {
    let asked = RefCell::new(BTreeSet::new());
    for body in [&b""[..], b"x"] {
        let header = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            let value = match name {
                "content-encoding" => "identity",
                _ if name.ends_with("epoch") || name.ends_with("-seq") => "0",
                _ => "true",
            };
            Some(value.to_owned())
        };
        let head = RequestHead { method: &Method::POST, url: "", header: &header, random: &String::new };
        Command::parse(&head, body).expect("it has all that it may have");
    }
    assert_eq!(asked.into_inner(), APPEND_HEADERS.map(str::to_owned).into());
}

#[test]
fn a_header_is_found_in_lines_by_its_name_only() {
    let lines = "a\nb\nb\n\nempty\nc\nc\n1\n";
    let found = ["a", "b", "empty", "c", "", "1", "d"].map(|name| header_in(lines, name));
    assert_eq!(found, [Some("b"), Some(""), Some("c"), Some("1"), None, None, None]);
    assert_eq!(header_in("", "a"), None);
}
