//! PROTOCOL.md 5.8: server-sent events.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::http::with_offsets;
use crate::support::{Outcome, Request, SseClient, World, check};
use durable_streams::object::live::{FAN_OUT_MAX_BYTES, FRAME_MAX_BYTES};

const SSE: &str = "GET ?offset=-1&live=sse";

/// Checks the latest control event: its next offset, and whether it has `streamCursor`, `upToDate` and
/// `streamClosed`.
#[track_caller]
fn assert_control(client: &SseClient, next: &str, cursor: bool, up_to_date: bool, closed: bool) {
    let control = client.control();
    assert_eq!(control["streamNextOffset"], with_offsets(next));
    assert_eq!(control.get("streamCursor").is_some_and(serde_json::Value::is_string), cursor, "{control}");
    assert_eq!(control.get("upToDate") == Some(&true.into()), up_to_date, "{control}");
    assert_eq!(control.get("streamClosed") == Some(&true.into()), closed, "{control}");
}

#[test]
fn sse_catches_up_and_continues_live() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, SSE);
    client.head().assert_is(
        "200 | content-type: text/event-stream | cache-control: no-cache, no-transform | x-accel-buffering: no | \
         !stream-sse-data-encoding",
    );
    assert_eq!(client.data(), ["hello"]);
    assert_control(&client, "@0_5", true, true, false);
    world.run(&[
        "RESTART",
        "POST | content-type: text/plain << world",
        "POST | content-type: text/plain << !",
    ]);
    client.pump(&mut world);
    assert_eq!(client.data(), ["hello", "world", "!"]);
    assert_control(&client, "@0_11", true, true, false);
    assert!(!client.is_over());
}

/// A control event follows each data event in the same piece of text.
#[test]
fn data_and_control_events_alternate_with_ids() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&[HELLO]);
    let pieces = client.text.len();
    assert!(client.step(&mut world), "one frame arrived");
    assert!(client.text[pieces..].starts_with(b"event: data\n") && client.text.ends_with(b"\n\n"));
    client.pump(&mut world);
    let events: Vec<(String, String)> =
        client.events().into_iter().map(|event| (event.name, event.id)).collect();
    let pair = |name: &str, id: &str| (name.to_owned(), with_offsets(id));
    assert_eq!(
        events,
        [pair("data", "@0_5"), pair("control", "@0_5"), pair("data", "@0_10"), pair("control", "@0_10")]
    );
}

#[test]
fn no_data_event_without_data() {
    for (state, offset, next) in [
        (&[TEXT][..], "-1", "@0_0"),
        (&[TEXT, HELLO], "now", "@0_5"),
        (&[TEXT, HELLO], "@0_5", "@0_5"),
        (&[JSON], "-1", "@0_0"),
    ] {
        let mut world = World::after(state);
        let client = SseClient::open(&mut world, &format!("GET ?offset={offset}&live=sse"));
        assert!(client.data().is_empty(), "no data event without data");
        assert_eq!(client.events().len(), 1);
        assert_control(&client, next, true, true, false);
    }
}

#[test]
fn closed_stream_ends_at_once() {
    for offset in ["now", "@0_5"] {
        let mut world = World::after(&[TEXT, HELLO, CLOSE]);
        let client = SseClient::open(&mut world, &format!("GET ?offset={offset}&live=sse"));
        assert!(client.is_over() && client.data().is_empty());
        assert_control(&client, "@0_5", false, true, true);
        client.head().assert_is(
            "200 | stream-closed: true | cache-control: no-cache, no-transform | x-accel-buffering: no",
        );
    }
    let mut world = World::after(&[TEXT, HELLO, CLOSE]);
    let client = SseClient::open(&mut world, SSE);
    assert_eq!(client.data(), ["hello"]);
    assert!(client.is_over());
    assert_control(&client, "@0_5", false, true, true);
}

#[test]
fn close_ends_the_response() {
    let mut world = World::after(&[JSON]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&[CLOSE]);
    client.pump(&mut world);
    assert!(client.is_over() && client.data().is_empty(), "a close has no data: {:?}", client.events());
    assert_control(&client, "@0_0", false, true, true);
    let mut world = World::after(&[JSON]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&["POST | content-type: application/json | stream-closed: true << [1,2]"]);
    client.pump(&mut world);
    assert!(client.is_over());
    assert_eq!(client.data(), ["[1,2]"]);
    assert_control(&client, "@0_2", false, true, true);
}

