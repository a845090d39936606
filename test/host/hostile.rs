//! Hostile content: whatever a writer appends, every read mode returns all of it, in answers within the size
//! limit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durable_streams::protocol::bridge::FRAME_HEAD_BYTES;
use durable_streams::protocol::sse::AROUND_DATA;
use durable_streams::storage::message_row::ROW_MAX_BYTES;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::support::family::Begun;
use crate::support::{Family, Outcome, Request, compact, event_source};

const MIB: usize = 1 << 20;
/// The chunk size of a deployment.
const CHUNK_BYTES: usize = 4 * MIB;
/// The size limit: only an answer with a single message may exceed it.
const ANSWER_MAX_BYTES: usize = 6 * MIB;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const BINARY: &str = "image/png";

/// A body as sent, and as a stream of an earlier version stored it. Early versions stored white space between
/// tokens.
#[derive(Clone, Debug)]
struct Body {
    sent: Vec<u8>,
    stored: Option<Vec<u8>>,
}

fn sent(body: impl Into<Vec<u8>>) -> Body {
    Body { sent: body.into(), stored: None }
}

/// A message that is stored with white space. It is sent as a string of the same length and replaced in
/// storage.
fn stored(message: &str) -> Body {
    let sent = format!("\"{}\"", "x".repeat(message.len() - 2));
    Body { sent: sent.into_bytes(), stored: Some(message.as_bytes().to_vec()) }
}

/// The location of the content at the time of the read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lies {
    Hot,
    /// One append per segment, all but the last in the bucket.
    Bucket,
    /// Inherited by a fork from a source's hot log.
    Inherited,
    /// Inherited by a fork from a source with most of it in the bucket.
    InheritedBucket,
}

const PLACES: [Lies; 4] = [Lies::Hot, Lies::Bucket, Lies::Inherited, Lies::InheritedBucket];

/// A family with the bodies in the stream `a`, or inherited in the stream `b`.
fn family_of(
    content_type: &str,
    bodies: &[Body],
    lies: Lies,
    chunk_max_bytes: usize,
) -> (Family, &'static str) {
    let is_cold = matches!(lies, Lies::Bucket | Lies::InheritedBucket);
    let segments = SegmentLimits { appends_max: 1, bytes_max: 1 << 40, closed_bytes_min: 1 << 40 };
    let segments = is_cold.then_some(segments);
    let mut family = Family::with(0, chunk_max_bytes, segments, RetentionDefaults::default());
    family.run(&[&format!("PUT /v1/stream/a | content-type: {content_type}")]);
    for body in bodies {
        let post = Request::parse(&format!("POST /v1/stream/a | content-type: {content_type}"));
        let begun = family.begin(&post.body(body.sent.clone()));
        let Begun::Done(Outcome::Answered(response)) = begun else { panic!("an append is answered at once") };
        response.assert_is("204");
        if let Some(stored) = &body.stored {
            store(&mut family, stored, response.next());
        }
        family.settle();
    }
    if matches!(lies, Lies::Hot | Lies::Bucket) {
        return (family, "a");
    }
    family.run(&["PUT /v1/stream/b | stream-forked-from: /v1/stream/a"]);
    (family, "b")
}

/// Rewrites the rows of the last append as an earlier version stored them. The object loses its memory, and
/// with it its pre-encoded events.
fn store(family: &mut Family, message: &[u8], next: &str) {
    let segment: u64 = next[..16].parse().unwrap();
    let sql = family.member("a").sql.raw();
    let table = (0..=segment).rev().map(|segment| format!("messages_{segment}")).find(|table| {
        let has_rows = sql.query_row(&format!("SELECT count(*) > 0 FROM {table}"), [], |row| row.get(0));
        has_rows.unwrap_or(false)
    });
    let table = table.expect("an append has rows");
    let keys =
        format!("SELECT key FROM {table} WHERE key >> 4 = (SELECT max(key >> 4) FROM {table}) ORDER BY key");
    let mut statement = sql.prepare(&keys).unwrap();
    let keys: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(keys.len(), message.len().div_ceil(ROW_MAX_BYTES));
    for (key, part) in keys.iter().zip(message.chunks(ROW_MAX_BYTES)) {
        sql.execute(&format!("UPDATE {table} SET body = ? WHERE key = ?"), (part, key)).unwrap();
    }
    drop(statement);
    family.crash("a", false);
}

/// The bodies of all answers in one read mode, from the start to the tail.
fn answers(family: &mut Family, path: &str, live: &str) -> Vec<Vec<u8>> {
    let (mut answers, mut at) = (Vec::new(), "-1".to_owned());
    loop {
        let (body, next, is_tail) = match family.send(&format!("GET /v1/stream/{path}?offset={at}{live}")) {
            Outcome::Answered(response) => {
                response.assert_is("200");
                let is_tail = response.header("stream-up-to-date").is_some();
                (response.body.clone(), response.next().to_owned(), is_tail && live != "&live=sse")
            }
            Outcome::Parked(_, head) if live == "&live=long-poll" => {
                assert_eq!(head.next(), at, "{head:?}");
                return answers;
            }
            Outcome::Parked(socket, head) => {
                let frame = family.member(path).sockets.frame_at(socket, 0).expect("a snapshot");
                (frame[FRAME_HEAD_BYTES..].to_vec(), head.next().to_owned(), true)
            }
        };
        answers.push(body);
        assert!(is_tail || next > at || at == "-1", "the read at {at} makes no progress");
        if is_tail {
            return answers;
        }
        at = next;
    }
}

