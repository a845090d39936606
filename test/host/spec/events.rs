//! PROTOCOL.md 5.8: the size of SSE events, and that a reader can resume after each of them.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durable_streams::object::live::FRAME_MAX_BYTES;
use durable_streams::protocol::bridge::FRAME_HEAD_BYTES;
use durable_streams::protocol::sse::EVENT_MAX_BYTES;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

use crate::support::event_source::{self, Event};
use crate::support::{Family, Outcome, Request, SseClient, World};

/// A stream's content type and the bodies of its appends. One plain read returns all of them.
type Case = (&'static str, Vec<Vec<u8>>);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const BINARY: &str = "application/octet-stream";

fn json_message(n: usize, bytes: usize) -> String {
    format!("{{\"n\":{n},\"x\":\"{}\"}}", ",]}".repeat(bytes / 3))
}

fn cases() -> Vec<(&'static str, Case)> {
    let batch = |from: usize, count: usize| {
        let messages: Vec<String> = (from..from + count).map(|n| json_message(n, 1000)).collect();
        format!("[{}]", messages.join(",")).into_bytes()
    };
    let small = |n: usize| json_message(n, 20).into_bytes();
    let bytes = |n: usize, length: usize| (0..length).map(|at| (at * 7 + n) as u8).collect::<Vec<u8>>();
    let line = |n: usize| format!("{n}: {}\n", "\u{e9}x ".repeat(1000)).into_bytes();
    let spanning = "\u{1f600}\u{20ac}\r\n".repeat(60_000).into_bytes();
    vec![
        ("a batch of 1,000 messages of 1 kB", (JSON, vec![batch(0, 1000)])),
        (
            "batches between small messages",
            (JSON, vec![small(0), batch(1, 300), small(2), batch(3, 300), small(4)]),
        ),
        (
            "a message of 300 kB between small ones",
            (JSON, vec![small(0), small(1), json_message(2, 300_000).into_bytes(), small(3), small(4)]),
        ),
        (
            "a message larger than a row",
            (JSON, vec![small(0), json_message(1, 1 << 21).into_bytes(), small(2)]),
        ),
        ("messages one by one", (JSON, (0..200).map(|n| json_message(n, 2000).into_bytes()).collect())),
        ("lines", (TEXT, (0..150).map(line).collect())),
        ("short lines", (TEXT, (0..60).map(|_| b"\n".repeat(2500)).collect())),
        (
            "text with a large append",
            (TEXT, vec![line(0), "y".repeat(300_000).into_bytes(), line(1), line(2)]),
        ),
        // Appends end inside characters and line ends.
        ("text whose appends end anywhere", (TEXT, spanning.chunks(7001).map(<[u8]>::to_vec).collect())),
        (
            "text that ends with carriage returns",
            (TEXT, (0..100).map(|_| [b"%", &[b'-'; 3999][..], b"\r"].concat()).collect()),
        ),
        ("bytes", (BINARY, (0..120).map(|n| bytes(n, 1 + n * 60)).collect())),
        (
            "bytes with a large append",
            (BINARY, vec![bytes(0, 9), bytes(1, 400_000), bytes(2, 1), bytes(3, 90_000)]),
        ),
        ("more than a row", (BINARY, vec![bytes(0, 9), bytes(1, (2 << 20) + 5), bytes(2, 1)])),
    ]
}

/// One data event: its data as it was appended, its size as it was sent, and the offset of its control event.
struct Pair {
    data: Vec<u8>,
    event_bytes: usize,
    next: String,
    control: serde_json::Value,
}

/// Parses event text in which a control event follows each data event.
#[track_caller]
fn pairs(content_type: &str, text: &[u8]) -> Vec<Pair> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let blocks: Vec<&str> = text.split_inclusive("\n\n").collect();
    let parsed: Vec<Event> = event_source::parse(text.as_bytes());
    assert_eq!(parsed.len(), blocks.len());
    let mut events = parsed.into_iter().zip(blocks);
    let mut pairs = Vec::new();
    while let Some((event, block)) = events.next() {
        let (control, data, event_bytes) = match event.name.as_str() {
            "data" => {
                let data = match content_type {
                    BINARY => STANDARD.decode(&event.data).unwrap(),
                    _ => event.data.into_bytes(),
                };
                (events.next().expect("a control event follows").0, data, block.len())
            }
            _ => (event.clone(), Vec::new(), 0),
        };
        assert_eq!(control.name, "control");
        let said: serde_json::Value = serde_json::from_str(&control.data).unwrap();
        assert_eq!(said["streamNextOffset"], *control.id);
        pairs.push(Pair { data, event_bytes, next: control.id, control: said });
    }
    pairs
}

