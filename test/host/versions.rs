//! Golden rows of every stored version since 7. `versions/v<n>.sql` has streams as the last build of that
//! version left them: every table, every object of the bucket, and the result of reading them. This build must
//! continue with each of them.
//!
//! The build of a version writes its own file with `cargo test --locked versions::write -- --ignored`. The file
//! is not changed once the version is released.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use durable_streams::protocol::registry::Registries;
use durable_streams::storage::schema::{OLDEST_VERSION, SCHEMA_VERSION};
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use rusqlite::Connection;

use crate::support::sql::{Fault, HostSql};
use crate::support::world::CHUNK_MAX_BYTES;
use crate::support::{Family, Response, World};

const SEGMENTS: SegmentLimits = SegmentLimits { appends_max: 3, bytes_max: 1000, closed_bytes_min: 1 };

/// Streams without links to others, by name.
fn alone() -> [(&'static str, World); 5] {
    let ended = World::after(&["PUT | content-type: text/plain << hello", "DELETE"]);
    [("json", json()), ("bytes", bytes()), ("trimmed", trimmed()), ("closed", closed()), ("ended", ended)]
}

fn rotating(steps: &[&str]) -> World {
    let mut world = World::new();
    world.limit_segments(Some(SEGMENTS));
    world.run(steps);
    world
}

/// A stream with all tables: unsent reports for the registry and the mirror, producers, and sealed but hot
/// segments.
fn json() -> World {
    let mut world = rotating(&[]);
    world.limit_mirror(true);
    world.limit_registries(Registries::One);
    (world.tells_mirror, world.reports) = (false, false);
    world.run(&["PUT | content-type: text/plain << gone", "DELETE", "WAIT 5ms"]);
    world.run(&["PUT | content-type: application/json | stream-ttl: 600 << [1, [2], {\"a\": 3}]"]);
    let bodies = ["4", "[5,6]", "[7]", "8", "9", "[10,11]", "12", "13", "\"é\""];
    for (n, body) in bodies.iter().enumerate() {
        world.rotates = n < 5;
        let producer = format!("producer-id: p{} | producer-epoch: 3 | producer-seq: {}", n % 2, n / 2);
        world.run(&[&format!(
            "POST | content-type: application/json | stream-seq: s{n} | {producer} << {body}"
        )]);
    }
    world
}

fn bytes() -> World {
    let retention = "stream-retention: bytes=100 | stream-public: true";
    rotating(&[
        &format!("PUT | content-type: application/octet-stream | {retention} << abc"),
        "POST | content-type: application/octet-stream << de",
    ])
}

/// A stream whose data is completely trimmed.
fn trimmed() -> World {
    rotating(&[
        "PUT | content-type: text/plain | stream-retention: 60",
        "WAIT 5ms",
        "POST | content-type: text/plain | stream-seq: s1 << abc",
        "POST | content-type: text/plain << def",
        "POST | content-type: text/plain << ghi",
        "WAIT 60s",
        "HEAD",
    ])
}

fn closed() -> World {
    let producer = "producer-id: p | producer-epoch: 0 | producer-seq: 0";
    rotating(&[
        "PUT | content-type: application/json | stream-expires-at: 2031-01-01T00:00:00Z << [1,2]",
        "POST | content-type: application/json << 3",
        "POST | content-type: application/json << 4",
        &format!("POST | content-type: application/json | stream-closed: true | {producer} << [5,6]"),
    ])
}

/// Streams, some of which are forks of others.
fn family() -> Family {
    let mut family = Family::with(7, CHUNK_MAX_BYTES, Some(SEGMENTS), RetentionDefaults::default());
    let json = |path: &str, n: u64| format!("POST /v1/stream/{path} | content-type: application/json << {n}");
    family.run(&["PUT /v1/stream/source | content-type: application/json"]);
    (0..8).for_each(|n| family.run(&[&json("source", n)]));
    family.run(&["PUT /v1/stream/fork | stream-forked-from: /v1/stream/source | stream-fork-offset: @2_1"]);
    (20..24).for_each(|n| family.run(&[&json("fork", n)]));
    family.run(&["PUT /v1/stream/gone | content-type: text/plain << hello"]);
    family.run(&[
        "PUT /v1/stream/heir | stream-forked-from: /v1/stream/gone << , heir",
        "DELETE /v1/stream/gone",
    ]);
    family
}

/// The part of a file for one stream's object.
struct Golden {
    name: String,
    is_alone: bool,
    statements: String,
    objects: BTreeMap<String, Vec<u8>>,
    read: String,
}

fn file(version: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("test/host/versions/v{version}.sql"))
}

