//! Storage: rows as Cloudflare bills them, appends larger than a row, and faults.

use crate::support::http::with_offsets;
use crate::support::sql::Fault;
use crate::support::world::Meanwhile;
use crate::support::{LongPoll, Outcome, Request, Response, SseClient, World, compact};
use durable_streams::object::producers::ProducerLimits;
use durable_streams::storage::messages::CHUNK_ROWS_MAX;
use durable_streams::stream::rotate::SegmentLimits;

const TEXT: &str = "PUT | content-type: text/plain";
const JSON: &str = "PUT | content-type: application/json";
const BYTES: &str = "PUT | content-type: application/octet-stream";
const HELLO: &str = "POST | content-type: text/plain << hello";
const PRODUCED: &str =
    "POST | content-type: text/plain | producer-id: p | producer-epoch: 0 | producer-seq: 0 << hello";
const MIB: usize = 1 << 20;

#[test]
fn each_request_writes_the_expected_rows() {
    let batch = format!("POST | content-type: application/json << [{}]", vec!["{\"a\":1}"; 100].join(","));
    let produced_last = PRODUCED.replace(" << ", " | stream-closed: true << ");
    let produced_close = produced_last.split(" << ").next().unwrap();
    let last = "POST | content-type: text/plain | stream-closed: true << hello";
    let close = "POST | stream-closed: true";
    let gap = PRODUCED.replace("seq: 0", "seq: 2");
    let table: [(&[&str], &str, u64); 33] = [
        (&[], TEXT, 1),
        (&[], "PUT | content-type: text/plain << hello", 2),
        (&[TEXT, "DELETE"], TEXT, 1),
        (&[TEXT], TEXT, 0),
        (&[TEXT], JSON, 0),
        (&[TEXT], HELLO, 1),
        (&[TEXT, HELLO], HELLO, 1),
        (&[TEXT], "POST | content-type: text/plain | stream-seq: a << hello", 1),
        (&[JSON], &batch, 1),
        (&[TEXT], PRODUCED, 1),
        (&[TEXT, PRODUCED], &PRODUCED.replace("seq: 0", "seq: 1"), 1),
        (&[TEXT, PRODUCED], PRODUCED, 0),
        (&[TEXT, PRODUCED], &gap, 0),
        (&[TEXT], close, 1),
        (&[TEXT, close], close, 0),
        (&[TEXT, close], HELLO, 0),
        (&[TEXT], last, 2),
        (&[TEXT], &produced_last, 2),
        (&[TEXT, &produced_last], &produced_last, 0),
        (&[TEXT], produced_close, 1),
        (&[TEXT], "POST | content-type: text/html << x", 0),
        (&[TEXT], "POST << x", 0),
        (&[JSON], "POST | content-type: application/json << {", 0),
        (&[TEXT, HELLO], "GET", 0),
        (&[TEXT, HELLO], "GET ?offset=now", 0),
        (&[TEXT, HELLO], "GET ?offset=-1&live=long-poll", 0),
        (&[TEXT, HELLO], "HEAD", 0),
        (&[TEXT, HELLO, PRODUCED], "DELETE", 1),
        (&[], "GET", 0),
        (&[], "DELETE", 0),
        // Writes extend a TTL without an additional row.
        (&["PUT | content-type: text/plain | stream-ttl: 60", "WAIT 59s"], HELLO, 1),
        (&["PUT | content-type: text/plain | stream-ttl: 60", "WAIT 59s"], close, 1),
        (&["PUT | content-type: text/plain | stream-ttl: 60", "WAIT 59s"], last, 2),
    ];
    for (state, request, rows) in table {
        for restart in [false, true] {
            let mut world = World::after(state);
            if restart {
                world.restart();
            }
            world.sql.take_rows_written();
            world.ask(request);
            assert_eq!(world.sql.take_rows_written(), rows, "{request} after {state:?}");
        }
    }
}

#[test]
fn live_readers_write_nothing() {
    let mut world = World::after(&[TEXT, HELLO]);
    world.sql.take_rows_written();
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    assert_eq!(world.sql.take_rows_written(), 0);
    world.run(&[HELLO]);
    client.pump(&mut world);
    assert!(poll.answer(&mut world).is_some());
    assert_eq!(world.sql.take_rows_written(), 1, "only the append writes a row");
}

