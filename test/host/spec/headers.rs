//! Which values of request headers the server accepts, whatever the stream.

use crate::support::{Request, World, check};

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};

/// Values that are not visible ASCII, as the platform passes them on: bytes that are not UTF-8 become U+FFFD.
const NOT_PLAIN: [&str; 9] =
    ["\u{fffd}", "a\u{fffd}b", "\u{e9}", "\u{c4}", "\u{1f600}", "a\tb", "\u{1}", "\u{7f}", "\u{a0}"];

/// Every header whose value is stored, compared or looked up, with the rest of its request.
const PLAIN: [(&str, &str); 17] = [
    ("Producer-Id", "POST | content-type: text/plain | producer-epoch: 0 | producer-seq: 0 << x"),
    ("Producer-Epoch", "POST | content-type: text/plain | producer-id: p | producer-seq: 0 << x"),
    ("Producer-Seq", "POST | content-type: text/plain | producer-id: p | producer-epoch: 0 << x"),
    ("Stream-Seq", HELLO),
    ("Stream-Expected-Offset", HELLO),
    ("Stream-Expected-Offset", CLOSE),
    ("Stream-Closed", HELLO),
    ("Stream-Closed", "PUT /v1/stream/new"),
    ("Stream-TTL", "PUT /v1/stream/new"),
    ("Stream-Expires-At", "PUT /v1/stream/new"),
    ("Stream-Retention", "PUT /v1/stream/new"),
    ("Stream-Public", "PUT /v1/stream/new"),
    ("Stream-Reader-Key", "PUT /v1/stream/new"),
    ("Stream-Forked-From", "PUT /v1/stream/new"),
    ("Stream-Fork-Offset", "PUT /v1/stream/new | stream-forked-from: /v1/stream/a"),
    ("Stream-Fork-Sub-Offset", "PUT /v1/stream/new | stream-forked-from: /v1/stream/a"),
    ("Stream-Fork-At", "PUT /v1/stream/new | stream-forked-from: /v1/stream/a"),
];

#[test]
fn header_value_that_is_not_visible_ascii_is_refused() {
    for (name, request) in PLAIN {
        for value in NOT_PLAIN {
            for value in [value.to_owned(), format!("/v1/stream/{value}"), format!("true{value}")] {
                let mut world = World::after(&[TEXT]);
                let (before, tables) = (world.ask("HEAD"), world.sql.tables());
                let request = Request::parse(request).header(&name.to_lowercase(), &value);
                let refused = world.send_answered(&request);
                refused.assert_is("400 | error: invalid_header");
                let message = format!(
                    "The header {name} cannot be used: it must have visible ASCII characters and spaces only: \
                     percent-encode it, as encodeURIComponent does."
                );
                assert!(refused.text().contains(&message), "{refused:?}");
                assert_eq!(world.ask("HEAD"), before);
                assert_eq!(world.sql.tables(), tables);
            }
        }
    }
    check(&[TEXT], "GET ?offset=-1&live=sse | last-event-id: \u{fffd}", "400 | error: invalid_header");
    check(&[TEXT, HELLO], "GET | if-none-match: \"\u{fffd}\"", "200 << hello");
}

#[test]
fn every_visible_ascii_value_is_preserved() {
    let printable: String = (b' '..=b'~').map(char::from).collect();
    for value in [printable.trim(), "a b", "%C3%84", "%C3%96"] {
        let mut world = World::after(&[TEXT]);
        let append =
            Request::parse("POST | content-type: text/plain | producer-epoch: 0 | producer-seq: 0 << x")
                .header("producer-id", value)
                .header("stream-seq", value);
        world.send_answered(&append).assert_is("200");
        world.send_answered(&append).assert_is("204");
        let seq = Request::parse(HELLO).header("stream-seq", value);
        world.send_answered(&seq).assert_is("409 << Sequence conflict");
        let other =
            Request::parse("POST | content-type: text/plain | producer-epoch: 0 | producer-seq: 0 << y")
                .header("producer-id", &format!("{value}2"));
        world.send_answered(&other).assert_is("200 | stream-next-offset: @0_2");
    }
}

/// RFC 9110, 8.4. The server would store compressed bytes as the content.
#[test]
fn body_with_a_content_encoding_is_refused() {
    for encoding in [
        "gzip",
        "GZIP",
        "br",
        "identity, gzip",
        "gzip,identity",
        "x",
        "identity;q=1",
        "aws-chunked",
        "\u{fffd}",
    ] {
        for (state, request) in [
            (&[][..], "PUT | content-type: text/plain << x"),
            (&[TEXT], "PUT | content-type: text/plain << x"),
            (&[TEXT], HELLO),
            (&[TEXT], "POST | content-type: text/plain | stream-closed: true << x"),
            (&[JSON], "POST | content-type: application/json << 1"),
            (
                &[BYTES],
                "POST | content-type: application/octet-stream | producer-id: p | producer-epoch: 0 | producer-seq: 0 << x",
            ),
        ] {
            let mut world = World::after(state);
            let before = world.ask("HEAD");
            let refused = world.send_answered(&Request::parse(request).header("content-encoding", encoding));
            refused.assert_is("415 | error: encoded_body | accept-encoding: identity");
            assert!(refused.text().contains("send it unencoded"), "{refused:?}");
            assert_eq!(world.ask("HEAD"), before, "{request}");
        }
        for (state, request) in [
            (&[][..], TEXT),
            (&[TEXT], TEXT),
            (&[TEXT], CLOSE),
            (&[TEXT], "GET"),
            (&[TEXT], "HEAD"),
            (&[TEXT], "DELETE"),
        ] {
            let mut world = World::after(state);
            let accepted = world.send_answered(&Request::parse(request).header("content-encoding", encoding));
            assert!(accepted.status < 300, "{request} with {encoding}: {accepted:?}");
        }
    }
    for encoding in ["identity", "IDENTITY", "identity, Identity", "", " ", ",", "identity,"] {
        let append = Request::parse(HELLO).header("content-encoding", encoding);
        World::after(&[TEXT]).send_answered(&append).assert_is("204");
        let put = Request::parse("PUT | content-type: text/plain << x").header("content-encoding", encoding);
        World::new().send_answered(&put).assert_is("201");
    }
}