fn goldens(version: u64) -> Vec<Golden> {
    let text = std::fs::read_to_string(file(version)).unwrap();
    let mut goldens: Vec<Golden> = Vec::new();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["--", kind @ ("alone" | "member"), name] => goldens.push(Golden {
                name: name.to_owned(),
                is_alone: kind == "alone",
                statements: String::new(),
                objects: BTreeMap::new(),
                read: String::new(),
            }),
            ["--", "object", key, object] => {
                goldens.last_mut().unwrap().objects.insert(key.to_owned(), of_hex(object));
            }
            ["--", "read", ..] => goldens.last_mut().unwrap().read = line["-- read ".len()..].to_owned(),
            _ => goldens.last_mut().unwrap().statements += &format!("{line}\n"),
        }
    }
    goldens
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Everything that can be read, with the headers of each answer.
fn read(ask: &mut dyn FnMut(&str) -> Response) -> String {
    let (mut offset, mut text) = ("-1".to_owned(), String::new());
    loop {
        let response = ask(&format!("?offset={offset}"));
        let header = |name: &str| response.header(name).unwrap_or("none").to_owned();
        let body = if response.status == 200 {
            String::from_utf8_lossy(&response.body).into_owned()
        } else {
            String::new()
        };
        write!(text, "{} {} {} {body};", response.status, header("stream-next-offset"), header("etag"))
            .unwrap();
        if response.status != 200 || response.header("stream-up-to-date").is_some() {
            return text;
        }
        offset = response.next().to_owned();
    }
}