/// Requests for a stream that never existed store nothing.
#[test]
fn request_for_a_missing_stream_creates_no_tables() {
    let close = "POST | stream-closed: true";
    for request in [
        "GET",
        "HEAD",
        HELLO,
        PRODUCED,
        close,
        "DELETE",
        "GET ?offset=-1&live=sse",
        "GET ?offset=now&live=long-poll",
    ] {
        let mut world = World::new();
        world.ask(request).assert_is("404");
        world.ring();
        assert!(world.sql.tables().is_empty(), "{request}");
        assert_eq!(world.sql.take_rows_written(), 0, "{request}");
    }
}

#[test]
fn each_incarnation_has_its_own_tables() {
    let mut world = World::new();
    world.limit_producers(ProducerLimits { kept_max: 64, stored_each_appends: 1 });
    world.run(&[TEXT, PRODUCED]);
    assert_eq!(world.sql.tables(), ["messages_0", "producers", "stream"]);
    world.run(&["DELETE"]);
    assert_eq!(world.sql.tables(), ["stream"]);
    world.run(&["RESTART", TEXT, HELLO]);
    assert_eq!(world.sql.tables(), ["messages_1", "stream"]);
    assert!(!world.sql.dump().contains("\"p\""), "the producer of the old incarnation is deleted");
}

