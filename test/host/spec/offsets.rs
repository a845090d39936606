//! PROTOCOL.md 8: offsets.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::{Request, World, check};

#[test]
fn sentinels_name_the_start_and_the_tail() {
    let state = [TEXT, HELLO];
    for start in ["", "?offset=-1", "?offset=@0_0", "?offset=%2D1"] {
        check(&state, &format!("GET {start}"), "200 | stream-next-offset: @0_5 << hello");
    }
    let now = "200 | stream-next-offset: @0_5 | stream-up-to-date: true | !etag | cache-control: no-store | !stream-closed <<";
    check(&state, "GET ?offset=now", now);
    check(
        &[JSON, "POST | content-type: application/json << 1"],
        "GET ?offset=now",
        "200 | stream-next-offset: @0_1 << []",
    );
    check(
        &[JSON],
        "GET ?offset=now",
        "200 | stream-next-offset: @0_0 | content-type: application/json << []",
    );
    check(&[TEXT, HELLO, CLOSE], "GET ?offset=now", "200 | stream-closed: true | stream-up-to-date: true <<");
}

#[test]
fn malformed_offset_is_refused() {
    let zeros = "0000000000000000";
    let forms = [
        "",
        "0",
        "-2",
        "NOW",
        "Now",
        "now ",
        "0_0",
        zeros,
        &format!("{zeros}{zeros}_"),
        &format!("{zeros}_{zeros}0"),
        &format!("{zeros}_000000000000000"),
        &format!("{zeros}-{zeros}"),
        &format!("{zeros}_00000000000000x0"),
        &format!("{zeros}_-000000000000005"),
        &format!("%20{zeros}_{zeros}"),
        "%00",
        "\u{661}",
    ];
    for form in forms {
        for live in ["", "&live=long-poll", "&live=sse"] {
            let mut request = Request::parse("GET");
            request.url.push_str(&format!("?offset={form}{live}"));
            World::after(&[TEXT, HELLO]).send_answered(&request).assert_is("400 | error: invalid_query");
        }
    }
}

#[test]
fn offset_beyond_the_tail_is_refused() {
    for offset in ["@0_7", "@1_0", "@9999999999999999_9999999999999999"] {
        for live in ["", "&live=long-poll", "&live=sse"] {
            check(&[TEXT, HELLO], &format!("GET ?offset={offset}{live}"), "400 | error: offset_beyond_tail");
        }
    }
    for live in ["", "&live=long-poll", "&live=sse"] {
        let json = [JSON, "POST | content-type: application/json << [1,2]"];
        check(&json, &format!("GET ?offset=@0_3{live}"), "400 | error: offset_beyond_tail");
    }
}

/// A position counts messages in JSON streams and bytes in all others.
#[test]
fn read_starts_at_any_position() {
    let bytes = "POST | content-type: application/octet-stream << ";
    let appends = [BYTES, &format!("{bytes}ab"), &format!("{bytes}cde"), &format!("{bytes}f")];
    for position in 0..=6 {
        // One byte after the start of an append means its start (`one_past.rs`).
        let rest = &"abcdef"[if [1, 3].contains(&position) { position - 1 } else { position }..];
        check(
            &appends,
            &format!("GET ?offset=@0_{position}"),
            &format!("200 | stream-next-offset: @0_6 << {rest}"),
        );
    }
    let json = "POST | content-type: application/json << ";
    let appends =
        [JSON, &format!("{json}[1,[2]]"), &format!("{json}{{\"c\":3}}"), &format!("{json}[\"d\",5,6]")];
    let messages = ["1", "[2]", "{\"c\":3}", "\"d\"", "5", "6"];
    for position in 0..=6 {
        let rest = messages[position..].join(",");
        check(
            &appends,
            &format!("GET ?offset=@0_{position}"),
            &format!("200 | stream-next-offset: @0_6 << [{rest}]"),
        );
    }
}

#[test]
fn repeated_parameter_is_refused() {
    for twice in
        ["offset=-1&offset=-1", "live=sse&live=sse&offset=-1", "offset=now&live=long-poll&cursor=1&cursor=2"]
    {
        check(&[TEXT], &format!("GET ?{twice}"), "400 | error: invalid_query");
    }
    check(&[TEXT, HELLO], "GET ?unknown=1&unknown=2&offset=-1&OFFSET=x", "200 << hello");
}
