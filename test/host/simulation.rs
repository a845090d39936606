//! Simulation of one URL: seeded histories of writers, readers of every kind, time, lost memory and failing
//! storage. Every step is compared with the model. `SEEDS=100000 cargo test --release --test host simulation`
//! runs more histories, and `SEED=n` replays one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durable_streams::edge::live::sse::SseEnds;
use durable_streams::object::effect::Effect;
use durable_streams::object::live::Sockets as _;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::{Millis, cursor};
use durable_streams::storage::segments::key;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;
use serde_json::value::RawValue;

use crate::model::{Content, Keeping, Kind, Model, Place, Post, Presence, Producer, Put, Sealing};
use crate::support::bucket::BucketFault;
use crate::support::histories::{History, Trace, assert_repeats, play};
use crate::support::http::{STREAM_PATH, STREAM_URL};
use crate::support::mirror::MirrorFault;
use crate::support::registry::RegistryFault;
use crate::support::sql::Fault;
use crate::support::world::{Meanwhile, START};
use crate::support::{LongPoll, Outcome, Request, Response, SseClient, World, compact};

const SEEDS_DEFAULT: u64 = 2_000;
const STEPS_MAX: u32 = 120;

#[test]
fn simulation() {
    play::<Simulation>(SEEDS_DEFAULT);
}

#[test]
fn simulation_repeats_itself() {
    assert_repeats::<Simulation>();
}

struct Simulation {
    random: fastrand::Rng,
    world: World,
    model: Model,
    /// Every issued offset, and its place.
    offsets: BTreeMap<String, Place>,
    /// The body of each entity tag.
    tags: BTreeMap<String, Vec<u8>>,
    /// The first segment of each incarnation.
    births: Vec<u64>,
    /// The registry's events for each incarnation: its insert, and its delete.
    lives: Vec<[String; 2]>,
    readers: Vec<Reader>,
    polls: Vec<Poll>,
    kind: Kind,
    ttl: Option<u64>,
    retention: Option<Retention>,
    chunk_max_bytes: usize,
    has_faults: bool,
    /// A write is not announced yet.
    has_news: bool,
    /// Whether there is a mirror: always, never, or changing.
    mirrors: Option<bool>,
    /// Whether there is a registry: always, never, or changing.
    registers: Option<bool>,
    /// The keys that a sweep is about to delete.
    sweeping: Option<Vec<String>>,
    /// An announcement was lost, so readers get its messages with the next one.
    is_damaged: bool,
    trace: Trace,
}

/// An SSE client, and the place of its next event.
struct Reader {
    client: SseClient,
    life: usize,
    at: usize,
    cursor: u64,
    has_ended: bool,
}

/// A long-poll, and the place of its answer.
struct Poll {
    poll: LongPoll,
    life: usize,
    at: usize,
    cursor: u64,
}

/// The start that a read requests.
#[derive(Clone, Copy)]
enum Pick {
    Start,
    Now,
    At(Place),
}

/// The expected result of a read.
enum Expected {
    Missing,
    /// The data is dropped; the value is the first retained place.
    Gone(usize),
    From(usize),
}

/// A `Stream-Retention`, and its meaning.
type Retention = (String, Keeping);

impl History for Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = fastrand::Rng::with_seed(seed);
        let chunk_max_bytes = [4, 7, 16, 64, 1024, 1 << 20][random.usize(0..6)];
        let mut world = World::with_chunks(chunk_max_bytes);
        world.announces = false;
        world.rotates = false;
        world.tells_mirror = false;
        world.reports = false;
        let segments = [(1, 1), (3, 200), (5, 50), (1000, 40), (1000, 4 << 20)][random.usize(0..5)];
        let closed_bytes_min = [1, 20][random.usize(0..2)];
        let segments = SegmentLimits { appends_max: segments.0, bytes_max: segments.1, closed_bytes_min };
        let segments = (random.u32(0..8) > 0).then_some(segments);
        world.limit_segments(segments);
        let (kept_max, stored_each_appends) =
            [(64, 256), (1, 1), (1, 4), (2, 7), (0, 256)][random.usize(0..5)];
        world.limit_producers(ProducerLimits { kept_max, stored_each_appends });
        let mirrors = [Some(true), Some(true), None, Some(false)][random.usize(0..4)];
        world.limit_mirror(mirrors.unwrap_or_else(|| random.bool()));
        let registers = [Some(true), Some(true), None, Some(false)][random.usize(0..4)];
        world.limit_registries(registries(registers.unwrap_or_else(|| random.bool())));
        let retention = segments.is_some().then(|| retention(&mut random)).flatten();
        let mut model = Model::default();
        model.sealing = segments.map(|SegmentLimits { appends_max, bytes_max, closed_bytes_min }| Sealing {
            appends: appends_max,
            bytes: bytes_max,
            closed_bytes: closed_bytes_min,
        });
        if random.u32(0..3) == 0 {
            let (segments, seconds) =
                [(Some(1), None), (Some(3), Some(9)), (None, Some(2))][random.usize(0..3)];
            world.retain(RetentionDefaults { segments, seconds });
            let (segments, millis) =
                (segments.map(|count| count as usize), seconds.map(|seconds| seconds * 1000));
            model.defaults = Keeping { segments, millis, bytes: None };
        }
        Simulation {
            world,
            model,
            offsets: BTreeMap::new(),
            tags: BTreeMap::new(),
            births: Vec::new(),
            lives: Vec::new(),
            readers: Vec::new(),
            polls: Vec::new(),
            kind: [Kind::Json, Kind::Text, Kind::Binary][random.usize(0..3)],
            ttl: random.bool().then(|| random.u64(1..30) * 1000),
            retention,
            chunk_max_bytes,
            has_faults: random.bool(),
            has_news: false,
            mirrors,
            registers,
            sweeping: None,
            is_damaged: false,
            trace: Trace::default(),
            random,
        }
    }

    fn run(&mut self) {
        self.trace.log(format_args!("chunks of {}", self.chunk_max_bytes));
        if self.random.u32(0..10) > 0 {
            self.create();
        }
        for _ in 0..self.random.u32(20..STEPS_MAX) {
            self.step();
            if !self.has_faults {
                self.world.assert_nothing_is_forgotten();
                if self.registers == Some(true) {
                    self.world.assert_no_end_is_forgotten();
                }
            }
        }
        let had_faults = std::mem::replace(&mut self.has_faults, false);
        self.finish(had_faults);
        // After a fault, only the next request finds the leftovers.
        if !had_faults {
            self.finish_by_alarms();
        }
    }

    fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }
}

