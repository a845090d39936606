//! PROTOCOL.md 5.1: PUT.

use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::http::STREAM_URL;
use crate::support::{Request, World, check};

#[test]
fn creates_an_empty_stream() {
    check(
        &[],
        "PUT ?ignored=1 | content-type: text/plain; charset=utf-8",
        &format!(
            "201 | location: {STREAM_URL} | content-type: text/plain; charset=utf-8 | stream-next-offset: @0_0 | \
             !stream-closed | cache-control: no-store <<"
        ),
    );
    check(&[], "PUT", "201 | content-type: application/octet-stream");
}

#[test]
fn creates_with_content() {
    check(&[], "PUT | content-type: text/plain << hello", "201 | stream-next-offset: @0_5 <<");
    check(&[], "PUT | content-type: application/json << [1,[2],3]", "201 | stream-next-offset: @0_3");
    check(
        &["PUT | content-type: application/json << {\"a\":1}"],
        "GET",
        "200 | stream-next-offset: @0_1 << [{\"a\":1}]",
    );
    // 9.1.3: an empty array is no message, and fine in a PUT.
    check(&[], "PUT | content-type: application/json << []", "201 | stream-next-offset: @0_0");
    check(
        &[TEXT],
        "GET",
        "200 | content-type: text/plain | stream-next-offset: @0_0 | stream-up-to-date: true <<",
    );
}

#[test]
fn creates_closed() {
    check(&[], "PUT | stream-closed: true", "201 | stream-closed: true | stream-next-offset: @0_0");
    let single_shot = "PUT | content-type: text/plain | stream-closed: TRUE << hello";
    check(&[], single_shot, "201 | stream-closed: true | stream-next-offset: @0_5");
    check(&[single_shot], "GET", "200 | stream-closed: true | stream-up-to-date: true << hello");
    check(&[single_shot], HELLO, "409 | error: stream_closed");
}

/// 4.1: any other value is as if the header were not there.
#[test]
fn only_true_closes() {
    for value in ["false", "yes", "1", "", "true, true", "truest"] {
        let mut world = World::new();
        let request = Request::parse(TEXT).header("stream-closed", value);
        world.send_answered(&request).assert_is("201 | !stream-closed");
        let request = Request::parse(HELLO).header("stream-closed", value);
        world.send_answered(&request).assert_is("204 | !stream-closed");
        let request = Request::parse("POST").header("stream-closed", value);
        world.send_answered(&request).assert_is("400 | error: empty_body");
    }
}

/// Each with each: 200 where type, lifetime and closure are the same, 409 where not.
#[test]
fn create_again_matrix() {
    let configurations: [&[&str]; 9] = [
        &[
            "PUT | content-type: text/plain",
            "PUT | content-type: TEXT/Plain",
            "PUT | content-type: text/plain;charset=utf-8",
        ],
        &["PUT | content-type: text/html"],
        &["PUT | content-type: application/json", "PUT | content-type: application/json << [1]"],
        &["PUT", "PUT | content-type: application/octet-stream | stream-closed: no"],
        &[
            "PUT | content-type: text/plain | stream-closed: true",
            "PUT | content-type: text/plain | stream-closed: True << x",
        ],
        &["PUT | content-type: text/plain | stream-ttl: 60"],
        &["PUT | content-type: text/plain | stream-ttl: 61"],
        &[
            "PUT | content-type: text/plain | stream-expires-at: 2031-01-01T00:00:00Z",
            "PUT | content-type: text/plain | stream-expires-at: 2031-01-01T01:00:00.000+01:00",
        ],
        &["PUT | content-type: text/plain | stream-expires-at: 2031-01-01T00:00:01Z"],
    ];
    for (first_index, first) in configurations.iter().enumerate() {
        for (second_index, second) in configurations.iter().enumerate() {
            let expected = if first_index == second_index {
                "200 | content-type | stream-next-offset | !location <<"
            } else {
                "409 | error: stream_exists"
            };
            for (first, second) in
                first.iter().flat_map(|first| second.iter().map(move |second| (first, second)))
            {
                check(&[first], second, expected);
            }
        }
    }
}

#[test]
fn creating_again_appends_nothing() {
    let state = ["PUT | content-type: text/plain << one"];
    check(
        &state,
        "PUT | content-type: text/plain << two",
        "200 | stream-next-offset: @0_3 | content-type: text/plain",
    );
    check(&[state[0], "PUT | content-type: text/plain << two"], "GET", "200 << one");
}

#[test]
fn closure_is_compared_as_it_is_now() {
    check(&[TEXT, CLOSE], TEXT, "409 | error: stream_exists");
    let closed = "PUT | content-type: text/plain | stream-closed: true";
    check(&[TEXT, HELLO, CLOSE], closed, "200 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT], closed, "409 | !stream-closed");
}

#[test]
fn lifetimes_that_are_none() {
    for ttl in [
        "+60",
        "060",
        "00",
        "60.0",
        "6e1",
        "-1",
        "",
        " 60",
        "60 ",
        "0x10",
        "3153600001",
        "99999999999999999999",
    ] {
        let request = Request::parse(TEXT).header("stream-ttl", ttl);
        World::new().send_answered(&request).assert_is("400 | error: invalid_header");
    }
    for at in [
        "",
        "tomorrow",
        "2031-01-01",
        "2031-13-01T00:00:00Z",
        "2031-01-01T00:00:00",
        "1925000000",
        "1960-01-01T00:00:00Z",
    ] {
        let request = Request::parse(TEXT).header("stream-expires-at", at);
        World::new().send_answered(&request).assert_is("400 | error: invalid_header");
    }
    check(
        &[],
        "PUT | stream-ttl: 60 | stream-expires-at: 2031-01-01T00:00:00Z",
        "400 | error: invalid_header",
    );
    check(&[], "PUT | stream-ttl: 0", "201");
    check(&[], "PUT | stream-ttl: 3153600000", "201");
    check(&[], "PUT | stream-expires-at: 2031-01-01t00:00:00.5-02:00", "201");
}

#[test]
fn types_that_are_none() {
    for content_type in ["", "nonsense", "text/", "/plain", "text/plain, text/html", "text /plain"] {
        let request = Request::parse("PUT").header("content-type", content_type);
        World::new().send_answered(&request).assert_is("400 | error: invalid_header");
    }
}

#[test]
fn a_refused_create_creates_nothing() {
    for request in
        ["PUT | content-type: application/json << {", "PUT | stream-ttl: x", "PUT | content-type: x"]
    {
        let mut world = World::new();
        world.ask(request).assert_is("400");
        world.ask("HEAD").assert_is("404");
        assert!(world.sql.tables().is_empty(), "{request} made tables");
    }
    check(&[JSON], "PUT | content-type: application/json << {", "200");
}

#[test]
fn content_types_have_a_longest() {
    let put =
        |bytes: usize| Request::parse("PUT").header("content-type", &format!("a/{}", "b".repeat(bytes - 2)));
    World::new().send_answered(&put(1024)).assert_is("201");
    World::new().send_answered(&put(1025)).assert_is("400 | error: invalid_header");
    World::new().send_answered(&put(70_000)).assert_is("400 | error: invalid_header");
}
