//! PROTOCOL.md 9.1: JSON mode.

use super::{HELLO, JSON};
use crate::support::{Request, World, check};

const POST: &str = "POST | content-type: application/json";

fn posted(body: impl Into<Vec<u8>>) -> (World, crate::support::Response) {
    let mut world = World::after(&[JSON]);
    let response = world.send_answered(&Request::parse(POST).body(body));
    (world, response)
}

/// The server does not re-serialize JSON. It removes only the white space between tokens.
#[test]
fn messages_keep_their_bytes() {
    let messages = [
        "1.0",
        "1e400",
        "-0",
        "-0.0e-0",
        "123456789012345678901234567890",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":2}",
        "\" a , b : [ c ] \"",
        "{\" \\\" \\\\\":\" \"}",
        "\"\\u00e9\\/\\ud83d\\ude00\\n\"",
        "\"\u{e9}\u{1f600}\u{2028}\"",
        "\"\\ud800\"",
        "\"],[\"",
        "null",
        "true",
        "\"\"",
        "{}",
    ];
    for message in messages {
        for body in [message.to_owned(), format!("[{message}]"), format!(" \n[\t{message} ]\r\n")] {
            let (mut world, response) = posted(body.clone());
            response.assert_is("204 | stream-next-offset: @0_1");
            assert_eq!(world.ask("GET").text(), format!("[{message}]"), "from {body}");
        }
    }
    let batch = format!("[{}]", messages.join(","));
    let (mut world, response) = posted(batch.clone());
    response.assert_is("204 | stream-next-offset: @0_17");
    assert_eq!(world.ask("GET").text(), batch);
}

/// Without this, an SSE reader would receive one line for each line feed.
#[test]
fn white_space_between_tokens_is_not_stored() {
    for (body, shown) in [
        ("{ \"a\" :\t[ 1 , 2 ]\r\n}", "[{\"a\":[1,2]}]"),
        ("\n\n1\n", "[1]"),
        ("[ { \"a b\" : \" \\\" , \" } , [ ] , \" \" , 1 ]", "[{\"a b\":\" \\\" , \"},[],\" \",1]"),
        ("[\t[ 1 , 2 ] ]", "[[1,2]]"),
    ] {
        let (mut world, _) = posted(body);
        assert_eq!(world.ask("GET").text(), shown, "from {body}");
    }
    let lines = "\n".repeat(3 << 20);
    let (mut world, response) = posted(format!("[{{\"a\":{lines}1}},{lines}2]"));
    response.assert_is("204 | stream-next-offset: @0_2");
    assert_eq!(world.ask("GET").text(), "[{\"a\":1},2]");
    world.ask("GET ?offset=@0_1").assert_is("200 << [2]");
}

/// 9.1.2.
#[test]
fn one_level_of_arrays_is_flattened() {
    for (body, count, shown) in [
        ("{\"event\": \"created\"}", 1, "[{\"event\":\"created\"}]"),
        ("[{\"event\":\"a\"},{\"event\":\"b\"}]", 2, "[{\"event\":\"a\"},{\"event\":\"b\"}]"),
        ("[[1,2], [3,4]]", 2, "[[1,2],[3,4]]"),
        ("[[[1,2,3]]]", 1, "[[[1,2,3]]]"),
        ("[[]]", 1, "[[]]"),
        ("[null]", 1, "[null]"),
    ] {
        let (mut world, response) = posted(body);
        response.assert_is(&format!("204 | stream-next-offset: @0_{count}"));
        world.ask("GET").assert_is(&format!("200 | content-type: application/json << {shown}"));
    }
}

/// 9.1.3, however the empty array is written.
#[test]
fn append_of_an_empty_array_is_refused() {
    for body in ["[]", "[ ]", " [\n] "] {
        posted(body).1.assert_is("400 | error: empty_batch");
    }
    check(&[], "PUT | content-type: application/json << []", "201 | stream-next-offset: @0_0");
}