impl Simulation {
    fn step(&mut self) {
        self.world.shell.refuses_alarms = self.has_faults && self.random.u32(0..30) == 0;
        self.let_time_pass();
        if self.keeps_little() && self.random.bool() {
            // Only segments in the bucket are ever dropped.
            self.work();
        }
        self.world.meanwhile = match self.random.u32(0..6) {
            // An effect in flight cannot begin again.
            0 if !self.is_in_bucket() => Meanwhile::Rotation,
            1 if !self.has_news && !self.is_in_bucket() => Meanwhile::LostMemory,
            2 if self.ttl.is_none() && !self.is_in_bucket() => Meanwhile::Alarm(self.random.u64(1..4_000)),
            _ => Meanwhile::Nothing,
        };
        if self.model.current().is_none() && self.random.bool() {
            return self.create();
        }
        match self.random.u32(0..118) {
            0..=29 => self.append(),
            30..=31 => self.close(),
            32..=36 => self.create(),
            37 => self.delete(),
            38..=48 => self.catch_up(),
            49..=54 => self.connect(),
            55..=69 => self.listen(),
            70..=73 => self.disconnect(),
            74..=79 => self.poll(),
            80..=87 => self.look_for_answers(),
            88..=91 => self.announce(),
            92..=94 => self.work(),
            95 => self.sweep(),
            96..=97 => self.restart(),
            98..=99 => self.look_at_head(),
            100..=106 => self.go_on(&|effect| matches!(effect, Effect::Index(_))),
            107..=114 => self.report(),
            115 => self.world.registry.restart(),
            116 => drop(self.world.registry.let_one_arrive(&mut self.random, self.world.now)),
            _ => drop(self.world.mirror.let_one_arrive(&mut self.random)),
        }
    }

    /// Whether an upload or a deletion is in flight.
    fn is_in_bucket(&self) -> bool {
        self.world.under_way.iter().any(|(effect, _)| is_in_bucket(effect))
    }

    fn keeps_little(&self) -> bool {
        self.retention.is_some() || self.model.defaults != Keeping::default()
    }

    fn let_time_pass(&mut self) {
        let time = match self.random.u32(0..20) {
            0..=14 => self.random.u64(0..50),
            15..=18 => self.random.u64(0..2_000),
            _ => self.random.u64(0..40_000),
        };
        if time > 100 {
            // An announcement is due in the next turn: it happens soon or is lost.
            self.announce();
        }
        self.world.now += time;
        if self.world.alarm_at().is_some_and(|at| at <= self.world.now) && self.random.bool() {
            self.trace.log(format_args!("{} alarm", self.world.now));
            self.model.may_touch(self.world.now);
            self.world.ring();
        }
    }

    // Sending.

    fn send(&mut self, request: &Request) -> Outcome {
        if self.world.sockets.count() > 0 {
            // A live reader keeps a stream with a TTL alive during any request.
            self.model.may_touch(self.world.now);
        }
        let outcome = self.world.send(request);
        let (what, response) = match &outcome {
            Outcome::Answered(response) => (response.status.to_string(), response),
            Outcome::Parked(_, head) => ("parked".to_owned(), head),
        };
        let body: String = String::from_utf8_lossy(&request.body).chars().take(40).collect();
        let (now, query) = (self.world.now, &request.url[STREAM_URL.len()..]);
        let next = response.header("stream-next-offset").unwrap_or("-");
        self.trace.log(format_args!(
            "{now} {} {query} {:?} {body:?}: {what} {next}",
            request.method, request.headers
        ));
        outcome
    }

    fn ask(&mut self, request: &Request) -> Response {
        match self.send(request) {
            Outcome::Answered(response) => response,
            Outcome::Parked(..) => panic!("{request:?} was parked"),
        }
    }

    /// Aligns the model with an expiry. The server gets a request first, so that it ends the incarnation before
    /// the next request and not during it. Where the model cannot know, the server's answer decides.
    fn settle(&mut self) {
        let presence = self.model.presence(self.world.now, self.world.sockets.count());
        if presence != Presence::Present && self.model.current().is_some() {
            let status = self.ask(&request("HEAD", "")).status;
            assert!(status == 404 || presence == Presence::Either, "{status} after the end");
            if status == 404 {
                self.model.end();
            }
        }
        if self.has_faults && self.keeps_little() {
            // Due segments are dropped now, so that a fault hits only the request's own commit.
            self.ask(&request("HEAD", ""));
        }
    }

    fn arm(&mut self) -> Option<Fault> {
        let strikes = self.has_faults && self.random.u32(0..8) == 0;
        let fault = strikes.then(|| match self.random.u32(0..4) {
            0 => Fault::Commit,
            1 => Fault::CommitButStored,
            _ => Fault::Statement(self.random.u32(0..5)),
        });
        fault.inspect(|fault| {
            // The fault must hit the request itself.
            self.world.meanwhile = Meanwhile::Nothing;
            self.world.sql.arm(*fault);
        })
    }

    /// Sends a write to the server and to the model. `None` if it failed.
    fn write(&mut self, request: &Request, apply: &dyn Fn(&mut Model, u64) -> u16) -> Option<Response> {
        let fault = self.arm();
        let before = fault.map(|_| self.model.clone());
        let expected = apply(&mut self.model, self.world.now);
        let told = self.world.sockets.told();
        let response = self.ask(request);
        if request.method != "DELETE" && response.status != 404 {
            assert_eq!(
                self.world.sockets.told(),
                told,
                "readers are notified in a later turn, after the commit"
            );
        }
        if self.world.sql.disarm()
            && let Some(before) = before
        {
            self.trace.log(format_args!("  {fault:?}"));
            assert_eq!(response.status, 500);
            match fault {
                Some(Fault::CommitButStored) => self.model.touch(self.world.now),
                Some(Fault::Commit | Fault::Statement(_)) | None => self.model = before,
            }
            self.is_damaged = true;
            self.has_news = true;
            self.model.may_touch(self.world.now);
            self.record_birth();
            return None;
        }
        assert_eq!(response.status, expected, "{response:?}");
        if response.status < 300 {
            self.model.touch(self.world.now);
            self.has_news = true;
        } else {
            self.model.may_touch(self.world.now);
        }
        self.check_trim();
        Some(response)
    }

