//! PROTOCOL.md 5.6: catch-up reads.

use std::cell::RefCell;
use std::collections::BTreeSet;

use http::Method;

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{LongPoll, Request, SseClient, World, check};
use durable_streams::object::read_size::chunk_bytes;
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::cors::{ALLOWED, EXPOSED, REQUESTED_MAX_BYTES};
use durable_streams::protocol::names::header;
use durable_streams::protocol::reply::Reply;

#[test]
fn read_returns_data_up_to_the_tail() {
    check(
        &[TEXT, HELLO],
        "GET",
        "200 | content-type: text/plain | stream-next-offset: @0_5 | stream-up-to-date: true | !stream-closed | \
         stream-cursor | etag << hello",
    );
    check(
        &[TEXT, HELLO],
        "GET ?offset=@0_5",
        "200 | stream-next-offset: @0_5 | stream-up-to-date: true | etag <<",
    );
    check(&[], "GET", "404 | error: stream_not_found");
    for offset in ["@0_0", "@0_7", "now", "-1"] {
        check(&[], &format!("GET ?offset={offset}"), "404");
    }
}

#[test]
fn unknown_live_mode_is_refused() {
    for live in ["", "true", "SSE", "longpoll", "websocket"] {
        check(&[TEXT], &format!("GET ?offset=-1&live={live}"), "400 | error: invalid_query");
    }
}

/// `Stream-Up-To-Date` and `Stream-Closed` are in the last chunk only.
#[test]
fn reads_are_chunked() {
    let mut world = World::with_chunks(4);
    world.run(&[BYTES, "POST | content-type: application/octet-stream << abcdefghij", CLOSE]);
    let more = "200 | !stream-up-to-date | !stream-closed | stream-next-offset: ";
    world.ask("GET").assert_is(&format!("{more}@0_4 << abcd"));
    world.ask("GET ?offset=@0_4").assert_is(&format!("{more}@0_8 << efgh"));
    world
        .ask("GET ?offset=@0_8")
        .assert_is("200 | stream-up-to-date: true | stream-closed: true | stream-next-offset: @0_10 << ij");
    // A chunk that ends at the tail is the last one.
    world.ask("GET ?offset=@0_6").assert_is("200 | stream-up-to-date: true | stream-closed: true << ghij");
    world.ask("GET ?offset=@0_10").assert_is("200 | stream-up-to-date: true | stream-closed: true <<");
}

/// JSON chunks end between messages, and each holds at least one.
#[test]
fn json_chunks_are_arrays() {
    let mut world = World::with_chunks(8);
    world.run(&[JSON]);
    for message in ["[1,2]", "\"a long message\"", "3", "4"] {
        world.run(&[&format!("POST | content-type: application/json << {message}")]);
    }
    let (mut offset, mut chunks) = ("-1".to_owned(), Vec::new());
    loop {
        let chunk = world.ask(&format!("GET ?offset={offset}"));
        chunks.push(chunk.text());
        offset = chunk.next().to_owned();
        if chunk.header("stream-up-to-date").is_some() {
            break;
        }
    }
    assert_eq!(chunks, ["[1,2,\"a long message\"]", "[3,4]"]);
}

#[test]
fn every_byte_value_is_returned() {
    let all: Vec<u8> = (0..=255).collect();
    let mut world = World::after(&["PUT | content-type: image/png"]);
    world.send_answered(&Request::parse("POST | content-type: image/png").body(all.clone())).assert_is("204");
    assert_eq!(world.ask("GET").body, all);
    let mut world = World::after(&[TEXT]);
    world
        .send_answered(&Request::parse("POST | content-type: text/plain").body(all.clone()))
        .assert_is("204");
    assert_eq!(world.ask("GET").body, all);
}

#[test]
fn unknown_method_is_refused_and_options_answered() {
    check(&[TEXT], "PATCH", "405 | error: method_not_allowed | allow: GET, HEAD, PUT, POST, DELETE, OPTIONS");
    check(&[TEXT], "TRACE", "405 | allow");
    check(&[], "PURGE", "405");
    check(
        &[],
        "OPTIONS",
        "204 | access-control-allow-methods: GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS | access-control-allow-headers | \
         access-control-max-age <<",
    );
}

/// A page may send the protocol's headers, those that tracing adds, and those that the preflight requests, if that is
/// a list of names.
#[test]
fn preflight_allows_the_requested_headers() {
    let (longest, too_long) = ("x".repeat(REQUESTED_MAX_BYTES), "x".repeat(REQUESTED_MAX_BYTES + 1));
    let table = [
        ("x-a", ", x-a"),
        ("X-A,x-b , x-c", ", X-A, x-b, x-c"),
        ("authorization,Producer-Id,TRACEPARENT", ""),
        ("", ""),
        (",,", ""),
        ("*", ", *"),
        ("x-a: 1, x-b", ", x-b"),
        ("x a, x\u{e9}, x\"y, (x), x\u{1}, x/y", ""),
        (&longest, &format!(", {longest}")),
        (&too_long, ""),
    ];
    let ask = |requested: Option<&str>| {
        let reply = Reply::preflight(requested.map(str::to_owned));
        assert_eq!(reply.header("vary"), Some("access-control-request-headers"));
        reply.header("access-control-allow-headers").unwrap().to_owned()
    };
    for (requested, more) in table {
        assert_eq!(ask(Some(requested)), format!("{}{more}", ask(None)), "{requested}");
    }
    let response = World::new().ask("OPTIONS /nowhere | access-control-request-headers: x-mine");
    response.assert_is("204");
    assert!(response.header("access-control-allow-headers").unwrap().ends_with(", x-mine"));
}

