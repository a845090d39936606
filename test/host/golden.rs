//! Golden bytes: formats that are stored, sent between the Worker and the object, or remembered by clients and
//! caches. A change to a stored format needs a new `SCHEMA_VERSION`. The others must outlive a deployment in
//! caches.

use durable_streams::protocol::bridge::{self, Attachment, BridgeKind, Channel, Place, ReplyHead};
use durable_streams::protocol::cache_policy::{Audience, CachePolicy};
use durable_streams::protocol::content_type::Format;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::reply::Reply;
use durable_streams::protocol::sse::{Control, Events};
use durable_streams::protocol::{cursor, etag, lifetime};
use durable_streams::storage::message_row::{APPEND_MAX_BYTES, ROW_MAX_BYTES};
use durable_streams::storage::segment_file::{self, Encoded, Header, Index, Writer};
use durable_streams::storage::{Failure, schema, segments, stream_row};
use durable_streams::stream::rotate::SegmentLimits;

use crate::support::mirror::rows;
use crate::support::{Family, Request, World, all_messages};

const START: Offset = Offset { segment: 3, position: 5 };
const NEXT: Offset = Offset { segment: 3, position: 42 };

#[test]
fn offset_text() {
    assert_eq!(Offset { segment: 0, position: 0 }.to_string(), "0000000000000000_0000000000000000");
    assert_eq!(NEXT.to_string(), "0000000000000003_0000000000000042");
    assert_eq!(Offset::TEXT_BYTES, 33);
}

#[test]
fn entity_tag() {
    let tag = "\"2:0000000000000003_0000000000000005:0000000000000003_0000000000000042\"";
    assert_eq!(etag::of_range(2, START, NEXT, false), tag);
    assert_eq!(etag::of_range(2, START, NEXT, true), tag.replace("42\"", "42:c\""));
}

/// The protocol's 20 s intervals from 2024-10-09T00:00:00Z, in milliseconds, or the last write if that is
/// later.
#[test]
fn cursor_numbers() {
    let epoch = 1_728_432_000_000;
    for (now, written_at, number) in [
        (0, 0, 0),
        (epoch, 0, 0),
        (epoch + 19_999, 0, 0),
        (epoch + 20_000, 0, 20_000),
        (epoch + 20_000, epoch + 19_999, 20_000),
        (epoch + 20_007, epoch + 20_001, 20_001),
        (1_767_225_600_000, 0, 38_793_600_000),
    ] {
        assert_eq!(cursor::next(now, written_at, None), number);
    }
}

#[test]
fn sse_text() {
    let control = Control { next: NEXT, cursor: 7, up_to_date: true, closed: false };
    let text = |format, data: &[u8], control| {
        let mut out = Vec::new();
        Events::of(format, data, &[]).write(&mut out, control);
        String::from_utf8(out).unwrap()
    };
    let id = "id: 0000000000000003_0000000000000042\n\n";
    let next = "\"streamNextOffset\":\"0000000000000003_0000000000000042\"";
    let live = format!("event: control\ndata:{{{next},\"streamCursor\":\"7\",\"upToDate\":true}}\n{id}");
    assert_eq!(text(Format::Text, b"", control), live);
    assert_eq!(text(Format::Text, b"a\n b", control), format!("event: data\ndata:a\ndata:  b\n{id}{live}"));
    assert_eq!(text(Format::Json, b"[1,2]", control), format!("event: data\ndata: [1,2]\n{id}{live}"));
    assert_eq!(text(Format::Binary, &[255, 0], control), format!("event: data\ndata: /wA=\n{id}{live}"));
    let part = Control { up_to_date: false, ..control };
    assert_eq!(
        text(Format::Text, b"", part),
        format!("event: control\ndata:{{{next},\"streamCursor\":\"7\"}}\n{id}")
    );
    let last = Control { closed: true, ..control };
    let closed = format!("event: control\ndata:{{{next},\"upToDate\":true,\"streamClosed\":true}}\n{id}");
    assert_eq!(text(Format::Text, b"", last), closed);
}