    /// After a successful request: exactly the segments that must be dropped are dropped. Storage knows which
    /// ones are still in the hot log, and those cannot be dropped.
    fn check_trim(&mut self) {
        self.record_birth();
        let Some(life) = self.model.current() else { return };
        let (first, hot_from) = self.world.sql.first_segments();
        let born_at = self.births[self.model.newest()];
        let arrived = hot_from.map_or(life.sealed_count(), |hot_from| (hot_from - born_at) as usize);
        self.model.trim((first - born_at) as usize, arrived, self.world.now);
    }

    /// Records the first segment of a new incarnation.
    fn record_birth(&mut self) {
        if self.model.current().is_some() && self.births.len() == self.model.newest() {
            self.births.push(self.world.sql.first_segments().0);
            let (content_type, created_at) = self.world.sql.born();
            let event = |operation: &str| format!("{operation} {content_type} {}", created_at - START);
            self.lives.push([event("insert"), event("delete")]);
        }
    }

    // Writing.

    fn create(&mut self) {
        self.settle();
        let kind = if self.random.u32(0..10) == 0 { Kind::Binary } else { self.kind };
        let ttl = if self.random.u32(0..10) == 0 { None } else { self.ttl };
        let content = if self.random.bool() { self.content(kind) } else { (Vec::new(), empty(kind)) };
        let retention = self.retention.clone().filter(|_| self.random.u32(0..10) > 0);
        let keeping = retention.as_ref().map(|(_, keeping)| *keeping);
        let put = Put { kind, ttl, keeping, closed: self.random.u32(0..15) == 0, content: content.1 };
        let mut request = request("PUT", "").header("content-type", kind.content_type()).body(content.0);
        if let Some(ttl) = ttl {
            request = request.header("stream-ttl", &(ttl / 1000).to_string());
        }
        if let Some((header, _)) = retention {
            request = request.header("stream-retention", &header);
        }
        if put.closed {
            request = request.header("stream-closed", "true");
        }
        match self.write(&request, &|model, now| model.create(&put, now)) {
            Some(response) if response.status < 300 => self.learn_tail(&response),
            Some(_) | None => {}
        }
    }

    fn append(&mut self) {
        self.settle();
        let kind = self.model.current().map_or(self.kind, |life| life.kind);
        let (body, content) = self.content(kind);
        let is_broken = kind == Kind::Json && self.random.u32(0..30) == 0;
        let wrong_type = self.random.u32(0..30) == 0;
        let expected = self.expected();
        let post = Post {
            content_type: if wrong_type { "text/html" } else { kind.content_type() },
            content: (!is_broken).then_some(content),
            producer: if self.random.bool() { Some(self.producer()) } else { None },
            stream_seq: (self.random.u32(0..4) == 0).then(|| self.random.u32(0..300).to_string()),
            expected: expected.as_ref().map(|(_, place)| *place),
            closes: self.random.u32(0..60) == 0,
        };
        let mut request = request("POST", "").header("content-type", post.content_type);
        request = request.body(if is_broken { b"[1,".to_vec() } else { body });
        if let Some(seq) = &post.stream_seq {
            request = request.header("stream-seq", seq);
        }
        request = expecting(with_producer(request, post.producer.as_ref(), post.closes), expected.as_ref());
        self.write_and_learn(&request, &|model, now| model.append(&post, now));
    }

    fn close(&mut self) {
        self.settle();
        let producer = self.random.bool().then(|| self.producer());
        let expected = self.expected();
        let request =
            expecting(with_producer(request("POST", ""), producer.as_ref(), true), expected.as_ref());
        let place = expected.map(|(_, place)| place);
        self.write_and_learn(&request, &|model, _| model.close(producer.as_ref(), place));
    }

    /// The tail that a client expects: mostly none, otherwise the last issued offset or the one before.
    fn expected(&mut self) -> Option<(String, Place)> {
        let back = match self.random.u32(0..16) {
            0..=1 => 0,
            2 => 1,
            _ => return None,
        };
        self.offsets.iter().nth_back(back).map(|(offset, place)| (offset.clone(), *place))
    }

    fn write_and_learn(&mut self, request: &Request, apply: &dyn Fn(&mut Model, u64) -> u16) {
        let Some(response) = self.write(request, apply) else { return };
        if response.status < 300 {
            self.learn_tail(&response);
            let is_closed = self.model.current().unwrap().is_closed();
            assert_eq!(response.header("stream-closed").is_some(), is_closed, "{response:?}");
        }
    }

    fn delete(&mut self) {
        self.settle();
        self.write(&request("DELETE", ""), &|model, _| model.delete());
    }

    /// Mostly a producer's next request, otherwise a retry, a gap, a stale epoch or a new epoch.
    fn producer(&mut self) -> Producer {
        let id = ["p", "q"][self.random.usize(0..2)].to_owned();
        let known = self.model.current().and_then(|life| life.producer(&id));
        let (epoch, last) = known.map_or((0, -1), |(epoch, seq)| (epoch as i64, seq as i64));
        let (epoch, seq) = match self.random.u32(0..20) {
            0..=12 => (epoch, last + 1),
            13..=15 => (epoch, last - self.random.i64(0..3)),
            16 => (epoch, last + self.random.i64(2..4)),
            17 => (epoch + 1, 0),
            18 => (epoch + 1, 1),
            _ => (epoch - 1, 0),
        };
        (id, epoch.max(0) as u64, seq.max(0) as u64)
    }

    /// A body and its content.
    fn content(&mut self, kind: Kind) -> (Vec<u8>, Content) {
        let is_large = self.chunk_max_bytes >= 1 << 20 && self.random.u32(0..300) == 0;
        match kind {
            Kind::Json => self.messages(is_large),
            Kind::Text | Kind::Binary => {
                let pieces: &[&[u8]] = match kind {
                    Kind::Text => {
                        &[b"a", b"\n", b" ", "\u{e9}".as_bytes(), "\u{1f600}".as_bytes(), b"data: x\n\n"]
                    }
                    Kind::Json | Kind::Binary => &[b"a", b"\0", &[0xff], &[0xf0, 0x9f], b"\r\n\r\n"],
                };
                let count =
                    if is_large { (1 << 20) + self.random.usize(0..9) } else { self.random.usize(1..12) };
                let piece = |_| if is_large { pieces[0] } else { pieces[self.random.usize(0..pieces.len())] };
                let bytes: Vec<u8> = (0..count).flat_map(piece).copied().collect();
                (bytes.clone(), Content::Bytes(bytes))
            }
        }
    }