/// 9.1.4. The server stores nothing.
#[test]
fn invalid_json_is_refused() {
    let texts: [&[u8]; 26] = [
        b" ",
        b"{",
        b"[1",
        b"1]",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"1 2",
        b"[1]x",
        b"[1][2]",
        b"[1],[2]",
        b"{\"a\":1}{\"a\":2}",
        b"{a:1}",
        b"'a'",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"NaN",
        b"Infinity",
        b"nul",
        b"\"\n\"",
        b"\"\\x41\"",
        b"// no\n1",
        b"\xff",
        b"\"\xc3\x28\"",
    ];
    for body in texts {
        let (mut world, response) = posted(body);
        response.assert_is("400 | error: invalid_json");
        world.ask("GET").assert_is("200 | stream-next-offset: @0_0 << []");
    }
}

/// A hundred thousand levels neither overflow the stack nor are refused.
#[test]
fn deep_nesting_is_accepted() {
    const DEPTH: usize = 100_000;
    let arrays = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    let (mut world, response) = posted(arrays.clone());
    response.assert_is("204 | stream-next-offset: @0_1");
    assert_eq!(world.ask("GET").text(), arrays);
    let (mut world, response) = posted(objects.clone());
    response.assert_is("204 | stream-next-offset: @0_1");
    assert_eq!(world.ask("GET").text(), format!("[{objects}]"));
    // The same where the server looks for single messages: in a batch that it splits, and after an offset.
    let messages = [objects.as_str(), &arrays, &objects, "1"];
    let (mut world, response) = posted(format!("[{}]", messages.join(",")));
    response.assert_is("204 | stream-next-offset: @0_4");
    world.limit_chunks(8 << 20);
    for position in 0..4 {
        let rest = world.ask(&format!("GET ?offset=@0_{position}")).text();
        assert_eq!(rest, format!("[{}]", messages[position..].join(",")));
    }
}

/// RFC 8259, 8.1: one byte order mark before the text is ignored. Any other is invalid.
#[test]
fn leading_byte_order_mark_is_ignored() {
    let mark = "\u{feff}";
    for (body, messages) in
        [("1", "[1]"), (" [1, 2] ", "[1,2]"), ("[{\"a\":\"\u{feff}\"}]", "[{\"a\":\"\u{feff}\"}]")]
    {
        let (mut world, response) = posted(format!("{mark}{body}"));
        response.assert_is("204");
        world.ask("GET").assert_is(&format!("200 << {messages}"));
        let put = Request::parse(JSON).body(format!("{mark}{body}"));
        World::new().send_answered(&put).assert_is("201");
    }
    for body in ["", " ", mark, &format!("{mark}1"), &format!(" {mark}1")[..]] {
        posted(format!("{mark}{body}")).1.assert_is("400 | error: invalid_json");
    }
    for body in [format!(" {mark}1"), format!("1{mark}"), format!("[1,{mark}2]")] {
        posted(body).1.assert_is("400 | error: invalid_json");
    }
    posted(format!("{mark}[]")).1.assert_is("400 | error: empty_batch");
    // Part of a mark is invalid.
    posted(&b"\xef\xbb1"[..]).1.assert_is("400 | error: invalid_json");
    // In other formats, the mark is content.
    let mut world = World::after(&[super::TEXT]);
    world
        .send_answered(&Request::parse("POST | content-type: text/plain").body(mark))
        .assert_is("204 | stream-next-offset: @0_3");
}

/// Only the type `application/json` has the JSON format, and no type with a `+json` suffix.
#[test]
fn types_like_json_are_stored_as_bytes() {
    for content_type in ["application/ndjson", "application/vnd.api+json", "text/json"] {
        let put = format!("PUT | content-type: {content_type}");
        check(
            &[&put],
            &format!("POST | content-type: {content_type} << [1,"),
            "204 | stream-next-offset: @0_3",
        );
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let put = format!("PUT | content-type: {content_type}");
        check(&[&put], &format!("{POST} << [1,"), "400 | error: invalid_json");
    }
    check(&[JSON], HELLO, "409 | error: content_type_mismatch");
}