#[test]
fn delete_ends_the_response_before_the_next_incarnation() {
    for announces in [true, false] {
        let mut world = World::after(&[TEXT, HELLO]);
        world.announces = announces;
        let mut client = SseClient::open(&mut world, SSE);
        world.run(&["DELETE", TEXT, "POST | content-type: text/plain << secret"]);
        world.announce();
        client.pump(&mut world);
        assert!(client.is_over());
        assert_eq!(client.data(), ["hello"]);
    }
}

#[test]
fn sse_needs_an_offset_a_stream_and_a_valid_id() {
    check(&[TEXT], "GET ?live=sse", "400 | error: invalid_query");
    check(&[], SSE, "404 | error: stream_not_found");
    // The server ignores a cursor that it did not issue.
    SseClient::open(&mut World::after(&[TEXT]), "GET ?offset=-1&live=sse&cursor=x").head().assert_is("200");
    check(&[TEXT], "GET ?offset=-1&live=sse | last-event-id: x", "400 | error: invalid_header");
}

/// Every response begins with the reconnection time. Announced events do not repeat it.
#[test]
fn response_begins_with_the_reconnection_time() {
    for (state, chunk, begins) in [
        (&[TEXT][..], 100, "retry: 1000\nevent: control\n"),
        (&[TEXT, HELLO], 100, "retry: 1000\nevent: data\n"),
        (&[TEXT, HELLO], 4, "retry: 1000\nevent: data\n"),
        (&[TEXT, HELLO, CLOSE], 100, "retry: 1000\nevent: data\n"),
        (&[TEXT, CLOSE], 100, "retry: 1000\nevent: control\n"),
    ] {
        let mut world = World::with_chunks(chunk);
        world.run(state);
        let mut client = SseClient::open(&mut world, SSE);
        assert!(client.text.starts_with(begins.as_bytes()), "{:?}", String::from_utf8_lossy(&client.text));
        if state.last() == Some(&CLOSE) {
            continue;
        }
        client.take_events();
        world.run(&[HELLO, HELLO]);
        client.pump(&mut world);
        assert_eq!(String::from_utf8_lossy(&client.text).matches("retry").count(), 0);
        assert_eq!(client.data(), ["hello", "hello"]);
    }
}

/// A parser that removes one space after the colon and one that trims both see the same data. The official suite
/// requires lines of text and control events without a space.
#[test]
fn one_space_follows_a_colon_where_the_suite_allows_it() {
    for (put, append, line) in [
        (TEXT, "POST | content-type: text/plain << a", "data:a"),
        (JSON, "POST | content-type: application/json << 1", "data: [1]"),
        (BYTES, "POST | content-type: application/octet-stream << a", "data: YQ=="),
    ] {
        let client = SseClient::open(&mut World::after(&[put, append]), SSE);
        let text = String::from_utf8(client.text.clone()).unwrap();
        assert!(text.lines().any(|found| found == line), "{text}");
        let is_bare = |line: &&str| line.is_empty() || *line == "data:a" || line.starts_with("data:{");
        for field in text.lines().filter(|line| !is_bare(line)) {
            let value = field.split_once(": ").map(|(_, value)| value);
            assert!(value.is_some_and(|value| !value.starts_with(' ')), "{field:?}");
        }
    }
}

/// Content cannot end a line or an event, and keeps its spaces.
#[test]
fn text_is_escaped_line_by_line() {
    let texts = [
        "a\nb",
        "a\n\nb",
        "a\r\nb",
        "a\rb",
        "a\r\rb",
        "\n",
        "\n\n",
        "\r\n\r\n",
        "ends\n",
        " leading",
        "  two",
        "\n leading",
        "data:x",
        "\nevent: control\ndata:{}\n\n",
        "\u{feff}bom",
        "id: 9\n\nid: 9",
        ": comment",
        "\u{1f600}\u{2028}\u{85}",
        "\0",
    ];
    for text in texts {
        let normalised = text.replace("\r\n", "\n").replace('\r', "\n");
        let append = Request::parse("POST | content-type: text/plain").body(text);
        let mut world = World::after(&[TEXT]);
        let mut live = SseClient::open(&mut world, SSE);
        world.send_answered(&append).assert_is("204");
        live.pump(&mut world);
        let caught_up = SseClient::open(&mut world, SSE);
        for client in [live, caught_up] {
            assert_eq!(client.data(), std::slice::from_ref(&normalised), "{text:?}");
            assert_control(&client, &format!("@0_{}", text.len()), true, true, false);
        }
    }
}

