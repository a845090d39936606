//! PROTOCOL.md 5.8: server-sent events.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::http::with_offsets;
use crate::support::{Outcome, Request, SseClient, World, check};
use durable_streams::object::live::{FAN_OUT_MAX_BYTES, FRAME_MAX_BYTES};

const SSE: &str = "GET ?offset=-1&live=sse";

/// What a control event says, as `next cursor? up-to-date? closed?`.
#[track_caller]
fn assert_control(client: &SseClient, next: &str, cursor: bool, up_to_date: bool, closed: bool) {
    let control = client.control();
    assert_eq!(control["streamNextOffset"], with_offsets(next));
    assert_eq!(control.get("streamCursor").is_some_and(serde_json::Value::is_string), cursor, "{control}");
    assert_eq!(control.get("upToDate") == Some(&true.into()), up_to_date, "{control}");
    assert_eq!(control.get("streamClosed") == Some(&true.into()), closed, "{control}");
}

#[test]
fn catches_up_and_goes_on() {
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

/// A data event is followed by its control event, and both leave in one piece.
#[test]
fn events_alternate_and_carry_ids() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&[HELLO]);
    let pieces = client.text.len();
    assert!(client.step(&mut world), "one frame came");
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
fn from_an_empty_stream_and_from_now() {
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
fn closed_streams_end_at_once() {
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
fn a_close_ends_it() {
    let mut world = World::after(&[JSON]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&[CLOSE]);
    client.pump(&mut world);
    assert!(client.is_over() && client.data().is_empty(), "a close is no data: {:?}", client.events());
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
fn a_delete_ends_it_and_the_next_life_stays_unseen() {
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
fn refusals() {
    check(&[TEXT], "GET ?live=sse", "400 | error: invalid_query");
    check(&[], SSE, "404 | error: stream_not_found");
    // The server ignores a cursor that it did not issue.
    SseClient::open(&mut World::after(&[TEXT]), "GET ?offset=-1&live=sse&cursor=x").head().assert_is("200");
    check(&[TEXT], "GET ?offset=-1&live=sse | last-event-id: x", "400 | error: invalid_header");
}

/// Whatever a response begins with, it first says when to reconnect, and no event that is announced says it again.
#[test]
fn a_response_begins_with_the_time_to_reconnect() {
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

/// A reader that takes one space after the colon, and one that trims, both see the data. The official suite compares lines of text
/// and control events without a space.
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

/// No content can end a line, an event, or lose its spaces.
#[test]
fn text_comes_through_as_it_is() {
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
fn json_comes_as_an_array_of_messages() {
    let mut world = World::after(&[JSON, "POST | content-type: application/json << [1,\"a\\nb\"]"]);
    let mut client = SseClient::open(&mut world, SSE);
    world.run(&["POST | content-type: application/json << {\"pretty\":\n  true}"]);
    client.pump(&mut world);
    assert_eq!(client.data(), ["[1,\"a\\nb\"]", "[{\"pretty\":true}]"]);
}

#[test]
fn binary_comes_as_base64() {
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

/// A plain `EventSource` repeats its first URL; where it is says the header.
#[test]
fn last_event_id_wins() {
    let mut world = World::after(&[TEXT, HELLO, "POST | content-type: text/plain << world"]);
    for offset in ["-1", "now", "@0_9"] {
        let client =
            SseClient::open(&mut world, &format!("GET ?offset={offset}&live=sse | last-event-id: @0_5"));
        assert_eq!(client.data(), ["world"]);
    }
    // It is no business of other reads, and an empty one is none.
    world.ask("GET ?offset=@0_9 | last-event-id: @0_5").assert_is("200 << d");
    let client = Request::parse("GET ?offset=@0_9&live=sse").header("last-event-id", "");
    let mut client = SseClient::connect(&mut world, client).unwrap();
    client.pump(&mut world);
    assert_eq!(client.data(), ["d"]);
    // An id of an earlier life is gone like any such offset.
    world.run(&["DELETE", TEXT]);
    world.ask("GET ?offset=-1&live=sse | last-event-id: @0_5").assert_is("410 | error: offset_gone");
}

/// Polyfills of `EventSource` repeat the last id in the URL. What the header says comes before it, and both before `offset`.
#[test]
fn last_event_id_in_the_url() {
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
        // It is no business of other reads.
        ("offset=@0_9&lastEventId=@0_5", "200 << d"),
        ("offset=@0_9&live=long-poll&lastEventId=x", "200 << d"),
    ] {
        world.ask(&format!("GET ?{query}")).assert_is(expected);
    }
}

/// The edge goes on from what it has passed on, not from where the client once was.
#[test]
fn what_the_url_said_is_passed_once() {
    let mut world = World::with_chunks(4);
    world.run(&[TEXT, "POST | content-type: text/plain << abcdefghijkl"]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse&lastEventId=@0_2");
    world.run(&[HELLO]);
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "cdefghijklhello");
}

/// Wherever the text is cut off, the last id names what was dispatched.
#[test]
fn resumes_from_every_byte() {
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

/// Catch-up comes in bounded parts, each of whole characters, and then goes on live.
#[test]
fn catches_up_in_parts() {
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
        // All before the tail say that there is more.
        assert_eq!(up_to_date.iter().filter(|set| !**set).count(), parts - 2, "{up_to_date:?}");
    }
}

/// A part that is full where an append ends does not end there if that is inside a character, or before a line feed.
#[test]
fn parts_end_with_whole_characters_where_appends_do_not() {
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

/// Made once for all, and once more only for those who are ahead of the clock.
#[test]
fn a_frame_is_made_once() {
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

/// What is too large for a frame is fetched, from where each reader is.
#[test]
fn a_large_append_is_fetched() {
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

/// A snapshot that is too large to be pushed is an answer of its own, taken at the client's speed; the socket comes
/// with the next request.
#[test]
fn a_large_snapshot_is_no_frame() {
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

/// Frames for very many readers would together be too large: they fetch.
#[test]
fn a_fan_out_has_a_bound() {
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

/// Each byte of a text stream that is not UTF-8 becomes a replacement character of three.
#[test]
fn bounds_hold_for_text_that_is_none() {
    let mut world = World::after(&[TEXT]);
    let client = SseClient::open(&mut world, SSE);
    let append = Request::parse("POST | content-type: text/plain").body(vec![0xff; FRAME_MAX_BYTES / 2]);
    world.send_answered(&append).assert_is("204");
    let frame = world.sockets.frame_at(client.socket().unwrap(), 1);
    assert!(frame.is_none_or(|frame| frame.len() <= FRAME_MAX_BYTES), "a frame above the bound was pushed");
}

/// 8: whatever the mode, `now` on a closed stream says that this is the end.
#[test]
fn now_on_a_closed_stream() {
    check(
        &[TEXT, HELLO, CLOSE],
        "GET ?offset=now&live=sse",
        "200 | stream-closed: true | stream-up-to-date: true",
    );
}

/// The object died between commit and announcement, and its sockets did not: the edge sees the gap and asks.
#[test]
fn no_gap_after_a_lost_announcement() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=now&live=sse");
    world.announces = false;
    world.run(&["POST | content-type: text/plain << lost", "RESTART"]);
    world.announces = true;
    world.run(&["POST | content-type: text/plain << next"]);
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "lostnext");
}

/// A reader that joins between a commit and its announcement is told nothing twice.
#[test]
fn no_duplicate_when_joining_before_the_announcement() {
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

/// When the client goes, its socket goes.
#[test]
fn a_client_that_leaves_leaves_nothing() {
    use durable_streams::object::live::Sockets as _;
    let mut world = World::after(&[TEXT]);
    let mut client = SseClient::open(&mut world, SSE);
    assert_eq!(world.sockets.count(), 1);
    client.disconnect(&world);
    assert_eq!(world.sockets.count(), 0);
}