/// Everything that a client can see is unchanged after the object has lost its memory, at each step of a
/// history.
#[test]
fn everything_survives_a_restart() {
    let history = [
        TEXT,
        HELLO,
        PRODUCED,
        "POST | content-type: text/plain | stream-seq: a << b",
        "POST | stream-closed: true",
        "DELETE",
        JSON,
        "POST | content-type: application/json << [1,2]",
        "DELETE",
        "PUT | stream-ttl: 60",
        "DELETE",
        "PUT | content-type: text/plain | stream-closed: true << x",
        "DELETE",
        "PUT | stream-expires-at: 2031-01-01T00:00:00.25Z",
    ];
    let directory = std::env::temp_dir().join(format!("durable-streams-host-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("stream.sqlite");
    let mut world = World::on_disk(&path);
    for step in history {
        world.run(&[step]);
        let seen = look(&mut world);
        world.restart();
        assert_eq!(look(&mut world), seen, "after {step}");
        drop(world);
        world = World::on_disk(&path);
        assert_eq!(look(&mut world), seen, "from disk after {step}");
    }
    drop(world);
    std::fs::remove_dir_all(&directory).unwrap();
}

fn look(world: &mut World) -> Vec<Response> {
    ["HEAD", "GET", "GET ?offset=now", "GET ?offset=@0_1", "POST << x"]
        .map(|request| world.ask(request))
        .to_vec()
}

// Appends larger than a row.

/// Bytes without repetition.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn post(world: &mut World, content_type: &str, body: &[u8]) -> Response {
    let request = Request::parse(&format!("POST | content-type: {content_type}"));
    world.send_answered(&request.body(body))
}

/// Reads from an offset to the tail, chunk by chunk.
fn read_from(world: &mut World, offset: &str) -> Vec<Response> {
    let mut chunks = vec![world.ask(&format!("GET ?offset={offset}"))];
    while chunks.last().is_some_and(|chunk| chunk.header("stream-up-to-date").is_none()) {
        let next = chunks.last().unwrap().next().to_owned();
        chunks.push(world.ask(&format!("GET ?offset={next}")));
        assert_ne!(chunks.last().unwrap().next(), next, "a read makes progress");
    }
    chunks
}

fn joined(chunks: &[Response]) -> Vec<u8> {
    chunks.iter().map(|chunk| &chunk.body[..]).collect::<Vec<_>>().concat()
}

#[test]
fn bytes_larger_than_a_row_are_read_back() {
    for length in [MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 5] {
        let body = noise(length);
        let mut world = World::after(&[BYTES, "POST | content-type: application/octet-stream << abc"]);
        world.sql.take_rows_written();
        post(&mut world, "application/octet-stream", &body)
            .assert_is(&format!("204 | stream-next-offset: @0_{}", length + 3));
        assert_eq!(world.sql.take_rows_written(), length.div_ceil(MIB) as u64);
        world.run(&["POST | content-type: application/octet-stream << xyz", "RESTART"]);
        let whole = [b"abc", &body[..], b"xyz"].concat();
        for limit in [MIB / 3, MIB, MIB + 1, 4 * MIB] {
            world.limit_chunks(limit);
            let links = [0, 3, MIB, 2 * MIB, whole.len() - 3, whole.len()];
            for from in links
                .into_iter()
                .flat_map(|link| link.saturating_sub(2)..link + 5)
                .filter(|at| *at <= whole.len())
            {
                let chunks = read_from(&mut world, &format!("@0_{from}"));
                let read = joined(&chunks);
                // Each row counts as a message: one byte inside of it means its beginning.
                let is_one_inside =
                    [1, length + 4].contains(&from) || from > 3 && from < length + 3 && (from - 3) % MIB == 1;
                let begin = if is_one_inside { from - 1 } else { from };
                assert!(read == whole[begin..], "from {from} of {length} in chunks of {limit}");
                assert!(chunks.iter().all(|chunk| chunk.body.len() <= limit));
            }
        }
    }
}

/// A JSON stream and its messages.
fn json_world(bodies: &[String]) -> (World, Vec<String>) {
    let mut world = World::after(&[JSON]);
    let mut messages = Vec::new();
    for body in bodies {
        post(&mut world, "application/json", body.as_bytes()).assert_is("204");
        let value: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_str(body).unwrap_or_else(|_| vec![serde_json::from_str(body).unwrap()]);
        messages.extend(value.iter().map(|message| compact(message.get())));
    }
    (world, messages)
}

/// Reads from a position on, and compares each chunk with the messages.
fn check_json_from(world: &mut World, messages: &[String], from: usize) {
    let mut at = from;
    for chunk in read_from(world, &format!("@0_{from}")) {
        chunk.assert_is("200 | content-type: application/json");
        let next: usize = chunk.next()[17..].parse().unwrap();
        let expected = format!("[{}]", messages[at..next].join(","));
        assert!(chunk.body == expected.as_bytes(), "{at} to {next}: {chunk:?}");
        at = next;
    }
    assert_eq!(at, messages.len());
}

#[test]
fn json_batch_larger_than_a_row_is_read_back() {
    // 2,600 messages of 1 KiB on average, some with text that looks like the end of a message.
    let mut random = fastrand::Rng::with_seed(3);
    let message = |n: usize| format!("{{\"n\":{n},\"],[\": \"{}\"}}", "\\\",".repeat(random.usize(0..680)));
    let batch: Vec<String> = (0..2_600).map(message).collect();
    let bodies = ["1".to_owned(), format!("[{}]", batch.join(" ,\n")), "[2,3]".to_owned()];
    let (mut world, messages) = json_world(&bodies);
    let starts = row_starts(&world);
    assert!(starts.len() >= 4, "{starts:?}");
    for limit in [MIB / 2, MIB, 8 * MIB] {
        world.limit_chunks(limit);
        let links = starts.iter().copied().chain([messages.len()]);
        for from in links.flat_map(|link| link.saturating_sub(2)..link + 2).filter(|at| *at <= messages.len())
        {
            check_json_from(&mut world, &messages, from);
        }
    }
}

fn row_starts(world: &World) -> Vec<usize> {
    let mut statement =
        world.sql.raw().prepare("SELECT key >> 4 FROM messages_0 WHERE key & 15 = 0 ORDER BY key").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    rows.map(|start| start.unwrap() as usize).collect()
}

/// A JSON message may be larger than a row. The rows may then split characters, escapes and numbers.
#[test]
fn json_message_larger_than_a_row_is_read_back() {
    let large = [
        format!("\"{}\"", "\u{1f600}".repeat(MIB / 2)),
        format!("[{}]", vec!["1234"; MIB / 2].join(",")),
        format!("{{\"a\":\"{}\"}}", "\\u00e9".repeat(MIB / 5)),
        format!("\"{}\"", "x".repeat(MIB - 2)),
        format!("\"{}\"", "x".repeat(MIB - 1)),
    ];
    for message in large {
        let bodies = [
            "[0,1]".to_owned(),
            format!("[{message}]"),
            "3".to_owned(),
            format!("[4,5,{message},7,{message},{message}]"),
            "[10,11]".to_owned(),
        ];
        let (mut world, messages) = json_world(&bodies);
        assert_eq!(messages.len(), 12);
        for limit in [1024, 3 * MIB] {
            world.limit_chunks(limit);
            for from in 0..=12 {
                check_json_from(&mut world, &messages, from);
            }
        }
    }
}

/// The last row is then part of a message, so no messages must be searched for in it.
#[test]
fn read_at_the_tail_after_a_json_message_larger_than_a_row_is_empty() {
    for message in [
        format!("[{}]", vec!["1234"; 3 * MIB / 5].join(",")),
        format!("\"{}\"", "x\u{1f600}".repeat(MIB / 2)),
    ] {
        let (mut world, messages) = json_world(&[format!("[{message}]")]);
        assert_eq!(messages.len(), 1);
        world
            .ask("GET ?offset=@0_1")
            .assert_is("200 | stream-next-offset: @0_1 | stream-up-to-date: true << []");
        world.ask("GET ?offset=now").assert_is("200 | stream-next-offset: @0_1 << []");
    }
}

/// A chunk has a limited number of rows, however small the appends are, such as tokens of a language model.
#[test]
fn chunk_has_a_limited_number_of_rows() {
    for (put, content_type, token) in [(TEXT, "text/plain", "x"), (JSON, "application/json", "1")] {
        let mut world = World::after(&[put]);
        for _ in 0..CHUNK_ROWS_MAX + 100 {
            post(&mut world, content_type, token.as_bytes()).assert_is("204");
        }
        let chunks = read_from(&mut world, "-1");
        assert_eq!(chunks.len(), 2, "{content_type}");
        let received = joined(&chunks).iter().filter(|byte| **byte == token.as_bytes()[0]).count();
        assert_eq!(received as u64, CHUNK_ROWS_MAX + 100);
    }
}

#[test]
fn append_of_sixteen_mebibytes_is_stored_and_read() {
    let body = noise(16 * MIB);
    let mut world = World::after(&[BYTES]);
    post(&mut world, "application/octet-stream", &body).assert_is("204 | stream-next-offset: @0_16777216");
    assert_eq!(world.sql.take_rows_written(), 1 + 16);
    assert!(joined(&read_from(&mut world, "-1")) == body);
    let message = format!("\"{}\"", "x".repeat(16 * MIB - 2));
    let (mut world, messages) = json_world(&[message, "1".to_owned()]);
    assert_eq!(world.sql.take_rows_written(), 1 + 16 + 1);
    world.restart();
    for from in 0..=2 {
        check_json_from(&mut world, &messages, from);
    }
    // The same applies to initial content.
    let mut world = World::new();
    world
        .send_answered(&Request::parse(BYTES).body(body.clone()))
        .assert_is("201 | stream-next-offset: @0_16777216");
    assert_eq!(world.ask("GET").body, body[..MIB]);
}

// Faults.

/// Each write with its state, and the answer to a retry after the write failed but was stored.
fn writes() -> Vec<(Vec<&'static str>, Request, &'static str)> {
    let large = Request::parse("POST | content-type: application/octet-stream").body(noise(2 * MIB + 9));
    let produced_last = Request::parse(&PRODUCED.replace(" << ", " | stream-closed: true << "));
    let produced_close =
        Request::parse(PRODUCED.split(" << ").next().unwrap()).header("stream-closed", "true");
    vec![
        (vec![], Request::parse("PUT | content-type: text/plain << hello"), "200"),
        (vec![TEXT, PRODUCED, "DELETE"], Request::parse("PUT | content-type: text/plain << hello"), "200"),
        (vec![TEXT], Request::parse(HELLO), "204"),
        (vec![BYTES], large, "204"),
        (vec![TEXT], Request::parse(PRODUCED), "204 | producer-seq: 0 | stream-next-offset: @0_5"),
        (vec![TEXT], produced_last, "204 | producer-seq: 0 | stream-closed: true | stream-next-offset: @0_5"),
        (vec![TEXT, HELLO], produced_close, "204 | producer-seq: 0 | stream-closed: true"),
        (vec![TEXT, HELLO], Request::parse("POST | stream-closed: true"), "204 | stream-closed: true"),
        (vec![TEXT, PRODUCED, HELLO], Request::parse("DELETE"), "404"),
    ]
}

/// Whichever statement fails, nothing is stored, and a retry succeeds.
#[test]
fn failed_statement_stores_nothing() {
    for (state, request, _) in writes() {
        let mut fine = World::after(&state);
        let expected = fine.send_answered(&request);
        for warm in [true, false] {
            let mut statement = 0;
            loop {
                let mut world = World::after(&state);
                if !warm {
                    world.restart();
                }
                let before = world.sql.dump();
                world.sql.arm(Fault::Statement(statement));
                let answer = world.send_answered(&request);
                if !world.sql.disarm() {
                    assert_eq!(answer, expected, "the write has no further statement");
                    break;
                }
                answer.assert_is("500 | error: internal");
                assert_eq!(world.sql.dump(), before, "statement {statement} of {request:?}");
                assert_eq!(world.send_answered(&request), expected, "the retry of statement {statement}");
                assert_eq!(world.sql.dump(), fine.sql.dump());
                statement += 1;
            }
            assert!(statement >= 1, "at least one statement failed");
        }
    }
}

#[test]
fn failed_commit_stores_nothing() {
    for (state, request, _) in writes() {
        let mut fine = World::after(&state);
        let expected = fine.send_answered(&request);
        let mut world = World::after(&state);
        let before = world.sql.dump();
        world.sql.arm(Fault::Commit);
        world.send_answered(&request).assert_is("500");
        assert!(world.sql.disarm());
        assert_eq!(world.sql.dump(), before);
        assert_eq!(world.send_answered(&request), expected);
        assert_eq!(world.sql.dump(), fine.sql.dump());
    }
}

/// The commit reports a failure but is stored. With producer headers the retry is a duplicate, and every
/// request except a plain append is idempotent by itself.
#[test]
fn retry_after_a_commit_that_failed_but_is_stored() {
    for (state, request, expected) in writes() {
        let mut fine = World::after(&state);
        fine.send_answered(&request);
        let mut world = World::after(&state);
        world.sql.arm(Fault::CommitButStored);
        world.send_answered(&request).assert_is("500");
        assert!(world.sql.disarm());
        assert_eq!(world.sql.dump(), fine.sql.dump(), "the failed commit is stored");
        world.send_answered(&request).assert_is(expected);
        let is_plain_append =
            request.method == "POST" && !request.body.is_empty() && request.headers.len() == 1;
        assert_eq!(world.sql.dump() == fine.sql.dump(), !is_plain_append, "{request:?}");
    }
}

/// A PUT after an expiry makes two changes: it ends one incarnation and begins the next. Either may fail, and
/// the retry creates the new incarnation once.
#[test]
fn failed_put_after_expiry_creates_one_incarnation_on_retry() {
    let state = ["PUT | content-type: text/plain | stream-ttl: 60 << x", PRODUCED, "WAIT 60s"];
    let put = "PUT | content-type: text/plain << hello";
    let mut fine = World::after(&state);
    fine.ask(put).assert_is("201 | stream-next-offset: @1_5");
    let statements = (0..12).map(Fault::Statement);
    for fault in statements.chain([Fault::Commit, Fault::CommitButStored]) {
        let mut world = World::after(&state);
        world.sql.arm(fault);
        let answer = world.ask(put);
        if world.sql.disarm() {
            answer.assert_is("500");
            world.ask(put).assert_is("201 | stream-next-offset: @1_5");
        }
        assert_eq!(world.sql.dump(), fine.sql.dump(), "{fault:?}");
    }
}

/// A read that cannot store the extended TTL fails, so that the server promises nothing that is not stored. The
/// next read succeeds.
#[test]
fn read_that_cannot_extend_the_ttl_is_500() {
    for fault in [Fault::Statement(0), Fault::Commit, Fault::CommitButStored] {
        let mut world = World::after(&["PUT | content-type: text/plain | stream-ttl: 60 << x", "WAIT 59s"]);
        world.sql.arm(fault);
        world.ask("GET").assert_is("500");
        assert!(world.sql.disarm());
        world.ask("GET").assert_is("200 << x");
        world.run(&["RESTART", "WAIT 59s"]);
        world.ask("HEAD").assert_is("200");
    }
}

/// Live readers get each message once, whether a write failed before or after it was stored.
#[test]
fn live_readers_get_each_message_once_despite_failures() {
    for fault in [Fault::Statement(0), Fault::Commit, Fault::CommitButStored] {
        let mut world = World::after(&[TEXT, HELLO]);
        let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
        let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
        world.sql.arm(fault);
        world.ask("POST | content-type: text/plain << lost").assert_is("500");
        world.run(&["POST | content-type: text/plain << next"]);
        client.pump(&mut world);
        let expected = if fault == Fault::CommitButStored { "lostnext" } else { "next" };
        assert_eq!(client.data().concat(), format!("hello{expected}"));
        poll.answer(&mut world).unwrap().assert_is(&format!("200 << {expected}"));
    }
}

/// An announcement that cannot read the new messages makes the readers request them, without waiting for
/// another append.
#[test]
fn failed_announcement_loses_no_message() {
    let mut world = World::after(&[TEXT, HELLO]);
    let mut client = SseClient::open(&mut world, "GET ?offset=-1&live=sse");
    let mut poll = LongPoll::park(&mut world, "GET ?offset=now&live=long-poll");
    world.announces = false;
    world.run(&["POST | content-type: text/plain << lost"]);
    world.sql.arm(Fault::Statement(0));
    world.announce();
    assert!(world.sql.disarm());
    world.announces = true;
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "hellolost");
    poll.answer(&mut world).unwrap().assert_is("200 << lost");
    world.run(&["POST | content-type: text/plain << next"]);
    client.pump(&mut world);
    assert_eq!(client.data().concat(), "hellolostnext");
}

