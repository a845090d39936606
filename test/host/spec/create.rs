//! PROTOCOL.md 5.1: PUT.

use durable_streams::protocol::content_type::{ContentType, Format, check_single};

use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::http::STREAM_URL;
use crate::support::{Request, World, check};

const HELLO_UNTYPED: &str = "POST << hello";

#[test]
fn create_without_a_body_makes_an_empty_stream() {
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
fn create_with_a_body_stores_its_messages() {
    check(&[], "PUT | content-type: text/plain << hello", "201 | stream-next-offset: @0_5 <<");
    check(&[], "PUT | content-type: application/json << [1,[2],3]", "201 | stream-next-offset: @0_3");
    check(
        &["PUT | content-type: application/json << {\"a\":1}"],
        "GET",
        "200 | stream-next-offset: @0_1 << [{\"a\":1}]",
    );
    // 9.1.3: an empty array holds no message, and a PUT may send it.
    check(&[], "PUT | content-type: application/json << []", "201 | stream-next-offset: @0_0");
    check(
        &[TEXT],
        "GET",
        "200 | content-type: text/plain | stream-next-offset: @0_0 | stream-up-to-date: true <<",
    );
}

#[test]
fn create_with_stream_closed_makes_a_closed_stream() {
    check(&[], "PUT | stream-closed: true", "201 | stream-closed: true | stream-next-offset: @0_0");
    let single_shot = "PUT | content-type: text/plain | stream-closed: TRUE << hello";
    check(&[], single_shot, "201 | stream-closed: true | stream-next-offset: @0_5");
    check(&[single_shot], "GET", "200 | stream-closed: true | stream-up-to-date: true << hello");
    check(&[single_shot], HELLO, "409 | error: stream_closed");
}

/// 4.1: the server ignores every other value.
#[test]
fn stream_closed_is_set_by_true_only() {
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

/// Every pair of configurations: 200 where type, lifetime and closure are equal, 409 where they differ.
#[test]
fn repeated_create_must_have_the_same_configuration() {
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
fn repeated_create_appends_nothing() {
    let state = ["PUT | content-type: text/plain << one"];
    check(
        &state,
        "PUT | content-type: text/plain << two",
        "200 | stream-next-offset: @0_3 | content-type: text/plain",
    );
    check(&[state[0], "PUT | content-type: text/plain << two"], "GET", "200 << one");
}

#[test]
fn repeated_create_compares_the_current_closure() {
    check(&[TEXT, CLOSE], TEXT, "409 | error: stream_exists");
    let closed = "PUT | content-type: text/plain | stream-closed: true";
    check(&[TEXT, HELLO, CLOSE], closed, "200 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT], closed, "409 | !stream-closed");
}

#[test]
fn invalid_lifetimes_are_refused() {
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
    for at in ["", "tomorrow", "2031-01-01", "2031-13-01T00:00:00Z", "2031-01-01T00:00:00", "1925000000"] {
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

/// RFC 9110, 8.3.1 with 5.6.6 and 5.6.4. An append may write the same type in another way.
#[test]
fn content_types_follow_rfc_9110() {
    let table = [
        ("text/plain ;charset=utf-8", Format::Text),
        ("text/plain\t;\tcharset=utf-8", Format::Text),
        ("text/plain; ;charset=utf-8", Format::Text),
        ("text/plain;;charset=utf-8", Format::Text),
        ("text/plain;;;", Format::Text),
        ("text/plain;", Format::Text),
        ("text/plain ; ", Format::Text),
        ("text/plain;charset=utf-8 ; ", Format::Text),
        ("TEXT/Plain;Charset=UTF-8", Format::Text),
        (r#"text/plain;charset="ut\"f""#, Format::Text),
        (r#"text/plain;a="\\";b="\a\	""#, Format::Text),
        ("text/plain;a=\"\";b=\"\u{e9}\u{1d11e}\"", Format::Text),
        (r#"text/plain;a="x;y=z/ ,(\"";b='"#, Format::Text),
        (r#"application/json ;a="x, y""#, Format::Json),
        ("Application/JSON", Format::Json),
        (r#"video/mp4;codecs="""#, Format::Binary),
        (r#"video/mp4; codecs="avc1.4d002a, mp4a.40.2""#, Format::Binary),
        ("application/json-seq", Format::Binary),
        ("application/vnd.a.b+json;v=1", Format::Binary),
        ("!#$%&'*+-.^_`|~/!#$%&'*+-.^_`|~;!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~", Format::Binary),
        ("*/*", Format::Binary),
    ];
    for (text, format) in table {
        let content_type = ContentType::parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!(content_type.format(), format, "{text}");
        assert_eq!(content_type.as_str(), text.trim(), "{text}");
        assert_eq!(ContentType::stored(content_type.as_str()).as_ref(), Ok(&content_type), "{text}");
        let essence = text.split(';').next().unwrap().trim();
        assert!(content_type.matches(essence) && content_type.matches(&format!("{essence} ;x=y")), "{text}");
        assert!(!content_type.matches("text/css") && !content_type.matches(&format!("{essence}x")), "{text}");
        check_single(Some(text)).unwrap();
    }
}

/// The platform joins two lines of a header with a comma.
#[test]
fn invalid_content_types_are_refused() {
    for content_type in [
        "",
        ";",
        "nonsense",
        "text/",
        "/plain",
        "text /plain",
        "text/ plain",
        "text/plain charset=utf-8",
        "text/plain/x",
        "text/html;x",
        "text/html ;x",
        "text/plain;x;y=z",
        "text/plain;charset",
        "text/plain;charset=",
        "text/plain;charset= utf-8",
        "text/plain;charset =utf-8",
        "text/plain;=utf-8",
        "text/plain;charset=utf-8 x",
        "text/plain;a=\"b\"c",
        "text/plain;a=b\"c\"",
        "text/plain;a=\"b",
        "text/plain;a=\"b\\\"",
        "text/plain;a=\"\u{1}\"",
        "text/plain;a=\"\u{7f}\"",
        "text/plain;a=\"\\\u{1}\"",
        "text/plain;a=\u{e9}",
        "text/plain;\u{e9}=a",
        "text/pl\u{e4}in",
        "text/plain\u{a0}",
        "text/plain (comment)",
        "text/plain;a=\"\u{fffd}\"",
    ] {
        let request = Request::parse("PUT").header("content-type", content_type);
        World::new().send_answered(&request).assert_is("400 | error: invalid_header");
    }
    for content_type in [
        "text/plain, text/plain",
        "text/plain,text/html",
        "text/plain,",
        ",text/plain",
        "text/plain;,text/html",
        "text/plain;a=b,text/html",
        "text/plain;a=\"b\",text/html",
        "text/plain;a=\"b,text/html",
        "text/plain;a=\"b\\\",text/html",
    ] {
        let mut world = World::after(&[TEXT]);
        for request in ["PUT", HELLO_UNTYPED, CLOSE] {
            let request = Request::parse(request).header("content-type", content_type);
            let refused = world.send_answered(&request);
            refused.assert_is("400 | error: invalid_header");
            assert!(refused.text().contains("Content-Type cannot be used: it must be one media type"));
        }
        world.ask("GET").assert_is("200 | !stream-closed <<");
    }
    // A comma in a quoted parameter does not separate two types.
    let quoted = Request::parse(HELLO_UNTYPED).header("content-type", "text/plain ;a=\"b,c\"");
    World::after(&[TEXT]).send_answered(&quoted).assert_is("204");
}

/// A stored type stays readable and keeps its format, even where a PUT would refuse it today.
#[test]
fn content_types_stored_by_earlier_versions_are_readable() {
    let table = [
        ("text/plain;a=", Format::Text),
        ("text/plain;a=\"\u{fffd}\"", Format::Text),
        ("text/plain;a=\"b\\\"", Format::Text),
        ("application/json+x", Format::Json),
        ("application/json+", Format::Json),
        ("application/json+x+y", Format::Binary),
        ("application/+json", Format::Binary),
        ("application/x+json", Format::Binary),
    ];
    for (text, format) in table {
        let stored = ContentType::stored(text).unwrap();
        assert_eq!((stored.as_str(), stored.format()), (text, format));
        assert_eq!(stored.is_inert(), text.starts_with("text/plain"), "{text}");
    }
    for nothing in ["", "nonsense", "text/", "/plain", ";a/b"] {
        assert!(ContentType::stored(nothing).is_err(), "{nothing}");
    }
}

/// The server makes browsers download types that they might run, and types with a comma, about which browsers disagree.
#[test]
fn only_inert_types_are_served_inline() {
    let table = [
        ("text/plain", true),
        ("text/plain ;charset=utf-8", true),
        ("text/plain; ;charset=utf-8", true),
        ("TEXT/PLAIN ;", true),
        ("text/plain;a=\"text/html;\"", true),
        ("application/json ;a=\"\\\"\"", true),
        ("text/plain;a=\",text/html;\"", false),
        ("text/plain;a=\"\\\",text/html;\"", false),
        ("application/json;a=\",\"", false),
        ("text/html", false),
        ("text/html ;charset=utf-8", false),
        ("text/html; ;a=\"text/plain\"", false),
        ("image/svg+xml;;", false),
        ("application/json+x", false),
        ("text/plain+x", false),
        ("*/*", false),
    ];
    for (text, is_inert) in table {
        let mut world = World::new();
        let put = Request::parse("PUT").header("content-type", text);
        let saved = if is_inert { "!content-disposition" } else { "content-disposition: attachment" };
        world.send_answered(&put).assert_is(&format!("201 | {saved}"));
        for request in ["GET", "HEAD"] {
            let response = world.ask(request);
            response.assert_is(&format!("200 | {saved}"));
            assert_eq!(response.header("content-type"), Some(text.trim()), "{request}");
        }
    }
}

#[test]
fn refused_create_stores_nothing() {
    for request in
        ["PUT | content-type: application/json << {", "PUT | stream-ttl: x", "PUT | content-type: x"]
    {
        let mut world = World::new();
        world.ask(request).assert_is("400");
        world.ask("HEAD").assert_is("404");
        assert!(world.sql.tables().is_empty(), "{request} created tables");
    }
    check(&[JSON], "PUT | content-type: application/json << {", "200");
}

#[test]
fn content_type_has_a_maximum_length() {
    let put =
        |bytes: usize| Request::parse("PUT").header("content-type", &format!("a/{}", "b".repeat(bytes - 2)));
    World::new().send_answered(&put(1024)).assert_is("201");
    World::new().send_answered(&put(1025)).assert_is("400 | error: invalid_header");
    World::new().send_answered(&put(70_000)).assert_is("400 | error: invalid_header");
}