    fn messages(&mut self, is_large: bool) -> (Vec<u8>, Content) {
        const MESSAGES: [&str; 8] =
            ["1", "2.50", "\"a,]\"", "[3 , 4]", "{\"k\": [1],\"k\":\t2}", "\"\\u00e9\\n\"", "null", "[[]]"];
        let count = self.random.usize(1..5);
        let mut messages: Vec<String> =
            (0..count).map(|_| MESSAGES[self.random.usize(0..MESSAGES.len())].to_owned()).collect();
        if is_large {
            messages[0] = format!("\"{}\"", "x".repeat((1 << 20) - 2 + self.random.usize(0..3)));
        }
        let is_alone = count == 1 && !messages[0].starts_with('[') && self.random.bool();
        let separator = [",", " ,", ",\n "][self.random.usize(0..3)];
        let body = if is_alone { messages[0].clone() } else { format!("[{}]", messages.join(separator)) };
        let stored = messages.iter().map(|message| compact(message)).collect();
        (body.into_bytes(), Content::Messages(stored))
    }

    // Checks.

    /// An offset permanently means one place, and text order is the order of places over all incarnations.
    fn learn(&mut self, offset: &str, place: Place) {
        assert!(offset != "-1" && offset != "now" && offset.len() < 256);
        assert!(!self.model.life(place.0).is_one_inside(place.1), "{offset} is one byte inside an append");
        if let Some(known) = self.offsets.insert(offset.to_owned(), place) {
            assert_eq!(known, place, "{offset} means two places");
            return;
        }
        let below = self.offsets.range(..offset.to_owned()).next_back();
        assert!(below.is_none_or(|(_, below)| *below < place), "{offset} for {place:?} after {below:?}");
        let above = self.offsets.range(offset.to_owned()..).nth(1);
        assert!(above.is_none_or(|(_, above)| *above > place), "{offset} for {place:?} before {above:?}");
    }

    fn learn_tail(&mut self, response: &Response) {
        let tail = (self.model.newest(), self.model.life(self.model.newest()).content.len());
        self.learn(response.next(), tail);
    }

    /// Compares bytes with the model from a place on; returns the place after them.
    fn check_content(&self, (life, at): Place, data: &[u8]) -> usize {
        match &self.model.life(life).content {
            Content::Messages(messages) => {
                let shown: Vec<&RawValue> = serde_json::from_slice(data).expect("an array of messages");
                let next = at + shown.len();
                let expected =
                    messages.get(at..next).expect("a response has no more messages than the stream");
                assert!(
                    shown.iter().map(|message| message.get()).eq(expected),
                    "{at}..{next} of life {life}"
                );
                next
            }
            Content::Bytes(bytes) => {
                let next = at + data.len();
                assert!(
                    bytes.get(at..next) == Some(data),
                    "{at}..{next} of life {life}: {:?}",
                    String::from_utf8_lossy(data)
                );
                next
            }
        }
    }

    // Catch-up.

    /// A query for some offset, and its meaning.
    fn pick_offset(&mut self, in_characters: bool) -> (String, Pick) {
        let start = ("offset=-1".to_owned(), Pick::Start);
        if self.offsets.is_empty() {
            return start;
        }
        match self.random.u32(0..8) {
            0 => start,
            1 => ("offset=now".to_owned(), Pick::Now),
            _ => {
                // Prefer newer offsets, because those of older incarnations are many.
                let reverse = self.random.usize(0..self.offsets.len().min(12));
                let (offset, (of, at)) = self.offsets.iter().nth_back(reverse).unwrap();
                let past = if self.random.u32(0..3) == 0 { self.one_past(offset, (*of, *at)) } else { None };
                let (offset, (of, at)) =
                    past.as_ref().map_or((offset, (of, at)), |(o, (of, at))| (o, (of, at)));
                if in_characters && !is_boundary(&self.model.life(*of).content, *at) {
                    return start;
                }
                (format!("offset={offset}"), Pick::At((*of, *at)))
            }
        }
    }

    /// The offset one past another and its meaning; `None` if it has none or the data is dropped.
    fn one_past(&self, offset: &str, (of, at): Place) -> Option<(String, Place)> {
        let offset = Offset::parse(offset).unwrap();
        let life = self.model.life(of);
        let past = life.one_past(at).filter(|_| of == self.model.newest() && at >= life.earliest())?;
        Some((Offset { position: offset.position + 1, ..offset }.to_string(), (of, past)))
    }

    /// The expected result of a read that was answered just now.
    fn expect(&mut self, pick: Pick) -> Expected {
        self.check_trim();
        let Some(life) = self.model.current() else { return Expected::Missing };
        let (earliest, newest) = (life.earliest(), self.model.newest());
        match pick {
            Pick::Start => Expected::From(earliest),
            Pick::Now => Expected::From(life.content.len()),
            Pick::At((of, at)) if of == newest && at >= earliest => Expected::From(at),
            Pick::At(_) => Expected::Gone(earliest),
        }
    }

    fn check_refused(&mut self, expected: &Expected, response: &Response) {
        match expected {
            Expected::Missing => assert_eq!(response.status, 404, "{response:?}"),
            Expected::Gone(earliest) => {
                assert_eq!(response.status, 410, "{response:?}");
                self.learn(response.next(), (self.model.newest(), *earliest));
            }
            Expected::From(_) => panic!("{response:?}"),
        }
    }

    fn catch_up(&mut self) {
        self.settle();
        let (query, pick) = self.pick_offset(false);
        let fault = self.arm();
        let response = self.ask(&request("GET", &query));
        if self.world.sql.disarm() && fault.is_some() {
            assert_eq!(response.status, 500);
            self.is_damaged = true;
            return self.model.may_touch(self.world.now);
        }
        match self.expect(pick) {
            Expected::From(at) => {
                self.model.touch(self.world.now);
                self.read_on(at, response);
            }
            refused @ (Expected::Missing | Expected::Gone(_)) => self.check_refused(&refused, &response),
        }
    }