#[test]
fn json_events_are_arrays_of_messages() {
    let mut world = World::after(&[JSON, "POST | content-type: application/json << [1,\"a\\nb\"]"]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&["POST | content-type: application/json << {\"pretty\":\n  true}"]);
    client.pump(&mut world);
    assert_eq!(client.data(), ["[1,\"a\\nb\"]", "[{\"pretty\":true}]"]);
}

#[test]
fn binary_events_are_base64() {
    let png = "POST | content-type: image/png";
    for (body, text) in
        [(&[0u8][..], "AA=="), (&[255, 254], "//4="), (&[1, 2, 3], "AQID"), (b"\n\n\r", "CgoN")]
    {
        let mut world = World::after(&["PUT | content-type: image/png"]);
        let mut live = SseClient::open(&mut world, SSE);
        live.head().assert_is("200 | stream-sse-data-encoding: base64 | content-type: text/event-stream");
        world.send_answered(&Request::parse(png).body(body)).assert_is("204");
        live.pump(&mut world);
        assert_eq!(live.data(), [text]);
        assert_eq!(SseClient::open(&mut world, SSE).data(), [text]);
    }
    for text_type in ["text/html", "application/json"] {
        let mut world = World::after(&[&format!("PUT | content-type: {text_type}")]);
        SseClient::open(&mut world, SSE).head().assert_is("200 | !stream-sse-data-encoding");
    }
}

/// An `EventSource` reconnects with its first URL, and sends its offset in the header.
#[test]
fn last_event_id_takes_precedence_over_offset() {
    let mut world = World::after(&[TEXT, HELLO, "POST | content-type: text/plain << world"]);
    for offset in ["-1", "now", "@0_9"] {
        let client =
            SseClient::open(&mut world, &format!("GET ?offset={offset}&live=sse | last-event-id: @0_5"));
        assert_eq!(client.data(), ["world"]);
    }
    // Other reads ignore the header, and an empty value counts as absent.
    world.ask("GET ?offset=@0_9 | last-event-id: @0_5").assert_is("200 << d");
    let client = Request::parse("GET ?offset=@0_9&live=sse").header("last-event-id", "");
    let mut client = SseClient::connect(&mut world, client).unwrap();
    client.pump(&mut world);
    assert_eq!(client.data(), ["d"]);
    // An id of an earlier incarnation is gone, like every such offset.
    world.run(&["DELETE", TEXT]);
    world.ask("GET ?offset=-1&live=sse | last-event-id: @0_5").assert_is("410 | error: offset_gone");
}

/// Polyfills of `EventSource` send the last id in the URL. The header takes precedence over it, and both over
/// `offset`.
#[test]
fn last_event_id_may_be_in_the_url() {
    let mut world = World::after(&[TEXT, HELLO, "POST | content-type: text/plain << world"]);
    for (query, expected) in [
        ("offset=-1&live=sse&lastEventId=@0_5", "world"),
        ("lastEventId=@0_5&live=sse&offset=now", "world"),
        ("offset=@0_9&live=sse&lastEventId=%30000000000000000%5f0000000000000005", "world"),
        ("offset=@0_9&live=sse&lastEventId=-1", "helloworld"),
        ("offset=-1&live=sse&lastEventId=%6eow", ""),
        ("offset=@0_9&live=sse&lastEventId=", "d"),
        ("offset=-1&live=sse&lastEventId=@0_5 | last-event-id: @0_9", "d"),
        ("offset=-1&live=sse&lastEventId=x | last-event-id: @0_9", "d"),
        ("offset=@0_9&live=sse&lasteventid=@0_5", "d"),
    ] {
        let client = SseClient::open(&mut world, &format!("GET ?{query}"));
        assert_eq!(client.data().concat(), expected, "{query}");
    }
    for (query, expected) in [
        ("offset=-1&live=sse&lastEventId=x", "400 | error: invalid_query"),
        ("offset=-1&live=sse&lastEventId=@0_5&lastEventId=@0_5", "400 | error: invalid_query"),
        ("live=sse&lastEventId=@0_5", "400 | error: invalid_query"),
        ("offset=-1&live=sse&lastEventId=@0_99", "400 | error: offset_beyond_tail"),
        // Other reads ignore the parameter.
        ("offset=@0_9&lastEventId=@0_5", "200 << d"),
        ("offset=@0_9&live=long-poll&lastEventId=x", "200 << d"),
    ] {
        world.ask(&format!("GET ?{query}")).assert_is(expected);
    }
}