/// Rows of a later version, of a version before 7, or with invalid values are a failure, and are never guessed
/// at.
#[test]
fn unreadable_row_is_500() {
    let tampering = [
        "UPDATE stream SET schema_version = 1",
        "UPDATE stream SET schema_version = 2",
        "UPDATE stream SET schema_version = 3",
        "UPDATE stream SET schema_version = 4",
        "UPDATE stream SET schema_version = 5",
        "UPDATE stream SET schema_version = 6",
        "UPDATE stream SET schema_version = 9",
        "UPDATE stream SET schema_version = 9007199254740991",
        "UPDATE stream SET fork = 'nonsense'",
        "UPDATE stream SET schema_version = 0",
        "UPDATE stream SET incarnation = 'x'",
        "UPDATE stream SET content_type = x'00'",
        "UPDATE stream SET content_type = 'nonsense'",
        "UPDATE stream SET created_at = -1",
        "UPDATE stream SET read_seq = 1.5",
        "DROP TABLE messages_0",
    ];
    for statement in tampering {
        let mut world = World::after(&[TEXT, HELLO]);
        world.sql.raw().execute_batch(statement).unwrap();
        world.restart();
        let before = world.sql.dump();
        for request in ["GET", "HEAD", HELLO, PRODUCED, TEXT, "DELETE", "GET ?offset=-1&live=sse"] {
            world.ask(request).assert_is("500 | error: internal");
        }
        assert_eq!(world.sql.dump(), before, "{statement}");
    }
}