    /// Reads chunk by chunk to the tail.
    fn read_on(&mut self, at: usize, first: Response) {
        let (mut at, mut response) = (at, first);
        while let Some(next) = self.check_chunk(at, &response) {
            assert!(next > at, "a read makes progress");
            at = next;
            response = self.ask(&request("GET", &format!("offset={}", response.next())));
            let expected = self.expect(Pick::At((self.model.newest(), at)));
            if !matches!(expected, Expected::From(_)) {
                // It was dropped during the read of another chunk.
                return self.check_refused(&expected, &response);
            }
        }
    }

    /// Compares one chunk of the newest incarnation with the model. Returns the place after it, or `None` at
    /// the tail.
    fn check_chunk(&mut self, at: usize, response: &Response) -> Option<usize> {
        assert_eq!(response.status, 200, "{response:?}");
        let life = self.model.newest();
        let next = self.check_content((life, at), &response.body);
        self.learn(response.next(), (life, next));
        self.check_tag(response);
        let of = self.model.life(life);
        let is_at_tail = next == of.content.len();
        assert_eq!(response.header("stream-up-to-date").is_some(), is_at_tail, "{response:?}");
        assert_eq!(response.header("stream-closed").is_some(), is_at_tail && of.is_closed(), "{response:?}");
        (!is_at_tail).then_some(next)
    }

    /// A tag identifies one body, and whether it reports closure.
    fn check_tag(&mut self, response: &Response) {
        let Some(tag) = response.header("etag") else { return };
        let closed = response.header("stream-closed").is_some();
        let stood_for = [&response.body[..], &[u8::from(closed)]].concat();
        if let Some(known) = self.tags.insert(tag.to_owned(), stood_for.clone()) {
            assert!(known == stood_for, "{tag} identifies two bodies");
        }
    }

    fn look_at_head(&mut self) {
        self.settle();
        let response = self.ask(&request("HEAD", ""));
        match self.model.current() {
            None => assert_eq!(response.status, 404),
            Some(life) => {
                let is_closed = life.is_closed();
                assert_eq!(response.status, 200);
                assert_eq!(response.header("stream-closed").is_some(), is_closed);
                self.learn_tail(&response);
                self.check_trim();
            }
        }
    }

    // Server-sent events.

    fn connect(&mut self) {
        self.settle();
        let (query, pick) = self.pick_offset(true);
        let cursor = self.cursor();
        let cursor_query = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let request = request("GET", &format!("{query}&live=sse{cursor_query}"));
        // `Last-Event-ID` has the same meaning, whatever the query says.
        let request = match query.strip_prefix("offset=").filter(|_| self.random.u32(0..4) == 0) {
            Some(id) => Request { url: request.url.replace(&query, "offset=-1"), ..request }
                .header("last-event-id", id),
            None => request,
        };
        let fault = self.arm();
        let lifetime = [5_000, 60_000, Millis::from(u32::MAX)][self.random.usize(0..3)];
        let deadline = self.world.now + lifetime;
        let ends = SseEnds { deadline, until: deadline, stall: 60_000, cpu_limit: 30_000 };
        let connected = SseClient::connect_within(&mut self.world, request.clone(), ends);
        let failed = self.world.sql.disarm() && fault.is_some();
        self.trace.log(format_args!("{} SSE {} {:?}", self.world.now, request.url, request.headers));
        self.is_damaged |= failed;
        self.has_news = false;
        match connected {
            Err(response) if failed => assert_eq!(response.status, 500),
            Err(response) => {
                let expected = self.expect(pick);
                self.check_refused(&expected, &response);
            }
            Ok(client) => {
                let Expected::From(at) = self.expect(pick) else {
                    panic!("a read that must be refused was connected")
                };
                self.model.touch(self.world.now);
                let (life, cursor) = (self.model.newest(), cursor.unwrap_or(0));
                self.readers.push(Reader { client, life, at, cursor, has_ended: false });
            }
        }
        self.model.may_touch(self.world.now);
    }

    fn cursor(&mut self) -> Option<u64> {
        let interval = cursor::next(self.world.now, 0, None);
        [None, Some(0), Some(interval), Some(interval + 3)][self.random.usize(0..4)]
    }