/// What a reader of the appends receives: messages, bytes, or text with line ends normalized as SSE does.
fn seen<'a>(content_type: &str, parts: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    match content_type {
        JSON => {
            let messages = parts.flat_map(|part| {
                let array: Vec<&serde_json::value::RawValue> = serde_json::from_slice(part)
                    .unwrap_or_else(|_| vec![serde_json::from_slice(part).unwrap()]);
                array.into_iter().map(|message| message.get().to_owned()).collect::<Vec<_>>()
            });
            messages.collect()
        }
        TEXT => {
            let whole = parts.collect::<Vec<_>>().concat();
            vec![String::from_utf8_lossy(&whole).replace("\r\n", "\n").replace('\r', "\n")]
        }
        _ => vec![STANDARD.encode(parts.collect::<Vec<_>>().concat())],
    }
}

fn units(content_type: &str, data: &[u8]) -> usize {
    if content_type == JSON { seen(JSON, std::iter::once(data)).len() } else { data.len() }
}

/// Checks events of a whole stream: each is small or holds one message, only the last says `upToDate`, and their data
/// is what was appended. Then it checks the same for reads that resume after some of the events.
#[track_caller]
fn check(what: &str, (content_type, bodies): &Case, from: impl Fn(&str) -> Vec<u8>, is_closed: bool) {
    let expected = seen(content_type, bodies.iter().map(Vec::as_slice));
    let whole = pairs(content_type, &from("-1"));
    let found = seen(content_type, whole.iter().map(|pair| &pair.data[..]).filter(|data| !data.is_empty()));
    assert!(found == expected, "{what}: the data differs");
    let sizes: Vec<usize> = whole.iter().map(|pair| pair.event_bytes).collect();
    let bodies_bytes: usize = bodies.iter().map(Vec::len).sum();
    assert!(whole.len() > 1 || bodies_bytes < EVENT_MAX_BYTES, "{what}: {sizes:?}");
    assert!(
        whole.len()
            < 3 + bodies.len().min(4 * bodies_bytes / EVENT_MAX_BYTES + 3)
                + sizes.iter().sum::<usize>() / (EVENT_MAX_BYTES / 3),
        "{what}: {sizes:?}"
    );
    let mut ends: Vec<usize> = vec![0];
    ends.extend(bodies.iter().scan(0, |end, body| {
        *end += body.len();
        Some(*end)
    }));
    let mut begins = 0;
    for (n, pair) in whole.iter().enumerate() {
        let end = begins + pair.data.len();
        let is_one = match *content_type {
            JSON => pair.data.is_empty() || units(JSON, &pair.data) == 1,
            // Part of one append only.
            _ => ends.windows(2).any(|append| append[0] <= begins && end <= append[1]),
        };
        assert!(pair.event_bytes <= EVENT_MAX_BYTES || is_one, "{what}: {} bytes", pair.event_bytes);
        begins = end;
        // A frame without data follows data that is too large for one frame.
        let is_last = whole[n + 1..].iter().all(|pair| pair.data.is_empty());
        assert_eq!(pair.control.get("upToDate").is_some(), is_last, "{what}: {n} of {}", whole.len());
        assert_eq!(pair.control.get("streamClosed").is_some(), is_last && is_closed, "{what}");
    }
    for n in [0, whole.len() / 2, whole.len() - 1] {
        let rest = pairs(content_type, &from(&whole[n].next));
        let parts = |pairs: &[Pair]| {
            let data = pairs.iter().map(|pair| &pair.data[..]).filter(|data| !data.is_empty());
            if pairs.iter().all(|pair| pair.data.is_empty()) { Vec::new() } else { seen(content_type, data) }
        };
        assert!(parts(&rest) == parts(&whole[n + 1..]), "{what}: after event {n}");
        assert_eq!(rest.last().unwrap().next, whole.last().unwrap().next);
    }
}

/// All event text from an offset to the tail, over as many responses as that takes.
fn text_from(family: &mut Family, path: &str, offset: &str) -> Vec<u8> {
    let (mut text, mut at) = (Vec::new(), offset.to_owned());
    loop {
        match family.send(&format!("GET /v1/stream/{path}?offset={at}&live=sse")) {
            Outcome::Answered(part) => {
                part.assert_is("200");
                text.extend_from_slice(&part.body);
                part.next().clone_into(&mut at);
                if part.header("stream-closed").is_some() {
                    return text;
                }
            }
            Outcome::Parked(socket, _) => {
                let sockets = &family.member(path).sockets;
                let frame = sockets.frame_at(socket, 0).expect("a snapshot frame");
                assert!(frame.len() <= FRAME_MAX_BYTES);
                text.extend_from_slice(&frame[FRAME_HEAD_BYTES..]);
                sockets.drop_socket(socket);
                return text;
            }
        }
    }
}