/// The statements that recreate a database.
fn dump(connection: &Connection) -> String {
    let column = |query: &str| -> Vec<String> {
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut text = String::new();
    for table in column("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
        let made = &column(&format!("SELECT sql FROM sqlite_master WHERE name = '{table}'"))[0];
        writeln!(text, "{};", made.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
        let names = column(&format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
        let values =
            names.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ', ' || ");
        for row in column(&format!("SELECT {values} FROM {table}")) {
            writeln!(text, "INSERT INTO {table} VALUES ({row});").unwrap();
        }
    }
    text
}

fn golden(kind: &str, name: &str, sql: &HostSql, objects: &BTreeMap<String, Vec<u8>>, read: &str) -> String {
    let mut text = format!("-- {kind} {name}\n{}", dump(sql.raw()));
    objects.iter().for_each(|(key, object)| writeln!(text, "-- object {key} {}", hex(object)).unwrap());
    text + &format!("-- read {read}\n")
}

#[test]
#[ignore = "it writes the golden rows of this version, before that is released"]
fn write() {
    let mut text = String::new();
    for (name, mut world) in alone() {
        let before = golden("alone", name, &world.sql, &world.bucket.objects, "");
        let read = read(&mut |query| world.ask(&format!("GET {query}")));
        assert_eq!(
            golden("alone", name, &world.sql, &world.bucket.objects, ""),
            before,
            "reading changes nothing"
        );
        text += &golden("alone", name, &world.sql, &world.bucket.objects, &read);
    }
    let mut family = family();
    let paths: Vec<String> = family.members.keys().cloned().collect();
    let mut objects = family.bucket.objects.clone();
    for path in paths {
        let read = read(&mut |query| family.ask(&format!("GET /v1/stream/{path}{query}")));
        text += &golden("member", &path, &family.member(&path).sql, &std::mem::take(&mut objects), &read);
    }
    std::fs::write(file(SCHEMA_VERSION), text).unwrap();
}

/// The stream of a golden file, in an object without memory.
fn revived(golden: &Golden) -> World {
    let mut world = World::new();
    world.limit_segments(Some(SEGMENTS));
    world.limit_mirror(golden.name == "json");
    (world.tells_mirror, world.reports) = (false, false);
    world.sql.raw().execute_batch(&golden.statements).unwrap();
    world.bucket.objects = golden.objects.clone();
    world
}

fn revived_family(version: u64) -> (Family, Vec<Golden>) {
    let mut family = Family::with(8, CHUNK_MAX_BYTES, Some(SEGMENTS), RetentionDefaults::default());
    let members: Vec<Golden> = goldens(version).into_iter().filter(|golden| !golden.is_alone).collect();
    for golden in &members {
        family.member(&golden.name).sql.raw().execute_batch(&golden.statements).unwrap();
        family.bucket.objects.extend(golden.objects.clone());
    }
    (family, members)
}

fn all_alone() -> Vec<(u64, Golden)> {
    let of_version = |version| goldens(version).into_iter().map(move |golden| (version, golden));
    let all: Vec<_> = (OLDEST_VERSION..=SCHEMA_VERSION).flat_map(of_version).collect();
    assert_eq!(all.len() as u64, 9 * (SCHEMA_VERSION + 1 - OLDEST_VERSION));
    all.into_iter().filter(|(_, golden)| golden.is_alone).collect()
}

fn read_alone(world: &mut World) -> String {
    read(&mut |query| world.ask(&format!("GET {query}")))
}

fn stored_version(sql: &HostSql) -> u64 {
    sql.raw().query_row("SELECT schema_version FROM stream", [], |row| row.get(0)).unwrap()
}

/// Each column's name, type, NOT NULL flag, and default.
type Shape = Vec<(String, String, bool, Option<String>)>;

/// Each table as SQLite describes it, except those of messages.
fn shapes(sql: &HostSql) -> BTreeMap<String, Shape> {
    let shape = |table: &String| {
        let query = format!(
            "SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('{table}') ORDER BY cid"
        );
        let mut statement = sql.raw().prepare(&query).unwrap();
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        (table.clone(), columns.unwrap().collect::<Result<_, _>>().unwrap())
    };
    sql.tables().iter().filter(|table| !table.starts_with("messages_")).map(shape).collect()
}

/// Each segment's number, the number of messages before it, and the number in it.
pub(crate) fn counts(sql: &HostSql) -> Vec<(u64, Option<u64>, u64)> {
    let query = "SELECT read_seq, messages_before, message_count FROM segments ORDER BY read_seq";
    let mut statement = sql.raw().prepare(query).unwrap();
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    counts.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_version_reads_the_same() {
    for (version, golden) in all_alone() {
        let mut world = revived(&golden);
        assert_eq!(stored_version(&world.sql), version);
        assert_eq!(read_alone(&mut world), golden.read, "{} of version {version}", golden.name);
        assert_eq!(stored_version(&world.sql), SCHEMA_VERSION);
        world.restart();
        assert_eq!(read_alone(&mut world), golden.read, "{} of version {version}, restarted", golden.name);
    }
    for version in OLDEST_VERSION..=SCHEMA_VERSION {
        let (mut family, members) = revived_family(version);
        for golden in &members {
            let found = read(&mut |query| family.ask(&format!("GET /v1/stream/{}{query}", golden.name)));
            assert_eq!(found, golden.read, "{} of version {version}", golden.name);
        }
    }
}

/// Upgraded tables equal new ones, so no other code depends on a table's history.
#[test]
fn upgraded_tables_equal_new_ones() {
    let new: BTreeMap<_, _> = goldens(SCHEMA_VERSION)
        .iter()
        .flat_map(|golden| {
            let sql = HostSql::in_memory();
            sql.raw().execute_batch(&golden.statements).unwrap();
            shapes(&sql)
        })
        .collect();
    for (version, golden) in all_alone() {
        let mut world = revived(&golden);
        world.ask("HEAD");
        for (table, shape) in shapes(&world.sql) {
            assert_eq!(shape, new[&table], "{table} of {} of version {version}", golden.name);
        }
    }
}

/// An upgrade writes one row of the stream's own, however many segments there are, and only once. The platform
/// bills two more rows for each table (`test/platform/formats.test.mjs`).
#[test]
fn upgrade_writes_one_row() {
    for (version, golden) in all_alone() {
        let mut world = revived(&golden);
        world.rotates = false;
        for rows in [u64::from(version < SCHEMA_VERSION), 0] {
            world.restart();
            world.sql.take_rows_written();
            world.ask("HEAD");
            assert_eq!(world.sql.take_rows_written(), rows, "{} of version {version}", golden.name);
        }
    }
}

/// A failed upgrade changes nothing, and its request can be retried.
#[test]
fn upgrade_is_atomic() {
    for (version, golden) in all_alone() {
        if version == SCHEMA_VERSION {
            continue;
        }
        let before = dump(revived(&golden).sql.raw());
        let mut upgraded = revived(&golden);
        upgraded.rotates = false;
        upgraded.ask("HEAD");
        let after = dump(upgraded.sql.raw());
        let statements = (0..).map(Fault::Statement);
        for fault in [Fault::Commit, Fault::CommitButStored].into_iter().chain(statements) {
            let mut world = revived(&golden);
            world.rotates = false;
            world.sql.arm(fault);
            let response = world.ask("HEAD");
            if !world.sql.disarm() {
                assert!(matches!(fault, Fault::Statement(5..)), "{fault:?} did not occur");
                break;
            }
            if dump(world.sql.raw()) != after {
                response.assert_is("500");
                assert_eq!(dump(world.sql.raw()), before, "{fault:?}");
            }
            assert_eq!(read_alone(&mut world), golden.read, "{fault:?}");
            assert_eq!(dump(world.sql.raw()), after, "{fault:?}");
        }
    }
}

/// An object without a stream has nothing to upgrade, whatever other tables it has, because those have no
/// version.
#[test]
fn object_without_a_stream_is_not_upgraded() {
    let (mut family, _) = revived_family(OLDEST_VERSION);
    // A fork that was requested and never created.
    let sql = &family.member("fork").sql;
    sql.raw().execute_batch("DROP TABLE stream; DROP TABLE segments").unwrap();
    let before = shapes(sql);
    family.ask("GET /v1/stream/fork").assert_is("404");
    assert_eq!(shapes(&family.member("fork").sql), before);
    assert_eq!(family.member("fork").sql.links(), [], "its source is released all the same");
    assert_eq!(family.member("source").sql.holders(), []);
}

#[test]
fn stream_of_every_version_accepts_requests() {
    for (version, golden) in all_alone() {
        let what = format!("{} of version {version}", golden.name);
        let mut world = revived(&golden);
        let json = |body: &str| format!("POST | content-type: application/json << {body}");
        match golden.name.as_str() {
            "json" => {
                // A duplicate of a producer in the table, and one of the producer in the stream's row.
                let again = "| producer-id: p0 | producer-epoch: 3 | producer-seq: 4 << 0";
                world.ask(&format!("POST | content-type: application/json {again}")).assert_is("204");
                world.ask("POST | content-type: application/json | stream-seq: s8 << 0").assert_is("409");
                world.run(&[&json("[14,15]"), &json("16"), "RESTART", &json("17")]);
                let numbers = if version < 8 { [None, None] } else { [Some(0), Some(6)] };
                let [first, second] = numbers;
                let counted = [(1, first, 6), (2, second, 3), (3, Some(9), 4), (4, Some(13), 4)];
                assert_eq!(counts(&world.sql), counted, "{what}");
                let read = world.ask("GET").text();
                assert!(read.ends_with("12,13,\"é\",14,15,16,17]"), "{what}: {read}");
                world.run(&["RESTART", &json("18"), &json("19"), &json("20")]);
                assert_eq!(counts(&world.sql).last(), Some(&(5, Some(17), 3)), "{what}");
            }
            "bytes" => {
                world.run(&["POST | content-type: application/octet-stream << fg"]);
                assert_eq!(counts(&world.sql), [(0, Some(0), 3)], "{what}");
                assert_eq!(world.ask("GET").text(), "abcdefg");
            }
            "trimmed" => {
                for n in 0..3 {
                    world.run(&[&format!("POST | content-type: text/plain << {n}")]);
                }
                // Version 7 did not store how many messages were trimmed.
                let before = if version < 8 { 0 } else { 3 };
                assert_eq!(counts(&world.sql), [(1, Some(before), 3)], "{what}");
            }
            "closed" => world.ask(&json("7")).assert_is("409 | stream-closed: true"),
            _ => {
                world.run(&["PUT | content-type: text/plain << again"]);
                assert_eq!(world.ask("GET").text(), "again");
                continue;
            }
        }
        world.run(&["DELETE", "RESTART", "PUT | content-type: application/json"]);
        assert!(world.bucket.objects.is_empty(), "{what}: {:?}", world.bucket.objects.keys());
        let incarnation = world.sql.presence().unwrap().incarnation;
        world.run(&[&json("1"), &json("2"), &json("3")]);
        let found = counts(&world.sql);
        assert!(matches!(found[..], [(_, Some(0), 3)]), "{what}: {found:?}");
        assert!(incarnation > 1);
    }
}

#[test]
fn forks_of_every_version_accept_requests() {
    for version in OLDEST_VERSION..=SCHEMA_VERSION {
        // Read the fork first: its owner is then only called by another object.
        let (mut family, _) = revived_family(version);
        assert_eq!(family.ask("GET /v1/stream/fork").text(), "[0,1,2,3,4,5,6,20,21,22,23]");
        assert_eq!(stored_version(&family.member("source").sql), SCHEMA_VERSION);
        let json =
            |path: &str, n: u64| format!("POST /v1/stream/{path} | content-type: application/json << {n}");
        family.run(&[&json("fork", 24), &json("fork", 25), &json("source", 8)]);
        // Only its own messages count.
        let first = (version >= 8).then_some(0);
        assert_eq!(counts(&family.member("fork").sql), [(2, first, 3), (3, Some(3), 3)]);
        family.run(&["PUT /v1/stream/new | stream-forked-from: /v1/stream/fork", &json("new", 30)]);
        family.run(&["DELETE /v1/stream/source", "CRASH fork", "CRASH new"]);
        let read = family.ask("GET /v1/stream/new").text();
        assert_eq!(read, "[0,1,2,3,4,5,6,20,21,22,23,24,25,30]");
        assert_eq!(family.ask("GET /v1/stream/source").status, 410);
        assert_eq!(family.ask("GET /v1/stream/gone").status, 410);
        assert_eq!(family.ask("GET /v1/stream/heir").text(), "hello, heir");
        family.run(&["DELETE /v1/stream/heir", "DELETE /v1/stream/new", "DELETE /v1/stream/fork"]);
        for path in ["source", "gone", "heir", "fork", "new"] {
            assert_eq!(family.ask(&format!("GET /v1/stream/{path}")).status, 404, "{path} of {version}");
        }
        assert!(family.bucket.objects.is_empty(), "version {version}: {:?}", family.bucket.objects.keys());
    }
}