    /// A random reader reads a part of its events.
    fn listen(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.readers.len());
        let mut reader = self.readers.swap_remove(index);
        for _ in 0..self.random.u32(1..4) {
            self.listen_once(&mut reader);
        }
        if reader.client.is_over() {
            let is_explained = reader.has_ended || self.is_damaged || self.ttl.is_some();
            let is_explained = is_explained || self.world.now >= reader.client.deadline();
            let is_ended = self.model.current().is_none() || reader.life != self.model.newest();
            assert!(
                is_explained || is_ended || self.is_gone((reader.life, reader.at)),
                "a response ended without a reason"
            );
        } else {
            self.readers.push(reader);
        }
    }

    /// Whether the data at that place in the newest incarnation is dropped.
    fn is_gone(&mut self, (life, at): Place) -> bool {
        self.check_trim();
        at < self.model.life(life).earliest()
    }

    fn listen_once(&mut self, reader: &mut Reader) -> bool {
        // A step may repeat the request to the object, which is a read.
        self.model.may_touch(self.world.now);
        let has_moved = reader.client.step(&mut self.world);
        let mut data = None;
        for event in reader.client.take_events() {
            if event.name == "data" {
                assert!(data.replace(event.data).is_none(), "two data events in a row");
            } else {
                self.hear(reader, data.take(), &event.data, &event.id);
            }
        }
        assert!(data.is_none(), "data must be followed by its control event");
        has_moved
    }

    fn hear(&mut self, reader: &mut Reader, data: Option<String>, control: &str, id: &str) {
        self.trace.log(format_args!("  heard {:.60?} {control}", data.as_deref().unwrap_or("")));
        assert!(!reader.has_ended, "an event came after the end");
        let control: serde_json::Value = serde_json::from_str(control).unwrap();
        if let Some(data) = data {
            let bytes = match self.model.life(reader.life).kind {
                Kind::Json | Kind::Text => data.into_bytes(),
                Kind::Binary => STANDARD.decode(data).unwrap(),
            };
            assert!(!bytes.is_empty());
            reader.at = self.check_content((reader.life, reader.at), &bytes);
        }
        assert_eq!(control["streamNextOffset"], id);
        self.learn(id, (reader.life, reader.at));
        let life = self.model.life(reader.life);
        reader.has_ended = control.get("streamClosed").is_some();
        if reader.has_ended {
            assert!(life.is_closed() && reader.at == life.content.len(), "the end was reported too early");
        } else {
            reader.cursor = later_cursor(reader.cursor, control["streamCursor"].as_str());
        }
    }

    fn disconnect(&mut self) {
        if !self.readers.is_empty() {
            let index = self.random.usize(0..self.readers.len());
            let mut reader = self.readers.swap_remove(index);
            reader.client.disconnect(&self.world);
        }
    }

    // Long-polls.

    fn poll(&mut self) {
        self.settle();
        let (query, pick) = self.pick_offset(false);
        let cursor = self.cursor();
        let cursor_query = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let request = request("GET", &format!("{query}&live=long-poll{cursor_query}"));
        let fault = self.arm();
        let asked = LongPoll::ask(&mut self.world, request);
        let failed = self.world.sql.disarm() && fault.is_some();
        self.trace.log(format_args!("{} long-poll {query}", self.world.now));
        self.is_damaged |= failed;
        self.has_news = false;
        self.model.may_touch(self.world.now);
        if failed {
            return assert_eq!(asked.err().map(|response| response.status), Some(500));
        }
        match (asked, self.expect(pick)) {
            (asked, Expected::From(at)) => {
                self.model.touch(self.world.now);
                let place = (self.model.newest(), at);
                match asked {
                    Ok(poll) => {
                        self.polls.push(Poll { poll, life: place.0, at, cursor: cursor.unwrap_or(0) })
                    }
                    Err(response) => self.take_answer(place, cursor.unwrap_or(0), &response),
                }
            }
            (Err(response), refused) => self.check_refused(&refused, &response),
            (Ok(_), Expected::Missing | Expected::Gone(_)) => {
                panic!("a read that must be refused was parked")
            }
        }
    }

    fn look_for_answers(&mut self) {
        if self.polls.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.polls.len());
        let mut poll = self.polls.swap_remove(index);
        self.model.may_touch(self.world.now);
        match poll.poll.answer(&mut self.world) {
            Some(response) => self.take_answer((poll.life, poll.at), poll.cursor, &response),
            None if self.random.u32(0..4) == 0 => {
                let response = poll.poll.time_out(&mut self.world);
                self.learn(response.next(), (poll.life, poll.at));
                later_cursor(poll.cursor, response.header("stream-cursor"));
            }
            None => self.polls.push(poll),
        }
    }

    fn take_answer(&mut self, (life, at): Place, cursor: u64, response: &Response) {
        self.trace.log(format_args!("  answered {response:?}"));
        let is_closed = response.header("stream-closed").is_some();
        let next = match response.status {
            200 => self.check_content((life, at), &response.body),
            204 => at,
            _ => {
                let is_over =
                    self.model.current().is_none() || life != self.model.newest() || self.ttl.is_some();
                let is_over = is_over || self.is_gone((life, at));
                assert!(matches!(response.status, 404 | 410) && is_over, "{response:?}");
                return;
            }
        };
        assert!(response.status == 204 || next > at, "a 200 has data");
        self.learn(response.next(), (life, next));
        self.check_tag(response);
        if is_closed {
            let life = self.model.life(life);
            assert!(life.is_closed() && next == life.content.len(), "the end was reported too early");
        } else {
            later_cursor(cursor, response.header("stream-cursor"));
        }
    }

    // The object and its surroundings.

    fn announce(&mut self) {
        let fault = self.arm();
        self.world.next_turn();
        self.is_damaged |= self.world.sql.disarm() && fault.is_some();
        self.has_news = false;
    }

    fn restart(&mut self) {
        self.trace.log(format_args!("{} restart", self.world.now));
        self.is_damaged |= self.has_news;
        for (effect, ended) in std::mem::take(&mut self.world.under_way) {
            // The effect may complete, but the object does not learn of it.
            if self.has_faults && ended.is_none() && is_in_bucket(&effect) && self.random.bool() {
                self.world.bucket.carry_out(&effect);
            }
        }
        let registers = self.registers.unwrap_or_else(|| self.random.bool());
        self.world.limit_registries(registries(registers));
        let mirrors = self.mirrors.unwrap_or_else(|| self.random.bool());
        self.world.limit_mirror(mirrors);
        if let Some(orphans) = self.sweeping.take().filter(|_| self.random.bool()) {
            self.world.bucket.objects.retain(|key, _| !orphans.contains(key));
        }
    }

    /// One step of a sweep of the bucket, which may also have objects that were never uploaded here: it selects
    /// keys, or deletes them, unless it fails. It never selects a key that has a row.
    fn sweep(&mut self) {
        if let Some(orphans) = self.sweeping.take() {
            if !self.has_faults || self.random.bool() {
                self.world.bucket.objects.retain(|key, _| !orphans.contains(key));
            }
            return self.world.swept();
        }
        if self.has_faults {
            let (incarnation, segment) = (self.random.u64(100..200), self.random.u64(0..20));
            self.world.bucket.objects.insert(key(STREAM_PATH, incarnation, segment), b"lost".to_vec());
        }
        let keys: Vec<String> = self.world.bucket.objects.keys().cloned().collect();
        let fault = self.arm();
        let orphans = self.world.sweep(&keys);
        if self.world.sql.disarm() && fault.is_some() {
            return assert!(orphans.is_err(), "{orphans:?}");
        }
        let (orphans, rows) = (orphans.unwrap(), self.world.sql.segment_keys());
        self.trace.log(format_args!("{} sweeps {orphans:?} of {keys:?}", self.world.now));
        assert!(!orphans.iter().any(|key| rows.contains(key)), "{orphans:?}, but {rows:?}");
        self.sweeping = Some(orphans);
    }

    /// Advances one effect in flight: it is carried out, unless it fails, or the object learns how it ended.
    fn go_on(&mut self, is: &dyn Fn(&Effect) -> bool) {
        let Some(index) = self.world.under_way.iter().position(|(effect, _)| is(effect)) else { return };
        let Some(ended) = self.world.under_way[index].1.take() else {
            if self.has_faults {
                self.strike(index);
            }
            let ended = self.world.carry_out(index);
            self.world.registry.sql.disarm();
            self.note(index, &format!("{ended:?}"));
            self.world.under_way[index].1 = Some(ended);
            return;
        };
        let fault = self.arm();
        self.note(index, &format!("is known, {fault:?}"));
        self.world.end(index, ended);
        self.is_damaged |= self.world.sql.disarm() && fault.is_some() && self.has_news;
    }

    fn note(&mut self, index: usize, what: &str) {
        let effect = &self.world.under_way[index].0;
        self.trace.log(format_args!("{} {effect:.80?}: {what}", self.world.now));
    }

    /// The effect may fail, before or after it takes place.
    fn strike(&mut self, index: usize) {
        let (world, strikes) = (&mut self.world, self.random.u32(0..3) == 0);
        match &world.under_way[index].0 {
            Effect::Put(_) | Effect::Delete(_) if strikes => {
                let faults = [BucketFault::Fails, BucketFault::FailsButStored];
                world.bucket.arm(faults[self.random.usize(0..2)]);
            }
            Effect::Index(_) if strikes => {
                let faults =
                    [MirrorFault::Fails, MirrorFault::FailsButStored, MirrorFault::FailsAndArrivesLate];
                world.mirror.arm(faults[self.random.usize(0..3)]);
            }
            Effect::Call(_) => self.strike_registry(),
            Effect::Put(_)
            | Effect::Delete(_)
            | Effect::Index(_)
            | Effect::NextTurn
            | Effect::Calls(_)
            | Effect::Post(_)
            | Effect::SetAlarm(_)
            | Effect::Log(_) => {}
        }
    }

    fn work(&mut self) {
        self.go_on(&is_in_bucket);
    }

    fn report(&mut self) {
        self.go_on(&|effect| matches!(effect, Effect::Call(_)));
        self.check_registry_order();
    }

    /// Completes all effects: those in flight, those that the object finds afterwards, and after the rest also
    /// those that have failed.
    fn complete_all_effects(&mut self, has_failed: bool) {
        self.world.shell.refuses_alarms = false;
        let rests: &[u64] = if has_failed { &[0, 60_001, 3_600_001, 3_600_001] } else { &[0] };
        for rest in rests {
            self.world.now += rest;
            self.settle();
            self.world.wake();
            while let Some((_, ended)) = self.world.under_way.first() {
                let ended = ended.clone().unwrap_or_else(|| self.world.carry_out(0));
                self.world.end(0, ended);
            }
            self.has_news = false;
        }
    }

    fn strike_registry(&mut self) {
        let registry = &mut self.world.registry;
        match self.random.u32(0..9) {
            0 => registry.arm(RegistryFault::Fails),
            1 => registry.arm(RegistryFault::FailsButRecorded),
            2 => registry.arm(RegistryFault::FailsAndArrivesLate),
            3 => registry.sql.arm(Fault::Commit),
            4 => registry.sql.arm(Fault::CommitButStored),
            5 => registry.sql.arm(Fault::Statement(self.random.u32(0..8))),
            _ => {}
        }
    }

    /// The registry has the events that happened, each once and in order. If there always was a registry, it
    /// has all of them.
    fn check_registry_order(&mut self) {
        let events = self.world.registry.events(START);
        let mut happened = self.lives.iter().flatten();
        let has_gaps = self.registers.is_none();
        for event in &events {
            let found = if has_gaps { happened.find(|one| *one == event) } else { happened.next() };
            assert_eq!(found, Some(event), "of {events:?}");
        }
    }

    /// Checks the registry once all reports and all delayed calls have arrived.
    fn check_registry_is_complete(&mut self) {
        if self.registers.is_none() {
            self.registers = Some(true);
            self.restart();
            self.registers = None;
        }
        if self.registers == Some(false) {
            return assert!(self.world.registry.sql.tables().is_empty());
        }
        self.complete_all_effects(false);
        while self.world.registry.let_one_arrive(&mut self.random, self.world.now) {}
        self.check_registry_events();
    }

    fn check_registry_events(&mut self) {
        self.check_registry_order();
        let events = self.world.registry.events(START);
        let Some([insert, delete]) = self.lives.last() else { return assert!(events.is_empty()) };
        let has_ended = self.world.sql.has_ended();
        if self.registers == Some(true) {
            assert_eq!(events.len(), 2 * self.lives.len() - usize::from(!has_ended), "{events:?}");
        } else if !has_ended {
            assert_eq!(events.last(), Some(insert));
        } else {
            // The registry may never have received its insert.
            assert!(events.last() != Some(insert) || insert == delete, "{events:?}");
        }
        assert!(!self.world.sql.tables().contains(&"unreported".to_owned()), "no report is left");
    }

    /// Ends the history without further faults: live readers get everything, and everything can be read.
    fn finish(&mut self, had_faults: bool) {
        self.trace.log(format_args!("comes to rest"));
        self.world.meanwhile = Meanwhile::Nothing;
        self.settle();
        self.announce();
        self.drain_live_readers(!self.is_damaged);
        self.settle();
        if self.model.current().is_some_and(|life| !life.is_closed()) {
            // The next announcement delivers the messages of a lost one.
            let kind = self.model.current().unwrap().kind;
            let (body, content) = self.content(kind);
            let request = request("POST", "").header("content-type", kind.content_type()).body(body);
            let post = Post {
                content_type: kind.content_type(),
                content: Some(content),
                producer: None,
                stream_seq: None,
                expected: None,
                closes: false,
            };
            self.write_and_learn(&request, &|model, now| model.append(&post, now));
            self.announce();
            self.drain_live_readers(true);
        }
        self.check_all_reads();
        if self.random.bool() {
            self.restart();
        }
        // A sweep in progress ends, and a further one finds all orphans.
        for _ in 0..if self.sweeping.is_some() { 3 } else { 2 } {
            self.sweep();
        }
        self.complete_all_effects(had_faults);
        self.check_all_reads();
        self.world.assert_bucket_is_tidy();
        self.check_mirror();
        self.settle();
        self.check_registry_is_complete();
    }

    /// Checks the mirror once all rows and all delayed writes have arrived.
    fn check_mirror(&mut self) {
        if self.mirrors.is_none() {
            self.mirrors = Some(true);
            self.restart();
        }
        if self.mirrors == Some(false) {
            assert!(!self.world.sql.tables().contains(&"outbox".to_owned()));
            return assert!(self.world.mirror.rows().is_empty());
        }
        self.complete_all_effects(false);
        while self.world.mirror.let_one_arrive(&mut self.random) {}
        self.world.assert_mirror_is_true();
    }

    fn drain_live_readers(&mut self, hears_all: bool) {
        for mut reader in std::mem::take(&mut self.readers) {
            while self.listen_once(&mut reader) {}
            let is_due = self.world.now >= reader.client.deadline();
            assert!(!is_due || reader.client.is_over(), "a response outlives its deadline");
            let is_current = self.model.current().is_some() && reader.life == self.model.newest();
            if is_current && hears_all && !reader.client.is_over() {
                let life = self.model.life(reader.life);
                assert_eq!(reader.at, life.content.len(), "a reader did not get all messages");
                assert!(!life.is_closed(), "a reader did not get the end");
            }
            self.readers.push(reader);
        }
        for mut poll in std::mem::take(&mut self.polls) {
            match poll.poll.answer(&mut self.world) {
                Some(response) => self.take_answer((poll.life, poll.at), poll.cursor, &response),
                None => {
                    let is_current = self.model.current().is_some() && poll.life == self.model.newest();
                    let is_at_tail = poll.at == self.model.life(poll.life).content.len();
                    assert!(!is_current || !hears_all || is_at_tail, "a long-poll was not answered");
                    self.polls.push(poll);
                }
            }
        }
    }

    fn check_all_reads(&mut self) {
        if self.model.current().is_none() {
            assert_eq!(self.ask(&request("GET", "")).status, 404);
            return;
        }
        let offsets = self.offsets.clone();
        let past = offsets.iter().filter_map(|(offset, place)| self.one_past(offset, *place));
        for (offset, place) in offsets.clone().into_iter().chain(past.collect::<Vec<_>>()) {
            let response = self.ask(&request("GET", &format!("offset={offset}")));
            match self.expect(Pick::At(place)) {
                Expected::From(at) => drop(self.check_chunk(at, &response)),
                refused @ (Expected::Missing | Expected::Gone(_)) => self.check_refused(&refused, &response),
            }
        }
        let whole = self.ask(&request("GET", ""));
        let Expected::From(at) = self.expect(Pick::Start) else { panic!("the stream must exist") };
        self.read_on(at, whole);
    }

    /// After the last request, the alarm alone completes everything.
    fn finish_by_alarms(&mut self) {
        for reader in &mut self.readers {
            reader.client.disconnect(&self.world);
        }
        for poll in self.polls.drain(..) {
            poll.poll.time_out(&mut self.world);
        }
        (self.world.rotates, self.world.tells_mirror, self.world.reports) = (true, true, true);
        self.world.announces = true;
        self.restart();
        let mut rings = 0;
        while let Some(at) = self.world.alarm_at() {
            self.world.now = self.world.now.max(at);
            self.world.ring();
            rings += 1;
            assert!(rings < 200, "the alarm never ends");
        }
        self.world.assert_nothing_is_forgotten();
        self.world.assert_bucket_is_tidy();
        let life = self.model.current();
        let ends = life.is_none_or(|life| life.ttl.is_some());
        let is_kept = life.is_some_and(|life| life.keeping.unwrap_or(self.model.defaults).millis.is_none());
        assert!(is_kept && !ends || self.world.bucket.objects.is_empty(), "objects are left in the bucket");
        if self.mirrors == Some(true) {
            self.world.assert_mirror_is_true();
        }
        if self.registers == Some(true) {
            self.check_registry_events();
        }
        if !ends {
            self.check_all_reads();
        }
    }
}