#[test]
fn bridge_frames() {
    let head = "0000000000000003_00000000000000050000000000000003_0000000000000042";
    assert_eq!(bridge::frame_head(START, NEXT), head.as_bytes());
    assert_eq!(bridge::FRAME_HEAD_BYTES, head.len());
    assert_eq!(bridge::parse_frame_head(head.as_bytes()), Some((START, NEXT)));
    let reply = Reply {
        status: Reply::NOTHING_NEW,
        headers: vec![("a", "1".to_owned()), ("b", "\"2\"".to_owned())],
        body: b"body".to_vec(),
    };
    let expected = [head.as_bytes(), &[0, 0, 0, 14], b"204\na\n1\nb\n\"2\"\n", b"body"].concat();
    assert_eq!(bridge::reply_frame(START, NEXT, &reply), expected);
    let body_at = head.len() + 4 + 14;
    assert_eq!(bridge::reply_body_at(&expected), Some(body_at));
    for end in [body_at, expected.len()] {
        let found = ReplyHead { status: 204, header_lines: "a\n1\nb\n\"2\"\n" };
        assert_eq!(bridge::parse_reply_head(&expected[..end]), Some(found));
    }
    for cut in 0..body_at {
        assert_eq!(bridge::parse_reply_head(&expected[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn tags_attachments_and_codes() {
    let tags = [BridgeKind::Sse, BridgeKind::SseAhead, BridgeKind::LongPoll]
        .map(|kind| Channel { kind, incarnation: 12 }.tag());
    assert_eq!(tags, ["sse.12", "sse-ahead.12", "long-poll.12"]);
    for (cursor, place, text) in [
        (None, Place::Start, r#"{"cursor":null,"place":"start","keyed":false}"#),
        (Some(7), Place::Now, r#"{"cursor":7,"place":"now","keyed":false}"#),
        (Some(8), Place::Offset, r#"{"cursor":8,"place":"offset","keyed":true}"#),
        (Some(9), Place::Offset, r#"{"cursor":9,"place":"offset","keyed":false,"renews":true}"#),
    ] {
        let attachment = Attachment { cursor, place, keyed: cursor == Some(8), renews: cursor == Some(9) };
        assert_eq!(serde_json::to_string(&attachment).unwrap(), text);
        assert_eq!(serde_json::from_str::<Attachment>(text).unwrap(), attachment);
        // A later version may add fields.
        let later = text.replacen('{', "{\"later\":[1],", 1);
        assert_eq!(serde_json::from_str::<Attachment>(&later).unwrap(), attachment);
    }
    assert_eq!((bridge::CLOSE_DONE, bridge::CLOSE_CATCH_UP), (1000, 4000));
}

#[test]
fn cache_control() {
    let immutable = |remaining| CachePolicy::Immutable { remaining }.header(Audience::Everyone);
    assert_eq!(immutable(None), "public, max-age=60, stale-while-revalidate=300, stale-if-error=0");
    assert_eq!(immutable(Some(61_999)), "public, max-age=60, stale-while-revalidate=1, stale-if-error=0");
    let immutable = CachePolicy::Immutable { remaining: None };
    let kept = "public, max-age=60, stale-while-revalidate=300, stale-if-error=0";
    let table = [
        (immutable, kept, "private, no-cache"),
        (CachePolicy::Revalidate, "no-cache", "private, no-cache"),
        (CachePolicy::Live, "no-cache, no-transform", "private, no-cache, no-transform"),
        (CachePolicy::Never, "no-store", "no-store"),
    ];
    for (policy, for_all, for_holders) in table {
        assert_eq!(policy.header(Audience::Everyone), for_all);
        assert_eq!(policy.header(Audience::Public), for_all);
        assert_eq!(policy.header(Audience::Holders), for_holders);
    }
}

#[test]
fn rfc3339_text() {
    assert_eq!(lifetime::rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(lifetime::rfc3339(1_893_456_000_250), "2030-01-01T00:00:00.250Z");
}

#[test]
fn schema_text() {
    assert_eq!((schema::OLDEST_VERSION, schema::SCHEMA_VERSION), (7, 8));
    let stream = "CREATE TABLE IF NOT EXISTS stream ( id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL, \
        incarnation INTEGER NOT NULL, path TEXT NOT NULL, live INTEGER NOT NULL, read_seq INTEGER NOT NULL, \
        first_read_seq INTEGER NOT NULL, content_type TEXT NOT NULL, ttl_seconds INTEGER, expires_at INTEGER, \
        retention_seconds INTEGER, retention_bytes INTEGER, created_at INTEGER NOT NULL, lease_until INTEGER NOT NULL, \
        closed INTEGER NOT NULL, closer_id TEXT, closer_epoch INTEGER, closer_seq INTEGER, public INTEGER NOT NULL, \
        reader_key TEXT NOT NULL, tail_position INTEGER NOT NULL, tail_written_at INTEGER NOT NULL, tail_stream_seq TEXT, \
        fork TEXT, reported INTEGER NOT NULL, rotated_messages INTEGER NOT NULL DEFAULT 0 )";
    let producers = "CREATE TABLE IF NOT EXISTS producers ( id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, \
        seq INTEGER NOT NULL ) WITHOUT ROWID";
    let messages = "CREATE TABLE IF NOT EXISTS messages_7 ( key INTEGER PRIMARY KEY, span INTEGER NOT NULL, \
        written_at INTEGER NOT NULL, stream_seq TEXT, appends INTEGER NOT NULL, bytes INTEGER NOT NULL, \
        producer_id TEXT, producer_epoch INTEGER, producer_seq INTEGER, body BLOB NOT NULL )";
    let one_line = |text: &str| {
        let text = text.replacen('(', "( ", 1).replace("DEFAULT 0)", "DEFAULT 0 )");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(one_line(stream_row::CREATE), one_line(stream));
    assert_eq!(one_line(schema::CREATE_PRODUCERS), one_line(producers));
    assert_eq!(one_line(&schema::create_messages(7)), one_line(messages));
    let unreported = "CREATE TABLE IF NOT EXISTS unreported ( incarnation INTEGER PRIMARY KEY, \
        content_type TEXT NOT NULL, created_at INTEGER NOT NULL )";
    assert_eq!(one_line(schema::CREATE_UNREPORTED), one_line(unreported));
    let segments = "CREATE TABLE IF NOT EXISTS segments ( read_seq INTEGER PRIMARY KEY, incarnation INTEGER NOT NULL, \
        end_position INTEGER NOT NULL, message_count INTEGER NOT NULL, object_bytes INTEGER NOT NULL, \
        blocks BLOB NOT NULL, bytes_through INTEGER NOT NULL, written_at INTEGER NOT NULL, stream_seq TEXT, messages_before INTEGER )";
    assert_eq!(one_line(schema::CREATE_SEGMENTS), one_line(segments));
    let links = "CREATE TABLE IF NOT EXISTS edges ( id TEXT PRIMARY KEY, source TEXT NOT NULL, \
        valid_until INTEGER NOT NULL ) WITHOUT ROWID";
    assert_eq!(one_line(schema::CREATE_LINKS), one_line(links));
    let forks = "CREATE TABLE IF NOT EXISTS forks ( edge TEXT PRIMARY KEY, path TEXT NOT NULL, \
        first_read_seq INTEGER NOT NULL, released_until INTEGER ) WITHOUT ROWID";
    assert_eq!(one_line(schema::CREATE_FORKS), one_line(forks));
    let outbox = "CREATE TABLE outbox ( id INTEGER PRIMARY KEY, noted_at INTEGER NOT NULL, kind TEXT NOT NULL, \
        notice TEXT NOT NULL )";
    assert_eq!(one_line(schema::CREATE_OUTBOX), one_line(outbox));
    assert_eq!(schema::DROP_OUTBOX, "DROP TABLE IF EXISTS outbox");
    assert_eq!(schema::drop_messages(7), "DROP TABLE IF EXISTS messages_7");
    assert_eq!(schema::DROP_PRODUCERS, "DROP TABLE IF EXISTS producers");
    assert_eq!((ROW_MAX_BYTES, APPEND_MAX_BYTES), (1 << 20, 16 << 20));
}

/// Every column of every table after one history.
#[test]
fn stored_rows() {
    let mut world = World::after(&[
        "PUT | content-type: text/plain; charset=utf-8 | stream-ttl: 60",
        "DELETE",
        "PUT | content-type: application/json | stream-expires-at: 2031-01-01T00:00:00Z << [\"a\" ,2]",
        "WAIT 5ms",
        "POST | content-type: application/json | stream-seq: s1 | producer-id: p | producer-epoch: 4 | producer-seq: 0 << 3",
        "WAIT 5ms",
    ]);
    // Larger than a row: all parts have one position, and only the last has a span.
    let last = Request::parse(
        "POST | content-type: application/json | stream-closed: true | producer-id: p | producer-epoch: 4 | producer-seq: 1",
    );
    world.send_answered(&last.body(format!("\"{}\"", "x".repeat(ROW_MAX_BYTES)))).assert_is("200");
    let rows = |query: &str| rows_of(&world, query);
    let stream = "[Integer(1), Integer(8), Integer(2), Text(\"chat/42\"), Integer(1), Integer(1), Integer(1), \
        Text(\"application/json\"), Null, Integer(1924992000000), Null, Null, Integer(1893456000000), Integer(0), \
        Integer(1), Text(\"p\"), Integer(4), Integer(1), Integer(0), Text(\"h.key-1893456000000\"), Integer(0), \
        Integer(1893456000000), Null, Null, Integer(0), Integer(0)]";
    assert_eq!(rows("SELECT * FROM stream"), [stream]);
    let messages = [
        "[Integer(0), Integer(2), Text(\"\\\"a\\\",2\"), Integer(1893456000000), Null, Integer(1), Integer(5), \
         Null, Null, Null]",
        "[Integer(32), Integer(1), Text(\"3\"), Integer(1893456000005), Text(\"s1\"), Integer(2), Integer(6), \
         Text(\"p\"), Integer(4), Integer(0)]",
        // The producer that closes the stream is stored in the stream's row.
        "[Integer(48), Integer(0), Text(\"\\\"xxx\"), Integer(1893456000010), Text(\"s1\"), Integer(3), Integer(1048584), \
         Null, Null, Null]",
        "[Integer(49), Integer(1), Text(\"x\\\"\"), Integer(1893456000010), Text(\"s1\"), Integer(3), Integer(1048584), \
         Null, Null, Null]",
    ];
    let query = "SELECT key, span, CAST(substr(body, 1, CASE WHEN length(body) > 1000 THEN 4 ELSE 1000 END) AS TEXT), \
        written_at, stream_seq, appends, bytes, producer_id, producer_epoch, producer_seq FROM messages_1 ORDER BY key";
    assert_eq!(rows(query), messages);
    world.run(&["DELETE"]);
    let mut statement = world.sql.raw().prepare("SELECT live, incarnation, read_seq FROM stream").unwrap();
    let ended: (i64, i64, i64) =
        statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(ended, (0, 2, 2));
}

/// All rows of a query, with all columns.
fn rows_of(world: &World, query: &str) -> Vec<String> {
    rows(world.sql.raw(), query)
}

// Segments.

/// The header of a segment of two JSON messages, its blocks, its footer and its trailer.
const JSON_SEGMENT: [&str; 4] = [
    "44535345470200106170706c69636174696f6e2f6a736f6e0000000000000000000000000000000000000002f694f62fb717018e",
    "000000013100000003226122",
    "0000000000000000000000000000003487394f3fdac2c246",
    "000000000000000200000001425ca5d9903e01fb4453454e44",
];
/// The same for two messages of bytes.
const BYTES_SEGMENT: [&str; 4] = [
    "4453534547020003612f620000000000000003000000000000000000000002f5b19afc8589744c",
    "00000002ff000000000101",
    "000000000000000000000000000000277fd8b233e3b2e466",
    "000000000000000300000001f20bbb91ef82612f4453454e44",
];

fn json_segment() -> Encoded {
    let mut writer = Writer::new("application/json", 0, 0);
    writer.push(b"1", 1);
    writer.push(b"\"a\"", 1);
    writer.finish()
}

fn bytes_segment() -> Encoded {
    let mut writer = Writer::new("a/b", 3, 0);
    writer.push(&[255, 0], 2);
    writer.push(&[1], 1);
    writer.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn segment_objects() {
    let header = |content_type: &str, segment| Header {
        content_type: content_type.to_owned(),
        segment,
        first_position: 0,
        message_count: 2,
    };
    let table = [
        (json_segment(), JSON_SEGMENT, header("application/json", 0)),
        (bytes_segment(), BYTES_SEGMENT, header("a/b", 3)),
    ];
    for (file, pinned, header) in table {
        let bytes = file.pieces.concat();
        assert_eq!(hex(&bytes), pinned.concat());
        assert_eq!(file.object_bytes(), bytes.len() as u64);
        assert_eq!(segment_file::parse(&bytes), Ok((header, file.index.clone())));
        let [head, blocks, footer, _] = pinned;
        let end_byte = (head.len() + blocks.len()) as u64 / 2;
        assert_eq!(hex(&file.index.encode()), format!("02{end_byte:016x}{footer}"));
        assert_eq!(Index::decode(&file.index.encode()), Ok(file.index));
    }
    assert_eq!((segment_file::VERSION, segment_file::BLOCK_BYTES), (2, 64 << 10));
}

#[test]
fn segment_keys() {
    for (path, incarnation, segment, key) in [
        ("chat/42", 1, 0, "Y2hhdC80Mg/1/0000000000000000"),
        ("chat/42", 12, 345, "Y2hhdC80Mg/12/0000000000000345"),
        ("\u{ff}?>", 2, 9_999_999_999_999_999, "w78_Pg/2/9999999999999999"),
    ] {
        assert_eq!(segments::key(path, incarnation, segment), key);
        let found = segments::parse_key(key);
        let found =
            found.as_ref().map(|(path, incarnation, segment)| (path.as_str(), *incarnation, *segment));
        // No stream can have the last of these paths.
        assert_eq!(found, path.is_ascii().then_some((path, incarnation, segment)));
    }
}

/// Another version is refused with its number, whatever follows it.
#[test]
fn segment_of_another_version_is_refused() {
    let refused = |version| {
        Failure::new("read segment", format_args!("it has version {version}, this reads version 2"))
    };
    for version in [0, 1, 255] {
        let Encoded { pieces, index, .. } = json_segment();
        let mut bytes = pieces.concat();
        bytes[5] = version;
        assert_eq!(segment_file::parse(&bytes), Err(refused(version)));
        assert_eq!(segment_file::parse(&bytes[..6]), Err(refused(version)));
        let mut row = index.encode();
        row[0] = version;
        assert_eq!(Index::decode(&row), Err(refused(version)));
        assert_eq!(Index::decode(&[version]), Err(refused(version)));
    }
}

#[test]
fn truncated_segment_is_refused() {
    for file in [json_segment(), bytes_segment()] {
        let bytes = file.pieces.concat();
        for length in 0..bytes.len() {
            let parsed = segment_file::parse(&bytes[..length]);
            assert!(parsed.is_err(), "cut off at {length}: {parsed:?}");
        }
        let row = file.index.encode();
        for length in 0..row.len() {
            let decoded = Index::decode(&row[..length]);
            assert!(decoded.is_err(), "cut off at {length}: {decoded:?}");
        }
    }
    let mut other = json_segment().pieces.concat();
    other[..5].copy_from_slice(b"DSSEH");
    let refused = Failure::new("read segment", "it does not begin with DSSEG");
    assert_eq!(segment_file::parse(&other), Err(refused));
}

/// [`Index::each_message`] detects a changed byte in the blocks; `parse` detects any other.
#[test]
fn segment_with_a_changed_byte_is_refused() {
    for (file, format) in [(json_segment(), Format::Json), (bytes_segment(), Format::Binary)] {
        let (begins, end) = (file.index.blocks[0].at_byte as usize, file.index.end_byte as usize);
        let whole = file.pieces.concat();
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let found = all_messages(&file.index, format, begins as u64, &bytes[begins..end]);
            let is_block = (begins..end).contains(&at);
            assert_eq!(found.is_err(), is_block, "bit {bit} of byte {at}: {found:?}");
            let parsed = segment_file::parse(&bytes);
            assert_eq!(parsed.is_err(), !is_block, "bit {bit} of byte {at}: {parsed:?}");
        }
        for end in begins + 1..end {
            let found = all_messages(&file.index, format, begins as u64, &whole[begins..end]);
            assert!(found.is_err(), "cut off at {end}: {found:?}");
        }
        let found = all_messages(&file.index, format, begins as u64, &whole[begins..end + 1]);
        assert!(found.is_err(), "one extra byte: {found:?}");
    }
}

/// The rows of a segment that is in the bucket, and of one whose upload was in flight when its stream was
/// deleted.
#[test]
fn stored_segments() {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max: 2, bytes_max: 1000, closed_bytes_min: 1 }));
    world.run(&[
        "PUT | content-type: application/json",
        "POST | content-type: application/json | stream-seq: s1 << 1",
        "WAIT 5ms",
        "POST | content-type: application/json << \"a\"",
    ]);
    let row = |segment, rest: &str| format!("[Integer({segment}), Integer(1), {rest}]");
    let blocks = "0200000000000000400000000000000000000000000000003487394f3fdac2c246";
    let arrived = row(
        0,
        &format!(
            "Integer(2), Integer(2), Integer(113), Text(\"{blocks}\"), Integer(4), Integer(1893456000005), Text(\"s1\"), Integer(0)"
        ),
    );
    let query = "SELECT read_seq, incarnation, end_position, message_count, object_bytes, lower(hex(blocks)), \
        bytes_through, written_at, stream_seq, messages_before FROM segments ORDER BY read_seq";
    assert_eq!(rows_of(&world, query), std::slice::from_ref(&arrived));
    assert_eq!(hex(&world.bucket.objects["Y2hhdC80Mg/1/0000000000000000"]), JSON_SEGMENT.concat());
    world.rotates = false;
    let batch = "POST | content-type: application/json << [1,2,3]";
    world.run(&[batch, batch, "DELETE"]);
    let unread = row(
        1,
        "Integer(0), Integer(0), Integer(0), Text(\"020000000000000000\"), Integer(0), Integer(0), Null, \
         Integer(0)",
    );
    assert_eq!(rows_of(&world, query), [arrived, unread]);
}

/// Notices of both kinds, and the mirror's rows for them.
#[test]
fn stored_notices() {
    let mut world = World::new();
    world.limit_segments(Some(SegmentLimits { appends_max: 2, bytes_max: 1000, closed_bytes_min: 1 }));
    world.limit_mirror(true);
    world.tells_mirror = false;
    world.run(&[
        "PUT | content-type: application/json; charset=\"utf-8\"",
        "POST | content-type: application/json << 1",
        "WAIT 5ms",
        "POST | content-type: application/json << \"a\"",
    ]);
    let rotated = r#"{"incarnation":1,"read_seq":0,"object_key":"Y2hhdC80Mg/1/0000000000000000","content_type":"application/json; charset=\"utf-8\"","end_position":2,"message_count":2,"object_bytes":130,"written_at":1893456000005}"#;
    let notice = |id, kind: &str, text: &str| {
        let text = rusqlite::types::Value::Text(text.to_owned());
        format!("[Integer({id}), Integer(1893456000005), Text({kind:?}), {text:?}]")
    };
    let query = "SELECT id, noted_at, kind, notice FROM outbox ORDER BY id";
    assert_eq!(rows_of(&world, query), [notice(1, "rotated", rotated)]);
    world.tell_mirror();
    let mirrored = "[Text(\"chat/42\"), Integer(1), Integer(0), Text(\"Y2hhdC80Mg/1/0000000000000000\"), \
        Text(\"application/json; charset=\\\"utf-8\\\"\"), Integer(2), Integer(2), Integer(130), Integer(1893456000005)]";
    assert_eq!(world.mirror.rows(), [mirrored]);
    world.run(&["DELETE"]);
    assert_eq!(rows_of(&world, query), [notice(1, "forgotten", r#"{"through_read_seq":0}"#)]);
}

/// A stream's own retention, its start, and the rest of its tail.
#[test]
fn stored_trims() {
    let query = "SELECT first_read_seq, retention_seconds, retention_bytes, tail_position, tail_written_at, \
        tail_stream_seq FROM stream";
    for (retention, columns) in [("60", "Integer(60), Null"), ("bytes=3", "Null, Integer(3)")] {
        let mut world = World::new();
        world.limit_segments(Some(SegmentLimits { appends_max: 1, bytes_max: 1000, closed_bytes_min: 1 }));
        world.run(&[&format!("PUT | content-type: text/plain | stream-retention: {retention}"), "WAIT 5ms"]);
        let born = format!("[Integer(0), {columns}, Integer(0), Integer(1893456000000), Null]");
        assert_eq!(rows_of(&world, query), [born]);
        world.run(&[
            "POST | content-type: text/plain | stream-seq: s1 << abc",
            "POST | content-type: text/plain << def",
            "POST | content-type: text/plain | stream-seq: s2 << ghi",
            "WAIT 60s",
            "HEAD",
        ]);
        let first = if retention == "60" { 3 } else { 2 };
        let trimmed =
            format!("[Integer({first}), {columns}, Integer(0), Integer(1893456000005), Text(\"s2\")]");
        assert_eq!(rows_of(&world, query), [trimmed]);
    }
}

/// A fork's record of its source.
#[test]
fn stored_fork() {
    let mut family = Family::new(0);
    family.run(&[
        "PUT /v1/stream/a | content-type: text/plain << hello",
        "PUT /v1/stream/b",
        "DELETE /v1/stream/b",
        "PUT /v1/stream/b | stream-forked-from: /v1/stream/a | stream-fork-offset: @0_3 | stream-fork-sub-offset: 1 << !",
        "PUT /v1/stream/c | stream-forked-from: /v1/stream/b | stream-ttl: 9",
        "PUT /v1/stream/d | stream-forked-from: /v1/stream/a | stream-fork-at: 1970-01-01T00:00:00.006Z",
    ]);
    let stored = |family: &mut Family, path: &str| -> String {
        let link = family.member(path).sql.links()[0].0.clone();
        let connection = family.member(path).sql.raw();
        let fork: String = connection.query_row("SELECT fork FROM stream", [], |row| row.get(0)).unwrap();
        fork.replace(&link, "EDGE")
    };
    let at = |segment: u64, position: u64| format!("{{\"read_seq\":{segment},\"position\":{position}}}");
    let owner = |path: &str, incarnation: u64, shift: u64, until: String, hot_from: u64| {
        format!(
            "{{\"path\":\"{path}\",\"incarnation\":{incarnation},\"shift\":{shift},\"until\":{until},\"hot_from\":{hot_from}}}"
        )
    };
    assert_eq!(
        stored(&mut family, "b"),
        format!(
            "{{\"edge\":\"EDGE\",\"source\":\"a\",\"anchor\":{},\"sub_offset\":1,\"own_lifetime\":false,\
             \"start\":{},\"own_start\":{},\"owners\":[{}]}}",
            at(0, 3),
            at(1, 0),
            at(1, 4),
            owner("a", 1, 1, at(1, 4), 0)
        )
    );
    assert_eq!(
        stored(&mut family, "d"),
        format!(
            "{{\"edge\":\"EDGE\",\"source\":\"a\",\"anchor\":{0},\"sub_offset\":0,\"at\":6,\"own_lifetime\":false,\
             \"start\":{0},\"own_start\":{0},\"owners\":[]}}",
            at(0, 0)
        )
    );
    assert_eq!(
        stored(&mut family, "c"),
        format!(
            "{{\"edge\":\"EDGE\",\"source\":\"b\",\"anchor\":{},\"sub_offset\":0,\"own_lifetime\":true,\
             \"start\":{},\"own_start\":{},\"owners\":[{},{}]}}",
            at(1, 5),
            at(1, 0),
            at(1, 5),
            owner("a", 1, 1, at(1, 4), 0),
            owner("b", 2, 0, at(1, 5), 1)
        )
    );
    // Fields that a later version adds are ignored.
    let before = family.ask("GET /v1/stream/c");
    let later = "UPDATE stream SET fork = replace(fork, '{', '{\"later\":{\"a\":[1]},')";
    family.member("c").sql.raw().execute_batch(later).unwrap();
    family.run(&["CRASH c"]);
    assert_eq!(family.ask("GET /v1/stream/c"), before);
}