/// A family where `a` has the first `inherited` appends, and its fork `b` has the rest.
fn family_of((content_type, bodies): &Case, appends_max: u64, inherited: usize, closes: bool) -> Family {
    let segments = SegmentLimits { appends_max, bytes_max: 1 << 40, closed_bytes_min: 1 };
    let mut family = Family::with(0, 4 << 20, Some(segments), RetentionDefaults::default());
    // The fork's segment numbers continue after those of an earlier stream at its URL.
    family.run(&["PUT /v1/stream/b | content-type: text/plain << x", "DELETE /v1/stream/b"]);
    family.run(&[&format!("PUT /v1/stream/a | content-type: {content_type}")]);
    for (n, body) in bodies.iter().enumerate() {
        if n == inherited {
            family.run(&["PUT /v1/stream/b | stream-forked-from: /v1/stream/a"]);
        }
        let path = if n < inherited { "a" } else { "b" };
        let append = format!("POST /v1/stream/{path} | content-type: {content_type}");
        let response = family.send_answered(&Request::parse(&append).body(body.clone()));
        response.assert_is("204");
    }
    if inherited == bodies.len() {
        family.run(&["PUT /v1/stream/b | stream-forked-from: /v1/stream/a"]);
    }
    if closes {
        family.run(&["POST /v1/stream/b | stream-closed: true"]);
    }
    family
}

/// Reads from the hot log, from the bucket, across both, and the same for inherited data.
#[test]
fn catch_up_events_are_small() {
    for (name, case) in cases() {
        let count = case.1.len();
        let splits_characters = name == "text whose appends end anywhere";
        for (appends_max, inherited, closes) in [
            (1 << 40, 0, false),
            (1 << 40, count, true),
            (3, 0, true),
            (40, count / 2 + 1, false),
            (2, count / 2, false),
        ] {
            if splits_characters && appends_max < 40 {
                // A read across segments may cut a character where a segment ends.
                continue;
            }
            let inherited = inherited.min(count);
            let what = format!("{name}, {appends_max} a segment, {inherited} inherited");
            let family = RefCell::new(family_of(&case, appends_max, inherited, closes));
            check(&what, &case, |offset| text_from(&mut family.borrow_mut(), "b", offset), closes);
        }
    }
}

/// Covers appends that are announced together, and data that is too large for a frame.
#[test]
fn live_events_are_small() {
    for (name, case) in cases() {
        let (content_type, bodies) = &case;
        let mut world = World::new();
        world.announces = false;
        world.run(&[&format!("PUT | content-type: {content_type}")]);
        let mut live = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
        assert_eq!(live.take_events().len(), 1);
        for body in bodies {
            let append = Request::parse(&format!("POST | content-type: {content_type}"));
            world.send_answered(&append.body(body.clone())).assert_is("204");
        }
        world.announce();
        live.pump(&mut world);
        let world = RefCell::new(world);
        let text = live.text.clone();
        let from = |offset: &str| {
            if offset == "-1" {
                return text.clone();
            }
            let world = &mut *world.borrow_mut();
            let mut client = SseClient::open(world, &format!("GET ?offset={offset}&live=sse"));
            client.disconnect(world);
            client.text
        };
        check(name, &case, from, false);
    }
}

/// A source of an older version does not say where events may begin, so events are larger, but complete.
#[test]
fn events_of_an_older_source_are_complete() {
    for (name, case) in cases() {
        let (content_type, bodies) = &case;
        let mut family = family_of(&case, 1 << 40, bodies.len(), false);
        family.has_older_owners = true;
        family
            .send_answered(
                &Request::parse(&format!("POST /v1/stream/b | content-type: {content_type}")).body("7"),
            )
            .assert_is("204");
        let family = RefCell::new(family);
        let from = |offset: &str| text_from(&mut family.borrow_mut(), "b", offset);
        let whole = pairs(content_type, &from("-1"));
        let data = |pairs: &[Pair]| {
            let data = pairs.iter().map(|pair| &pair.data[..]).filter(|data| !data.is_empty());
            seen(content_type, data)
        };
        let all = [&bodies[..], &[b"7".to_vec()]].concat();
        assert!(data(&whole) == seen(content_type, all.iter().map(Vec::as_slice)), "{name}");
        for n in 0..whole.len() - 1 {
            let rest = pairs(content_type, &from(&whole[n].next));
            assert!(
                whole[n + 1..].iter().all(|pair| pair.data.is_empty())
                    || data(&rest) == data(&whole[n + 1..]),
                "{name}: after {n}"
            );
        }
    }
}