/// The values of all constants of `names::header`.
fn header_names() -> Vec<&'static str> {
    let names = include_str!("../../../src/protocol/names.rs");
    let module = names.split("pub mod header {").nth(1).unwrap().split("\n}").next().unwrap();
    let values = module.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
    values.map(|line| line.split('"').nth(1).unwrap()).collect()
}

/// Headers that no script of another site sends or reads: browsers, proxies and the edge handle them.
const NOT_FOR_SCRIPTS: [&str; 18] = [
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
    header::X_ACCEL_BUFFERING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    header::COOKIE,
    header::ORIGIN,
    header::VARY,
    header::REQUEST_HEADERS,
    header::ALLOW_HEADERS,
    header::ALLOW_ORIGIN,
    header::EXPOSE_HEADERS,
    header::ALLOW_CREDENTIALS,
    header::RESOURCE_POLICY,
    header::HOST,
    header::CONNECTING_IP,
    header::RAY,
    header::STREAM_STRANGER,
];

/// Each header of the server is in exactly one of three lists: scripts send it, scripts read it, or neither.
#[test]
fn every_header_is_classified_for_scripts() {
    let names = header_names();
    assert!(names.len() > 40, "{names:?}");
    let exposed: Vec<&str> = EXPOSED.split(", ").collect();
    for name in &names {
        let is_for_scripts = ALLOWED.contains(name) || exposed.contains(name);
        assert_ne!(is_for_scripts, NOT_FOR_SCRIPTS.contains(name), "{name}: see src/protocol/cors.rs");
    }
    let unknown: Vec<_> = exposed.into_iter().filter(|name| !names.contains(name)).collect();
    assert!(unknown.is_empty(), "exposed, but not in src/protocol/names.rs: {unknown:?}");
}

#[test]
fn preflight_allows_every_request_header() {
    let allowed = World::new().ask("OPTIONS").header("access-control-allow-headers").unwrap().to_owned();
    // Every header that the server reads, for every kind of request.
    let read = RefCell::new(BTreeSet::new());
    for (method, url) in [
        (Method::PUT, "/v1/stream/a"),
        (Method::POST, "/v1/stream/a"),
        (Method::GET, "/v1/stream/a?live=sse&offset=-1"),
        (Method::HEAD, "/v1/stream/a"),
        (Method::DELETE, "/v1/stream/a"),
    ] {
        let header = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            None
        };
        let head = RequestHead { method: &method, url, header: &header, random: &String::new };
        let _ = Command::parse(&head, b"x");
    }
    let mut read = read.into_inner();
    assert!(read.len() > 15 && read.remove(header::CONTENT_ENCODING), "{read:?}");
    let by_libraries = [
        "cache-control",
        "pragma",
        "x-requested-with",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
    ];
    for name in read.iter().map(String::as_str).chain(["authorization"]).chain(by_libraries) {
        assert!(allowed.split(", ").any(|found| found == name), "{name} is not in {allowed}");
    }
}

/// The more is buffered for unread responses, the smaller is the chunk: 4 MiB by default, and never less than 64 KiB,
/// which do not count.
#[test]
fn chunk_shrinks_with_the_room_left() {
    const MIB: usize = 1 << 20;
    let table = [
        (4 * MIB, 48 * MIB, 4 * MIB),
        (4 * MIB, 32 * MIB, 4 * MIB),
        (4 * MIB, 32 * MIB - 8, 4 * MIB - 1),
        (4 * MIB, 8 * MIB, MIB),
        (4 * MIB, 0, 64 << 10),
        (16 * MIB, 48 * MIB, 6 * MIB),
        // A smaller configured chunk stays smaller.
        (1000, 0, 1000),
    ];
    for (max_bytes, room_bytes, given_bytes) in table {
        assert_eq!(chunk_bytes(max_bytes, room_bytes), given_bytes, "{room_bytes} left");
    }
}

/// A response with a type that a browser might run is an attachment. Only a few types are known to be inert. To
/// browsers, a comma begins another type.
#[test]
fn content_that_a_browser_might_run_is_an_attachment() {
    for (content_type, is_attachment) in [
        ("application/json", false),
        ("Text/Plain; charset=utf-8", false),
        ("text/event-stream", false),
        ("application/octet-stream", false),
        ("text/html", true),
        ("text/html; charset=utf-8", true),
        ("image/svg+xml", true),
        ("application/xhtml+xml", true),
        ("text/xml", true),
        ("application/xml", true),
        ("multipart/x-mixed-replace", true),
        ("text/javascript", true),
        ("application/pdf", true),
        ("application/problem+json", true),
        ("application/unheard-of", true),
        ("text/plain; x=\"a, text/html\"", true),
        ("application/json; x=\",text/html;\"", true),
    ] {
        let expected = if is_attachment { "content-disposition: attachment" } else { "!content-disposition" };
        let put = format!("PUT | content-type: {content_type}");
        check(&[], &put, &format!("201 | {expected}"));
        for again in [put.as_str(), "HEAD", "GET ?offset=-1", "GET ?offset=now"] {
            check(&[&put], again, &format!("200 | {expected}"));
        }
        let mut world = World::after(&[&put]);
        let mut poll = LongPoll::park(&mut world, "GET ?offset=-1&live=long-poll");
        world.run(&[&format!("POST | content-type: {content_type} << 1")]);
        poll.answer(&mut world).unwrap().assert_is(&format!("200 | {expected}"));
        let events = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
        events.head().assert_is("200 | content-type: text/event-stream | !content-disposition");
    }
    check(&[], "PUT | content-type: text/plain, text/html", "400");
    check(&[], "PUT | content-type: text/plain;a=b, text/html", "400");
}