fn is_in_bucket(effect: &Effect) -> bool {
    matches!(effect, Effect::Put(_) | Effect::Delete(_))
}

fn registries(registers: bool) -> Registries {
    if registers { Registries::One } else { Registries::Off }
}

fn retention(random: &mut fastrand::Rng) -> Option<Retention> {
    let none = Keeping::default();
    match random.u32(0..4) {
        0 => {
            let seconds = random.u64(1..12);
            Some((seconds.to_string(), Keeping { millis: Some(seconds * 1000), ..none }))
        }
        1 => {
            let bytes = [1, 7, 40, 300, 5000][random.usize(0..5)];
            Some((format!("bytes={bytes}"), Keeping { bytes: Some(bytes), ..none }))
        }
        _ => None,
    }
}

fn request(method: &str, query: &str) -> Request {
    let mut request = Request::parse(method);
    if !query.is_empty() {
        request.url.push_str(&format!("?{query}"));
    }
    request
}

fn with_producer(request: Request, producer: Option<&Producer>, closes: bool) -> Request {
    let request = if closes { request.header("stream-closed", "true") } else { request };
    let Some((id, epoch, seq)) = producer else { return request };
    request
        .header("producer-id", id)
        .header("producer-epoch", &epoch.to_string())
        .header("producer-seq", &seq.to_string())
}

fn expecting(request: Request, expected: Option<&(String, Place)>) -> Request {
    match expected {
        Some((offset, _)) => request.header("stream-expected-offset", offset),
        None => request,
    }
}

fn empty(kind: Kind) -> Content {
    match kind {
        Kind::Json => Content::Messages(Vec::new()),
        Kind::Text | Kind::Binary => Content::Bytes(Vec::new()),
    }
}

/// Whether the text may be split there.
fn is_boundary(content: &Content, at: usize) -> bool {
    match content {
        Content::Messages(_) => true,
        Content::Bytes(bytes) => {
            std::str::from_utf8(&bytes[at..]).is_ok() || std::str::from_utf8(bytes).is_err()
        }
    }
}

/// Cursors never decrease (PROTOCOL.md 10.1).
fn later_cursor(client: u64, cursor: Option<&str>) -> u64 {
    let cursor = cursor.expect("a live answer has a cursor").parse().unwrap();
    assert!(cursor >= client, "{cursor} after {client}");
    cursor
}