/// The data of one answer's events. Each event is base64 or an array by itself.
fn data_of(content_type: &str, events: &[u8]) -> Vec<u8> {
    let data = event_source::parse(events).into_iter().filter(|event| event.name == "data");
    let data: Vec<String> = data.map(|event| event.data).collect();
    match content_type {
        JSON => data.concat().replace("][", ",").into_bytes(),
        TEXT => data.concat().into_bytes(),
        _ => data.iter().flat_map(|data| STANDARD.decode(data).unwrap()).collect(),
    }
}

fn messages_of(array: &str) -> Vec<String> {
    let messages: Vec<&RawValue> = serde_json::from_str(array).unwrap();
    messages.iter().map(|message| message.get().to_owned()).collect()
}

/// The text that a reader of events receives.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n")
}

/// Reads everything in each mode. Checks each answer against the limit, and all of them against the appended
/// content.
fn check(
    content_type: &str,
    bodies: &[Body],
    lies: Lies,
    (chunk_max_bytes, answer_max_bytes): (usize, usize),
) {
    let (mut family, path) = family_of(content_type, bodies, lies, chunk_max_bytes);
    let whole: Vec<&[u8]> = bodies.iter().map(|body| body.stored.as_deref().unwrap_or(&body.sent)).collect();
    let expected: Vec<String> = match content_type {
        JSON => bodies.iter().flat_map(expected_messages).collect(),
        _ => Vec::new(),
    };
    for live in ["", "&live=long-poll", "&live=sse"] {
        let what = format!("{content_type} {lies:?} {live}");
        let answers = answers(&mut family, path, live);
        let data: Vec<Vec<u8>> = match live {
            "&live=sse" => answers.iter().map(|answer| data_of(content_type, answer)).collect(),
            _ => answers.clone(),
        };
        for (n, answer) in answers.iter().enumerate() {
            let text = String::from_utf8_lossy(&data[n]);
            let fits = answer.len() <= answer_max_bytes + AROUND_DATA;
            let is_allowed = fits || content_type == JSON && messages_of(&text).len() == 1;
            assert!(is_allowed, "{what}: {} bytes in answer {n}", answer.len());
        }
        match (content_type, live) {
            (JSON, _) => {
                let texts = data.into_iter().filter(|data| !data.is_empty());
                let texts = texts.map(|data| String::from_utf8(data).unwrap());
                let found: Vec<String> = texts.flat_map(|text| messages_of(&text)).collect();
                let lines = |text: &str| text.replace(['\r', '\n'], "");
                assert_eq!(found.len(), expected.len(), "{what}");
                for (found, expected) in found.iter().zip(&expected) {
                    let is_same = match live {
                        "&live=sse" => *found == lines(expected),
                        _ => found == expected,
                    };
                    assert!(is_same, "{what}: {} bytes became {}", expected.len(), found.len());
                }
            }
            (TEXT, "&live=sse") => assert!(data.concat() == shown(&whole.concat()).as_bytes(), "{what}"),
            (_, _) => assert!(data.concat() == whole.concat(), "{what}"),
        }
    }
}

/// The messages of a body: compact, unless they are stored as by an earlier version.
fn expected_messages(body: &Body) -> Vec<String> {
    match &body.stored {
        Some(stored) => vec![String::from_utf8(stored.clone()).unwrap()],
        None => {
            let text = String::from_utf8(body.sent.clone()).unwrap();
            let text = compact(&text);
            if text.starts_with('[') { messages_of(&text) } else { vec![text] }
        }
    }
}

fn check_deployed(content_type: &str, bodies: &[Body]) {
    for lies in PLACES {
        check(content_type, bodies, lies, (CHUNK_BYTES, ANSWER_MAX_BYTES));
    }
}

/// The limit is proportional to the chunk size. These chunks are small only because a debug build is slow.
#[test]
fn text_answer_has_at_most_one_and_a_half_chunks() {
    const CHUNK: usize = MIB / 8;
    let [lines, indented] = ["\n", "\n "].map(|piece| piece.repeat(CHUNK / piece.len() * 5 / 4) + ".");
    let returns = [b"\r\n".repeat(CHUNK / 2 + 1), b"\r".repeat(CHUNK / 4 + 1), b".".to_vec()].concat();
    let invalid = [vec![0xff; CHUNK * 5 / 4], b".".to_vec()].concat();
    for lies in PLACES {
        let bodies = [
            sent(lines.clone()),
            sent("."),
            sent(indented.clone()),
            sent(invalid.clone()),
            sent(returns.clone()),
        ];
        check(TEXT, &bodies, lies, (CHUNK, CHUNK + CHUNK / 2));
    }
}

