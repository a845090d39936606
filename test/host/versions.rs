//! Golden rows of every version of what is stored, since 7: `versions/v<n>.sql` has streams as the last build of that version left
//! them, every table and every object of the bucket, and what was read of them. This build goes on with each.
//!
//! A version's file is written by its own build, before the next version begins:
//! `cargo test --locked versions::write -- --ignored`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use durable_streams::protocol::registry::Registries;
use durable_streams::storage::schema::SCHEMA_VERSION;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use rusqlite::Connection;

use crate::support::sql::HostSql;
use crate::support::world::CHUNK_MAX_BYTES;
use crate::support::{Family, Response, World};

const SEGMENTS: SegmentLimits = SegmentLimits { appends_max: 3, bytes_max: 1000, closed_bytes_min: 1 };

/// A stream alone, by its name, and how it came to be.
fn alone() -> Vec<(&'static str, World)> {
    let json = "POST | content-type: application/json";
    let text = "POST | content-type: text/plain";
    vec![
        ("json", {
            let mut world = World::new();
            world.limit_segments(Some(SEGMENTS));
            world.limit_mirror(true);
            world.limit_registries(Registries::One);
            (world.tells_mirror, world.reports) = (false, false);
            let append = |n: u64, body: &str| {
                format!("{json} | stream-seq: s{n} | producer-id: p{} | producer-epoch: 3 | producer-seq: {} << {body}", n % 2, n / 2)
            };
            world.run(&["PUT | content-type: text/plain << gone", "DELETE", "WAIT 5ms"]);
            world.run(&["PUT | content-type: application/json | stream-ttl: 600 << [1, [2], {\"a\": 3}]"]);
            world.run(&[&append(0, "4"), &append(1, "[5,6]"), &append(2, "[7]"), &append(3, "8"), &append(4, "9")]);
            // What is sealed now stays in the hot log.
            world.rotates = false;
            world.run(&[&append(5, "[10,11]"), &append(6, "12"), &append(7, "13"), &append(8, "\"é\"")]);
            world
        }),
        ("bytes", {
            let mut world = World::new();
            world.limit_segments(Some(SEGMENTS));
            let retention = "stream-retention: bytes=100 | stream-public: true";
            world.run(&[&format!("PUT | content-type: application/octet-stream | {retention} << abc")]);
            world.run(&["POST | content-type: application/octet-stream << de"]);
            world
        }),
        ("trimmed", {
            let mut world = World::new();
            world.limit_segments(Some(SEGMENTS));
            world.run(&["PUT | content-type: text/plain | stream-retention: 60", "WAIT 5ms"]);
            world.run(&[&format!("{text} | stream-seq: s1 << abc"), &format!("{text} << def"), &format!("{text} << ghi")]);
            world.run(&["WAIT 60s", "HEAD"]);
            world
        }),
        ("closed", {
            let mut world = World::new();
            world.limit_segments(Some(SEGMENTS));
            world.run(&["PUT | content-type: application/json | stream-expires-at: 2031-01-01T00:00:00Z << [1,2]"]);
            world.run(&[&format!("{json} << 3"), &format!("{json} << 4")]);
            let closing = "stream-closed: true | producer-id: p | producer-epoch: 0 | producer-seq: 0";
            world.run(&[&format!("{json} | {closing} << [5,6]")]);
            world
        }),
        ("ended", World::after(&["PUT | content-type: text/plain << hello", "DELETE"])),
    ]
}

/// Streams of which some are others' forks.
fn family() -> Family {
    let mut family = Family::with(7, CHUNK_MAX_BYTES, Some(SEGMENTS), RetentionDefaults::default());
    let json = |path: &str, n: u64| format!("POST /v1/stream/{path} | content-type: application/json << {n}");
    family.run(&["PUT /v1/stream/source | content-type: application/json"]);
    (0..8).for_each(|n| family.run(&[&json("source", n)]));
    family.run(&["PUT /v1/stream/fork | stream-forked-from: /v1/stream/source | stream-fork-offset: @2_1"]);
    (20..24).for_each(|n| family.run(&[&json("fork", n)]));
    family.run(&["PUT /v1/stream/gone | content-type: text/plain << hello"]);
    family.run(&["PUT /v1/stream/heir | stream-forked-from: /v1/stream/gone << , heir", "DELETE /v1/stream/gone"]);
    family
}

/// What is in a file of one stream's object.
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

/// All there is to read, with what each answer says of it.
fn read(ask: &mut dyn FnMut(&str) -> Response) -> String {
    let (mut offset, mut text) = ("-1".to_owned(), String::new());
    loop {
        let response = ask(&format!("?offset={offset}"));
        let header = |name: &str| response.header(name).unwrap_or("none").to_owned();
        let body = if response.status == 200 { String::from_utf8_lossy(&response.body).into_owned() } else { String::new() };
        write!(text, "{} {} {} {body};", response.status, header("stream-next-offset"), header("etag")).unwrap();
        if response.status != 200 || response.header("stream-up-to-date").is_some() {
            return text;
        }
        offset = response.next().to_owned();
    }
}

/// Statements that make a database anew.
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
        let values = names.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ', ' || ");
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
#[ignore = "it writes the golden rows of this version, once before the next one begins"]
fn write() {
    let mut text = String::new();
    for (name, mut world) in alone() {
        let before = golden("alone", name, &world.sql, &world.bucket.objects, "");
        let read = read(&mut |query| world.ask(&format!("GET {query}")));
        assert_eq!(golden("alone", name, &world.sql, &world.bucket.objects, ""), before, "reading changed it");
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