/// A stream may end while a read waits for the bucket. The read then returns no data, neither of the old nor of
/// the new incarnation.
#[test]
fn read_of_a_stream_that_ends_during_a_bucket_read_is_404_or_410() {
    for (meanwhile, expected) in [
        (Meanwhile::Nothing, "200 << hello"),
        (Meanwhile::Rotation, "200 << hello"),
        (Meanwhile::LostMemory, "200 << hello"),
        (Meanwhile::Deletion, "404 | error: stream_not_found"),
        (Meanwhile::AnotherLife, "410 | error: offset_gone | stream-next-offset: @2_0"),
    ] {
        for read in ["GET ?offset=-1", "GET ?offset=-1&live=long-poll", "GET ?offset=-1&live=sse"] {
            let mut world = World::new();
            world.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: 1, closed_bytes_min: 1 }));
            world.run(&[TEXT, HELLO]);
            world.meanwhile = meanwhile;
            let answer = world.send(&Request::parse(read));
            match answer {
                Outcome::Answered(response) if !read.ends_with("sse") || response.status != 200 => {
                    response.assert_is(expected);
                }
                Outcome::Answered(_) | Outcome::Parked(..) => assert!(expected.starts_with("200"), "{read}"),
            }
        }
    }
}

#[test]
fn offsets_in_tests_are_expanded_as_the_server_writes_them() {
    assert_eq!(
        with_offsets("a @0_5, @12_0"),
        "a 0000000000000000_0000000000000005, 0000000000000012_0000000000000000"
    );
}