/// The edge continues from the data that it has passed on, not from the id in the URL.
#[test]
fn last_event_id_of_the_url_is_used_once() {
    let mut world = World::with_chunks(4);
    world.run(&[TEXT, "POST | content-type: text/plain << abcdefghijkl"]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse&lastEventId=@0_2");
    world.run(&[HELLO]);
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "cdefghijklhello");
}

/// Wherever the connection breaks, the last id names the end of the dispatched data.
#[test]
fn client_resumes_from_every_byte() {
    let mut world = World::with_chunks(7);
    world.run(&[TEXT, "POST | content-type: text/plain << Gr\u{fc}\u{df} \u{1f600} dich\nGott"]);
    let mut whole = SseClient::open(&mut world, SSE);
    world.run(&[HELLO]);
    whole.pump(&mut world);
    let expected = whole.data().concat();
    assert_eq!(expected, "Gr\u{fc}\u{df} \u{1f600} dich\nGotthello");
    for cut in 0..=whole.text.len() {
        let seen = crate::support::event_source::parse(&whole.text[..cut]);
        let id = seen.last().map(|event| event.id.clone()).unwrap_or_default();
        let begun: String =
            seen.into_iter().filter(|event| event.name == "data").map(|event| event.data).collect();
        let request = Request::parse(SSE).header("last-event-id", &id);
        let mut rest = SseClient::connect(&mut world, request).unwrap();
        rest.pump(&mut world);
        rest.disconnect(&world);
        assert_eq!(begun + &rest.data().concat(), expected, "cut at {cut}");
    }
}

/// Catch-up comes in bounded parts of whole characters, and then continues live.
#[test]
fn catch_up_comes_in_parts() {
    for chunk in 4..20 {
        let mut world = World::with_chunks(chunk);
        let text = "\u{1f600}\u{e9}a\u{20ac}\u{1f600}bc\u{1f600}";
        world.run(&[TEXT, &format!("POST | content-type: text/plain << {text}")]);
        let mut client = SseClient::open(&mut world, SSE);
        world.run(&[HELLO]);
        client.pump(&mut world);
        assert_eq!(client.data().concat(), format!("{text}hello"), "chunks of {chunk}");
        let controls = client.events().into_iter().filter(|event| event.name == "control");
        let up_to_date: Vec<bool> = controls.map(|event| event.data.contains("upToDate")).collect();
        let parts = up_to_date.len();
        // No part before the tail says `upToDate`.
        assert_eq!(up_to_date.iter().filter(|set| !**set).count(), parts - 2, "{up_to_date:?}");
    }
}

/// An append may end inside a character or before a line feed. A part never ends there.
#[test]
fn part_ends_with_a_whole_character() {
    for chunk in 3..12 {
        let mut world = World::with_chunks(chunk);
        world.run(&[TEXT]);
        for bytes in [&b"ab\xE2"[..], b"\x82\xACcd\r", b"\nef"] {
            let append = Request::parse("POST | content-type: text/plain").body(bytes);
            world.send_answered(&append).assert_is("204");
        }
        let client = SseClient::open(&mut world, SSE);
        assert_eq!(client.data().concat(), "ab\u{20ac}cd\nef", "chunks of {chunk}");
    }
}

/// The object makes one frame for all readers, and another only for readers whose cursor is ahead of the clock.
#[test]
fn readers_share_one_frame() {
    let mut world = World::after(&[BYTES]);
    let mut clients: Vec<SseClient> = (0..50).map(|_| SseClient::open(&mut world, SSE)).collect();
    world.sockets.take_frames_made();
    world.run(&["POST | content-type: application/octet-stream << x"]);
    assert_eq!(world.sockets.take_frames_made(), 1);
    let ahead = SseClient::open(&mut world, "GET ?offset=now&live=sse&cursor=4503599627370000");
    clients.push(ahead);
    world.sockets.take_frames_made();
    world.run(&["RESTART", "POST | content-type: application/octet-stream << y"]);
    assert_eq!(world.sockets.take_frames_made(), 2);
    for client in &mut clients {
        client.pump(&mut world);
    }
    assert_eq!(clients[50].control()["streamCursor"], "4503599627370001");
    assert_eq!(clients[0].control()["streamCursor"], "165024000000");
}

/// Each reader fetches data that is too large for a frame, from its own offset.
#[test]
fn append_that_is_too_large_for_a_frame_is_fetched() {
    let mut world = World::after(&[JSON]);
    let mut client = SseClient::open(&mut world, SSE);
    let message = format!("\"{}\"", "x".repeat(3 << 20));
    let append = Request::parse("POST | content-type: application/json");
    world.send_answered(&append.body(message.clone())).assert_is("204");
    world.run(&["POST | content-type: application/json << 2"]);
    client.pump(&mut world);
    assert_eq!(client.data(), [format!("[{message}]"), "[2]".to_owned()]);
    assert!(!client.is_over());
}