#[test]
fn binary_answer_has_at_most_six_mebibytes() {
    check_deployed(BINARY, &[sent(vec![0xff; 4 * MIB + 1]), sent("\n"), sent(vec![b'\n'; MIB])]);
    // The limit also applies if chunks are configured to be larger.
    for lies in [Lies::Hot, Lies::Bucket] {
        check(BINARY, &[sent(vec![0xff; 6 * MIB])], lies, (ANSWER_MAX_BYTES, ANSWER_MAX_BYTES));
    }
}

#[test]
fn json_answer_has_at_most_six_mebibytes_or_one_message() {
    let small = format!("[{}]", vec![format!("\"{}\"", "x".repeat(MIB / 4 - 3)); 15].join(","));
    let large = format!("\"{}\"", "y".repeat(5 * MIB));
    check_deployed(JSON, &[small.as_str(), &large, "1", &large].map(sent));
    // One append, so one segment.
    let batch = format!("[{},{large},1]", &small[1..small.len() - 1]);
    check_deployed(JSON, &[sent("0"), sent(batch)]);
}

#[test]
fn json_of_earlier_versions_is_one_data_line() {
    let lines = stored(&format!("{{\"a\":{}1}}", "\n".repeat(7 * MIB)));
    let returns = stored(&format!("[\r\n{} \t1 , \"\\n\" ]", "\r".repeat(MIB)));
    check_deployed(JSON, &[sent("1"), lines, sent("[2,3]"), returns, sent("4")]);
}

/// Hostile pieces of text and bytes.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n ".to_vec()),
        Just(vec![0xff]),
        Just("\u{1f600}".as_bytes().to_vec()),
        Just(vec![0xf0, 0x9f]),
        Just(b"data: x\n\n".to_vec()),
        Just(b"abc".to_vec()),
        Just(vec![0]),
    ];
    let run = (piece, 1..1500usize).prop_map(|(piece, count)| piece.repeat(count));
    // An answer may end at the end of an append, so nothing has to be waited for there.
    prop::collection::vec(run, 1..6).prop_map(|runs| [runs.concat(), b".".to_vec()].concat())
}

/// Hostile messages: white space, quotes, backslashes, lone surrogates, deep nesting.
fn hostile_json() -> impl Strategy<Value = String> {
    let space = (prop_oneof![Just("\n"), Just("\r\n"), Just(" "), Just("\t")], 0..3000usize)
        .prop_map(|(space, count)| space.repeat(count));
    let piece = prop_oneof![
        Just("\\\""),
        Just("\\\\"),
        Just("\\ud800"),
        Just("\\n"),
        Just("],["),
        Just(" "),
        Just("\u{2028}"),
        Just("\u{1f600}")
    ];
    let string = (piece, 0..800usize).prop_map(|(piece, count)| format!("\"{}\"", piece.repeat(count)));
    let nested =
        (0..800usize).prop_map(|depth| format!("{}{}", "[ ".repeat(depth + 1), "]\n".repeat(depth + 1)));
    let value = prop_oneof![string, nested, Just("1e400".to_owned()), Just("{}".to_owned())];
    (space.clone(), value, space)
        .prop_map(|(before, value, after)| format!("{{ \"k\" :{before}{value}{after},{before}\"k\":1}}"))
}

fn json_body() -> impl Strategy<Value = Body> {
    let batch = prop::collection::vec(hostile_json(), 1..4);
    prop_oneof![
        hostile_json().prop_map(sent),
        batch.prop_map(|messages| sent(format!(" [{}\n]", messages.join(" ,\n")))),
        hostile_json().prop_map(|message| stored(&message)),
    ]
}

fn lies() -> impl Strategy<Value = Lies> {
    prop::sample::select(PLACES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn hostile_text_arrives_in_answers_of_bounded_size(bodies in prop::collection::vec(hostile_bytes().prop_map(sent), 1..4), lies in lies(), chunk in prop::sample::select(vec![512, 4096, 65536])) {
        check(TEXT, &bodies, lies, (chunk, chunk + chunk / 2));
    }

    #[test]
    fn hostile_bytes_arrive_in_answers_of_bounded_size(bodies in prop::collection::vec(hostile_bytes().prop_map(sent), 1..4), lies in lies(), chunk in prop::sample::select(vec![512, 4096, 65536])) {
        check(BINARY, &bodies, lies, (chunk, chunk + chunk / 2));
    }

    /// JSON ends with a row, which is an append or one message.
    #[test]
    fn hostile_json_arrives_in_answers_of_bounded_size(bodies in prop::collection::vec(json_body(), 1..6), lies in lies(), chunk in prop::sample::select(vec![512, 4096, 65536])) {
        let row = bodies.iter().map(|body| body.sent.len()).max().unwrap_or_default();
        check(JSON, &bodies, lies, (chunk, chunk + row.max(chunk / 2)));
    }
}