/// A snapshot that is too large to be pushed is a response of its own, which the client reads at its speed. The next
/// request opens the socket.
#[test]
fn snapshot_that_is_too_large_for_a_frame_is_a_response() {
    let line_ends = "\n".repeat(200_000);
    for (put, append, data) in [
        (JSON, "POST | content-type: application/json", format!("\"{}\"", "x".repeat(5 << 20))),
        (TEXT, "POST | content-type: text/plain", line_ends),
    ] {
        let mut world = World::after(&[put]);
        let mut connected = SseClient::open(&mut world, SSE);
        world.send_answered(&Request::parse(append).body(data)).assert_is("204");
        let part = world.ask(SSE);
        part.assert_is("200 | content-type: text/event-stream | !stream-closed");
        assert!(matches!(
            world.send(&Request::parse(&format!("GET ?offset={}&live=sse", part.next()))),
            Outcome::Parked(..)
        ));
        connected.pump(&mut world);
        assert_eq!(connected.data().len(), 1);
    }
}

/// Frames for very many readers would be too large together, so the readers fetch the data.
#[test]
fn fan_out_is_bounded() {
    let readers = FAN_OUT_MAX_BYTES / FRAME_MAX_BYTES * 5 / 4;
    let mut world = World::after(&[BYTES]);
    let mut clients: Vec<_> = (0..readers).map(|_| SseClient::open(&mut world, SSE)).collect();
    world.sockets.take_frames_made();
    let body = vec![7; FRAME_MAX_BYTES * 5 / 7];
    let append = Request::parse("POST | content-type: application/octet-stream");
    world.send_answered(&append.body(body)).assert_is("204");
    assert_eq!(world.sockets.take_frames_made(), 0, "nothing was pushed");
    for client in &mut clients {
        client.pump(&mut world);
        assert_eq!(client.data().len(), 1);
    }
}

/// Each byte that is not UTF-8 becomes a replacement character of three bytes in a text stream.
#[test]
fn frame_limit_holds_for_invalid_utf_8() {
    let mut world = World::after(&[TEXT]);
    let client = SseClient::open(&mut world, SSE);
    let append = Request::parse("POST | content-type: text/plain").body(vec![0xff; FRAME_MAX_BYTES / 2]);
    world.send_answered(&append).assert_is("204");
    let frame = world.sockets.frame_at(client.socket().unwrap(), 1);
    assert!(frame.is_none_or(|frame| frame.len() <= FRAME_MAX_BYTES), "a frame above the bound was pushed");
}

/// 8: in every mode, a read at `now` of a closed stream says that the stream is closed.
#[test]
fn now_on_a_closed_stream_says_closed() {
    check(
        &[TEXT, HELLO, CLOSE],
        "GET ?offset=now&live=sse",
        "200 | stream-closed: true | stream-up-to-date: true",
    );
}

/// The object died between the commit and the announcement, but its sockets did not. The edge detects the gap and
/// requests the data.
#[test]
fn lost_announcement_leaves_no_gap() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=now&live=sse");
    world.announces = false;
    world.run(&["POST | content-type: text/plain << lost", "RESTART"]);
    world.announces = true;
    world.run(&["POST | content-type: text/plain << next"]);
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "lostnext");
}

/// A reader that connects between a commit and its announcement receives no data twice.
#[test]
fn reader_that_connects_before_the_announcement_gets_no_duplicate() {
    let mut world = World::after(&[TEXT, HELLO]);
    world.announces = false;
    let mut early = SseClient::open(&mut world, SSE);
    world.run(&["POST | content-type: text/plain << world"]);
    world.ask("GET ?offset=-1").assert_is("200 << helloworld");
    let mut late = SseClient::open(&mut world, SSE);
    world.announce();
    world.run(&["POST | content-type: text/plain << !"]);
    world.announce();
    for client in [&mut early, &mut late] {
        client.pump(&mut world);
        assert_eq!(client.data().concat(), "helloworld!");
    }
}

#[test]
fn disconnected_client_leaves_no_socket() {
    use durable_streams::object::live::Sockets as _;
    let mut world = World::after(&[TEXT]);
    let mut client = SseClient::open(&mut world, SSE);
    assert_eq!(world.sockets.count(), 1);
    client.disconnect(&world);
    assert_eq!(world.sockets.count(), 0);
}
