//! Simulation of forks: seeded histories of a few URLs that fork each other, with calls that are lost, late or
//! repeated, crashing objects, and failing storage. Every step is compared with the model in `family_model.rs`.
//! `SEEDS=100000 cargo test --release --test host simulation` runs more histories, and `SEED=n` replays one.

use std::collections::BTreeMap;

use durable_streams::object::effect::Effect;
use durable_streams::object::links::FORKS_ASKED_MAX;
use durable_streams::protocol::call::Call;
use durable_streams::protocol::lifetime::{Lifetime, rfc3339};
use durable_streams::protocol::offset::Offset;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

use crate::family_model::{Born, Granted, Model, Origin, PATHS, Place, Presence, Put, Units, units};
use crate::model::Kind;
use crate::support::bucket::BucketFault;
use crate::support::family::{Begun, Doing};
use crate::support::histories::{History, Trace, assert_repeats, play};
use crate::support::objects::{Fate, TaskId};
use crate::support::sql::Fault;
use crate::support::{Family, Outcome, Request, Response};

const SEEDS_DEFAULT: u64 = 600;
const STEPS_MAX: u32 = 160;
/// How long a source may grant a reference. A creation that waits twice as long is given up.
const VALID: u64 = 30_000;

#[test]
fn simulation_of_forks() {
    play::<Simulation>(SEEDS_DEFAULT);
}

#[test]
fn simulation_of_forks_repeats_itself() {
    assert_repeats::<Simulation>();
}

struct Simulation {
    random: fastrand::Rng,
    family: Family,
    model: Model,
    /// PUTs of forks in flight.
    creations: BTreeMap<TaskId, Creation>,
    /// Reads in flight.
    reads: BTreeMap<TaskId, Reading>,
    kind: Kind,
    has_retention: bool,
    /// Whether storage and the bucket may fail.
    has_faults: bool,
    /// Whether calls may be lost, late, or repeated.
    has_losses: bool,
    /// Whether most calls arrive a second time, late.
    has_echoes: bool,
    /// Whether objects may crash.
    has_crashes: bool,
    trace: Trace,
}

/// The PUT of a fork in flight.
struct Creation {
    at: usize,
    put: Put,
    valid_until: u64,
    /// The answer of its source.
    found: Option<Result<Granted, u16>>,
    /// Whether a call has failed.
    has_failed: bool,
}

/// A read in flight.
#[derive(Clone, Copy)]
struct Reading {
    at: usize,
    life: usize,
    from: Pick,
    waits: bool,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Pick {
    Start,
    Now,
    At(Place),
}

impl History for Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = fastrand::Rng::with_seed(seed);
        let chunk_max_bytes = [4, 16, 64, 1 << 20][random.usize(0..4)];
        let (appends_max, bytes_max) =
            [(1, 1), (2, 1000), (3, 12), (1000, 30), (1000, 1 << 20)][random.usize(0..5)];
        let closed_bytes_min = [1, 8][random.usize(0..2)];
        let segments = SegmentLimits { appends_max, bytes_max, closed_bytes_min };
        let segments = (random.u32(0..8) > 0).then_some(segments);
        let has_retention = segments.is_some() && random.bool();
        let defaults = match random.u32(0..6) {
            0 if has_retention => RetentionDefaults { segments: Some(random.u64(1..4)), seconds: None },
            1 if has_retention => RetentionDefaults { segments: None, seconds: Some(random.u64(1..30)) },
            _ => RetentionDefaults::default(),
        };
        Simulation {
            family: Family::with(seed, chunk_max_bytes, segments, defaults),
            model: Model::new(),
            creations: BTreeMap::new(),
            reads: BTreeMap::new(),
            kind: [Kind::Json, Kind::Binary][random.usize(0..2)],
            has_retention,
            has_faults: random.u32(0..3) == 0,
            has_losses: random.bool(),
            has_echoes: random.u32(0..4) == 0,
            has_crashes: random.bool(),
            trace: Trace::default(),
            random,
        }
    }

    fn run(&mut self) {
        self.trace.log(format_args!("{:?}", self.family.settings));
        self.create(0, None);
        for _ in 0..self.random.u32(20..STEPS_MAX) {
            self.let_time_pass();
            self.step();
        }
        self.finish();
    }

    fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }
}

impl Simulation {
    fn step(&mut self) {
        let at = self.random.usize(0..PATHS.len());
        match self.random.u32(0..100) {
            0..=17 => self.append(at),
            18..=19 => self.close(at),
            20..=24 => self.create(at, None),
            25..=37 => self.fork(at),
            38..=42 => self.delete(at),
            43..=54 => self.read(at),
            55..=56 => self.look_at_head(at),
            57..=59 if self.has_crashes => self.crash(at),
            60..=63 => self.deliver(),
            _ => {
                for _ in 0..self.random.u32(1..6) {
                    self.go_on();
                }
            }
        }
    }

    fn let_time_pass(&mut self) {
        self.family.now += match self.random.u32(0..40) {
            0..=33 => self.random.u64(0..50),
            34..=38 => self.random.u64(0..3_000),
            _ => self.random.u64(0..45_000),
        };
        if let Some((at, path)) = self.family.next_alarm()
            && at <= self.family.now
            && self.random.bool()
        {
            self.ring(&path);
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let now = self.family.now;
        self.trace.log(format_args!("{now} {what}"));
    }

    // Faults.

    fn arm(&mut self, path: &str) -> Option<Fault> {
        if !self.has_faults || self.random.u32(0..10) > 0 {
            return None;
        }
        let fault = match self.random.u32(0..4) {
            0 => Fault::Commit,
            1 => Fault::CommitButStored,
            _ => Fault::Statement(self.random.u32(0..6)),
        };
        self.family.member(path).sql.arm(fault);
        Some(fault)
    }

    /// Whether the fault occurred.
    fn disarm(&mut self, path: &str, fault: Option<Fault>) -> bool {
        let struck = self.family.member(path).sql.disarm() && fault.is_some();
        if struck {
            self.note(format_args!("  {fault:?} of {path}"));
        }
        struck
    }

    fn fate(&mut self) -> Fate {
        if self.has_echoes && self.random.u32(0..4) > 0 {
            return Fate::Twice;
        }
        if !self.has_losses || self.random.u32(0..4) > 0 {
            return Fate::Arrives;
        }
        [Fate::Lost, Fate::Late, Fate::Unanswered, Fate::Twice][self.random.usize(0..4)]
    }

    /// Compares each stream's stored presence with the model: the streams that began and ended in this step.
    fn look(&mut self, born: Option<(usize, Born)>, deleted: Option<usize>) -> bool {
        let mut is_born = false;
        let mut born = born;
        for (at, path) in PATHS.iter().enumerate() {
            let stored = self.family.member(path).sql.presence();
            let Some(stored) = stored else {
                assert!(self.model.lives(at).is_empty(), "{path} was never created");
                continue;
            };
            if stored.incarnation == self.model.lives(at).len() + 1 {
                let (of, life) = born.take().unwrap_or_else(|| panic!("{path} exists without a PUT"));
                assert_eq!((of, stored.live), (at, 1), "another stream was to be created");
                self.model.be_born(at, life, stored.first_segment, self.family.now);
                is_born = true;
            }
            let now = self.family.now;
            let is_deleted = deleted == Some(at);
            self.model.see(at, (stored.incarnation, stored.live), is_deleted, now);
            self.model.trim(at, stored.first_segment);
        }
        if is_born {
            self.look_at_newborn();
        }
        is_born
    }

    /// Learns the tail of a new stream from the server, unless the stream expired before it was created.
    fn look_at_newborn(&mut self) {
        let at = self.model.newborn();
        let response = self.ask_at_once(&request_head(at));
        let tail = (response.status == 200).then(|| Offset::parse(response.next()).unwrap());
        self.model.born_tail(at, tail);
        self.look(None, None);
        assert_eq!(tail.is_some(), self.model.presence(at) == Presence::Live);
    }

    fn ask_at_once(&mut self, request: &Request) -> Response {
        match self.family.begin(request) {
            Begun::Done(Outcome::Answered(response)) => response,
            Begun::Done(Outcome::Parked(..)) | Begun::Waits(_) => {
                panic!("{request:?} must be answered at once")
            }
        }
    }

    /// Sends a request that may fail; returns its result, and whether a fault occurred.
    fn begin(&mut self, at: usize, request: &Request) -> (Begun, bool) {
        let fault = self.arm(PATHS[at]);
        let begun = self.family.begin(request);
        let what = match &begun {
            Begun::Done(Outcome::Answered(response)) => {
                format!("{} {}", response.status, response.header("stream-next-offset").unwrap_or("-"))
            }
            Begun::Done(Outcome::Parked(..)) => "parked".to_owned(),
            Begun::Waits(id) => format!("waits as {id}"),
        };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let (method, url) = (&request.method, &request.url["https://streams.test/v1/stream/".len()..]);
        self.note(format_args!("{method} {url} {:?} {body:?}: {what}", request.headers));
        let struck = self.disarm(PATHS[at], fault);
        (begun, struck)
    }

    // Writing.

    fn create(&mut self, at: usize, origin: Option<Origin>) {
        let kind = if self.random.u32(0..12) == 0 { Kind::Text } else { self.kind };
        let named = origin.is_none() || self.random.u32(0..4) == 0;
        let lifetime = match self.random.u32(0..10) {
            0..=1 => Lifetime::Ttl { seconds: self.random.u64(1..60) },
            2 => Lifetime::ExpiresAt { at: self.family.now + self.random.u64(1..60_000) },
            _ => Lifetime::Unlimited,
        };
        let retention = match self.random.u32(0..4) {
            0 if self.has_retention => Some(format!("bytes={}", [1, 8, 30][self.random.usize(0..3)])),
            1 if self.has_retention => Some(self.random.u32(1..20).to_string()),
            _ => None,
        };
        let body = if self.random.bool() { self.body(self.kind) } else { Vec::new() };
        let closed = self.random.u32(0..12) == 0;
        let put = Put { kind: named.then_some(kind), lifetime, retention, closed, body, origin };
        let mut request = request("PUT", at, "").body(put.body.clone());
        let mut header = |name: &str, value: Option<String>| {
            request.headers.extend(value.map(|value| (name.to_owned(), value)));
        };
        header("content-type", put.kind.map(|kind| kind.content_type().to_owned()));
        match put.lifetime {
            Lifetime::Ttl { seconds } => header("stream-ttl", Some(seconds.to_string())),
            Lifetime::ExpiresAt { at } => header("stream-expires-at", Some(rfc3339(at))),
            Lifetime::Unlimited => {}
        }
        header("stream-retention", put.retention.clone());
        header("stream-closed", put.closed.then(|| "true".to_owned()));
        if let Some(Origin { source, anchor, sub_offset }) = &put.origin {
            header("stream-forked-from", Some(format!("/v1/stream/{}", PATHS[*source])));
            header("stream-fork-offset", anchor.map(|(offset, _)| offset.to_string()));
            header("stream-fork-sub-offset", (*sub_offset > 0).then(|| sub_offset.to_string()));
        }
        self.send_put(at, put, &request);
    }

    fn send_put(&mut self, at: usize, put: Put, request: &Request) {
        self.model.may_touch(at, self.family.now);
        let (begun, struck) = self.begin(at, request);
        let born = put.origin.is_none().then(|| put.born(None)).flatten();
        let expected = born.clone();
        let is_born = self.look(born.map(|born| (at, born)), None);
        let response = match begun {
            Begun::Waits(id) => {
                assert!(put.origin.is_some() && self.model.presence(at) == Presence::Absent);
                let valid_until = self.family.now + VALID;
                let creation = Creation { at, put, valid_until, found: None, has_failed: false };
                self.creations.insert(id, creation);
                return;
            }
            Begun::Done(Outcome::Answered(response)) => response,
            Begun::Done(Outcome::Parked(..)) => panic!("a PUT is never parked"),
        };
        if struck && response.status == 500 {
            return;
        }
        let status = match self.model.presence(at) {
            _ if is_born => 201,
            Presence::Live => self.model.put_again(at, &put, self.family.now),
            Presence::Gone => 409,
            Presence::Absent => match &put.origin {
                // A PUT that is refused in any case is refused at once.
                Some(_) if put.kind.is_some_and(|kind| units(kind, &put.body).is_none()) => 400,
                Some(origin) if origin.source == at => 404,
                Some(_) => {
                    let asked = self.creations.values().filter(|creation| creation.at == at).count();
                    assert!(asked >= FORKS_ASKED_MAX, "{response:?}");
                    503
                }
                None => {
                    assert!(expected.is_none(), "the PUT must create the stream");
                    400
                }
            },
        };
        assert_eq!(response.status, status, "{response:?}");
    }

    fn fork(&mut self, at: usize) {
        let mut source = self.random.usize(0..PATHS.len());
        if source == at && self.random.u32(0..10) > 0 {
            source = (source + 1) % PATHS.len();
        }
        if self.model.presence(source) != Presence::Live && self.random.u32(0..4) > 0 {
            // Prefer an existing source.
            source = (0..PATHS.len()).find(|at| self.model.presence(*at) == Presence::Live).unwrap_or(source);
        }
        let anchor = if self.random.bool() { self.pick_offset(source) } else { None };
        let sub_offset = if self.random.u32(0..3) == 0 { self.random.u64(0..9) } else { 0 };
        self.create(at, Some(Origin { source, anchor, sub_offset }));
    }

    /// Some issued offset of the stream, and its meaning.
    fn pick_offset(&mut self, at: usize) -> Option<(Offset, Place)> {
        let offsets = self.model.offsets(at);
        if offsets.is_empty() {
            return None;
        }
        // Prefer newer offsets, because those of older incarnations are many.
        let reverse = self.random.usize(0..offsets.len().min(12));
        offsets.iter().nth_back(reverse).map(|(offset, place)| (*offset, *place))
    }

    fn body(&mut self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Json => {
                let messages: Vec<String> =
                    (0..self.random.usize(1..4)).map(|_| self.random.u32(0..1000).to_string()).collect();
                format!("[{}]", messages.join(",")).into_bytes()
            }
            Kind::Text | Kind::Binary => {
                (0..self.random.usize(1..9)).map(|_| self.random.alphanumeric() as u8).collect()
            }
        }
    }

    fn append(&mut self, at: usize) {
        let kind = self.model.kind(at).unwrap_or(self.kind);
        let sent = if self.random.u32(0..25) == 0 { Kind::Text } else { kind };
        let closes = self.random.u32(0..40) == 0;
        let body = self.body(kind);
        let mut request =
            request("POST", at, "").header("content-type", sent.content_type()).body(body.clone());
        if closes {
            request = request.header("stream-closed", "true");
        }
        let units = units(kind, &body).unwrap();
        self.write(at, &request, (sent == kind, units, closes));
    }

    fn close(&mut self, at: usize) {
        let request = request("POST", at, "").header("stream-closed", "true");
        self.write(at, &request, (true, Vec::new(), true));
    }

    fn write(&mut self, at: usize, request: &Request, (fits, units, closes): (bool, Units, bool)) {
        self.model.may_touch(at, self.family.now);
        let (begun, struck) = self.begin(at, request);
        let Begun::Done(Outcome::Answered(response)) = begun else {
            panic!("a POST must be answered at once")
        };
        let now = self.family.now;
        if struck && response.status == 500 {
            self.look(None, None);
            let head = self.ask_at_once(&request_head(at));
            self.look(None, None);
            if head.status == 200 {
                let tail = Offset::parse(head.next()).unwrap();
                let is_closed = head.header("stream-closed").is_some();
                self.model.write_if_stored(at, units, (tail, is_closed));
            }
            return;
        }
        if response.status == 204 {
            assert!(fits, "an append of another type must be refused");
            let tail = Offset::parse(response.next()).unwrap();
            self.model.write(at, units, (tail, closes), now);
            assert_eq!(response.header("stream-closed").is_some(), self.model.is_closed(at));
        }
        self.look(None, None);
        let status = match self.model.presence(at) {
            Presence::Absent => 404,
            Presence::Gone => 410,
            Presence::Live if response.status == 204 => 204,
            Presence::Live => {
                assert!(!fits || (self.model.is_closed(at) && !request.body.is_empty()), "{response:?}");
                409
            }
        };
        assert_eq!(response.status, status, "{response:?}");
    }

    fn delete(&mut self, at: usize) {
        let was = self.model.presence(at);
        let (begun, struck) = self.begin(at, &request("DELETE", at, ""));
        let Begun::Done(Outcome::Answered(response)) = begun else {
            panic!("a DELETE must be answered at once")
        };
        let has_ended = response.status == 204 || struck;
        self.look(None, has_ended.then_some(at));
        if struck && response.status == 500 {
            return;
        }
        let status = match (was, self.model.presence(at)) {
            // The stream existed, or expired just now.
            (Presence::Live, Presence::Gone) => {
                [204, 410].into_iter().find(|status| *status == response.status)
            }
            (Presence::Live, Presence::Absent) => {
                [204, 404].into_iter().find(|status| *status == response.status)
            }
            (_, Presence::Gone) => Some(410),
            (_, Presence::Absent) => Some(404),
            (_, Presence::Live) => None,
        };
        assert_eq!(Some(response.status), status, "{response:?}");
    }

    fn look_at_head(&mut self, at: usize) {
        self.model.may_touch(at, self.family.now);
        let (begun, struck) = self.begin(at, &request_head(at));
        let Begun::Done(Outcome::Answered(response)) = begun else {
            panic!("a HEAD must be answered at once")
        };
        self.look(None, None);
        if struck && response.status == 500 {
            return;
        }
        match self.model.presence(at) {
            Presence::Absent => assert_eq!(response.status, 404, "{response:?}"),
            Presence::Gone => assert_eq!(response.status, 410, "{response:?}"),
            Presence::Live => {
                assert_eq!(response.status, 200, "{response:?}");
                assert_eq!(
                    response.header("stream-closed").is_some(),
                    self.model.is_closed(at),
                    "{response:?}"
                );
                self.model.learn_tail(at, Offset::parse(response.next()).unwrap());
            }
        }
    }

    // Reading.

    fn read(&mut self, at: usize) {
        let (query, from) = match self.random.u32(0..6) {
            0 => ("offset=-1".to_owned(), Pick::Start),
            1 => ("offset=now".to_owned(), Pick::Now),
            _ => match self.pick_offset(at) {
                Some((offset, place)) => {
                    let past = self.model.one_past(at, place).filter(|_| self.random.u32(0..3) == 0);
                    let one_past = Offset { position: offset.position + 1, ..offset };
                    let offset = if past.is_some() { one_past } else { offset };
                    (format!("offset={offset}"), Pick::At(past.unwrap_or(place)))
                }
                None => ("offset=-1".to_owned(), Pick::Start),
            },
        };
        let query = if self.random.u32(0..6) == 0 { format!("{query}&live=long-poll") } else { query };
        self.model.may_touch(at, self.family.now);
        let (begun, struck) = self.begin(at, &request("GET", at, &query));
        self.look(None, None);
        let life = self.model.lives(at).len();
        let reading = Reading { at, life, from, waits: query.ends_with("poll"), has_failed: struck };
        match begun {
            Begun::Waits(id) => {
                self.model.touch(at, self.family.now);
                self.reads.insert(id, reading);
            }
            Begun::Done(outcome) => self.check_read(reading, outcome),
        }
    }

    fn check_read(&mut self, reading: Reading, outcome: Outcome) {
        let Reading { at, from, .. } = reading;
        let response = match outcome {
            Outcome::Answered(response) => response,
            Outcome::Parked(socket, _) => {
                self.family.member(PATHS[at]).sockets.drop_socket(socket);
                let place = self.model.place(at, reading.life, from_of(from)).expect("the place has data");
                assert!(reading.waits && place == self.model.len(at) && !self.model.is_closed(at));
                return;
            }
        };
        match (self.model.presence(at), response.status) {
            (_, 500) => assert!(reading.has_failed, "{response:?}"),
            (Presence::Absent, status) => assert_eq!(status, 404, "{response:?}"),
            (Presence::Gone, status) => assert_eq!(status, 410, "{response:?}"),
            (Presence::Live, 200 | 204) => {
                let place = self.model.place(at, reading.life, from_of(from));
                let place = place.unwrap_or_else(|| panic!("{from:?} is dropped: {response:?}"));
                self.check_chunk(at, place, &response);
            }
            (Presence::Live, 410) => {
                assert!(
                    self.model.place(at, reading.life, from_of(from)).is_none(),
                    "{from:?} is not dropped"
                );
            }
            (Presence::Live, _) => panic!("{response:?}"),
        }
    }

    /// Compares one chunk with the model; returns the place after it.
    fn check_chunk(&mut self, at: usize, place: usize, response: &Response) -> usize {
        let next = self.model.check(at, place, &response.body);
        self.model.learn(at, Offset::parse(response.next()).unwrap(), next);
        let is_at_tail = next == self.model.len(at);
        let is_closed = is_at_tail && self.model.is_closed(at);
        assert_eq!(response.header("stream-up-to-date").is_some(), is_at_tail, "{response:?}");
        assert_eq!(response.header("stream-closed").is_some(), is_closed, "{response:?}");
        assert!(is_at_tail || next > place, "a read makes progress: {response:?}");
        next
    }

    /// Reads all existing streams, chunk by chunk, to their tails.
    fn check_all_reads(&mut self) {
        for (at, path) in PATHS.iter().enumerate() {
            let mut next = Some(("-1".to_owned(), None));
            while let Some((offset, place)) = next.take() {
                let outcome = match self.family.begin(&request("GET", at, &format!("offset={offset}"))) {
                    Begun::Done(outcome) => outcome,
                    Begun::Waits(id) => self.family.finish(id),
                };
                let Outcome::Answered(response) = outcome else { panic!("the read must be answered") };
                self.look(None, None);
                if self.model.presence(at) != Presence::Live {
                    assert!(matches!(response.status, 404 | 410), "{response:?}");
                    break;
                }
                assert_eq!(response.status, 200, "{path} at {offset}: {response:?}");
                let place = self.check_chunk(at, place.unwrap_or(self.model.earliest(at)), &response);
                if place < self.model.len(at) {
                    next = Some((response.next().to_owned(), Some(place)));
                }
            }
        }
    }

    // Requests and effects in flight.

    /// Advances a random task in flight.
    fn go_on(&mut self) {
        if self.family.tasks.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.family.tasks.len());
        let fate = self.fate();
        self.advance(index, fate);
    }

    fn advance(&mut self, index: usize, fate: Fate) {
        let (id, path) = (self.family.tasks[index].id, self.family.tasks[index].path.clone());
        let call = self.family.next_call(index);
        let touched = self.family.touches(index);
        let fault = touched.as_deref().and_then(|path| self.arm(path));
        self.arm_bucket(index);
        for path in [Some(&path), touched.as_ref()].into_iter().flatten() {
            self.model.may_touch(place_of(path), self.family.now);
        }
        let outcome = self.family.step(index, fate);
        let struck = touched.as_deref().is_some_and(|path| self.disarm(path, fault));
        self.note(format_args!("{id} of {path}: {call:?} to {touched:?}, {fate:?}: {outcome:.100?}"));
        let has_failed = struck || !matches!(fate, Fate::Arrives | Fate::Twice);
        let born = self.creations.get(&id).and_then(|creation| {
            let granted = creation.found.as_ref()?.as_ref().ok()?;
            Some((creation.at, creation.put.born(Some(granted))?))
        });
        let is_born = self.look(born.filter(|_| call.is_none()), None);
        if let Some(reading) = self.reads.get_mut(&id) {
            reading.has_failed |= has_failed && (call.is_some() || struck || fate == Fate::Lost);
        }
        if let (Some(creation), Some(sent)) = (self.creations.get_mut(&id), &call) {
            creation.has_failed |= has_failed;
            if matches!(sent.call, Call::Refer(_)) {
                creation.has_failed |= self.family.now > creation.valid_until;
                creation.found = Some(self.model.refer(&creation.put));
            }
        }
        if let Some(outcome) = outcome {
            self.check_outcome(id, outcome, (struck, is_born));
        }
    }

    fn arm_bucket(&mut self, index: usize) {
        let is_work = matches!(
            self.family.tasks[index].doing,
            Doing::Effect { effect: Effect::Put(_) | Effect::Delete(_), ended: None }
        );
        if is_work && self.has_faults && self.random.u32(0..4) == 0 {
            let faults = [BucketFault::Fails, BucketFault::FailsButStored];
            self.family.bucket.arm(faults[self.random.usize(0..2)]);
        }
    }

    fn check_outcome(&mut self, id: TaskId, outcome: Outcome, (struck, is_born): (bool, bool)) {
        if let Some(mut reading) = self.reads.remove(&id) {
            reading.has_failed |= struck;
            return self.check_read(reading, outcome);
        }
        let creation = self.creations.remove(&id).expect("only creations and reads are answered here");
        let Outcome::Answered(response) = outcome else { panic!("a PUT is never parked") };
        if creation.has_failed || (struck && response.status == 500) {
            // A failed call decides nothing about the fork.
            assert!(response.status == 503 || (struck && response.status == 500), "{response:?}");
            return assert!(struck || !is_born, "a 503 must not create the fork");
        }
        if response.status == 500 && self.family.now >= creation.valid_until + VALID {
            return assert!(!is_born, "a PUT that was given up must not create the fork");
        }
        let status = match (creation.found.expect("the source answered"), self.model.presence(creation.at)) {
            (Err(refused), _) => refused,
            (Ok(_), _) if is_born => 201,
            (Ok(_), Presence::Live) => self.model.is_as(creation.at, &creation.put),
            (Ok(_), Presence::Gone) => 409,
            (Ok(granted), Presence::Absent) => {
                assert!(
                    creation.put.born(Some(&granted)).is_none(),
                    "the fork must be created: {response:?}"
                );
                400
            }
        };
        assert_eq!(response.status, status, "{response:?}");
    }

    /// Delivers a delayed call.
    fn deliver(&mut self) {
        if self.family.late.is_empty() {
            return;
        }
        let index = self.random.usize(0..self.family.late.len());
        let sent = self.family.late[index].clone();
        self.note(format_args!("late: {sent:?}"));
        let fault = self.arm(&sent.to);
        self.family.deliver(index);
        self.disarm(&sent.to, fault);
        self.look(None, None);
    }

    fn crash(&mut self, at: usize) {
        let calls_arrive = self.has_losses && self.random.bool();
        let dropped = self.family.crash(PATHS[at], calls_arrive);
        self.note(format_args!("{} crashes, and {dropped:?} with it", PATHS[at]));
        for id in dropped {
            self.creations.remove(&id);
            self.reads.remove(&id);
        }
    }

    fn ring(&mut self, path: &str) {
        self.note(format_args!("{path} rings"));
        self.model.may_touch(place_of(path), self.family.now);
        let fault = self.arm(path);
        self.family.ring(path);
        self.disarm(path, fault);
        self.look(None, None);
    }

    // The end of a history.

    /// Ends the history without further faults: all tasks complete, the alarms do their work without requests,
    /// and then all streams equal the model.
    fn finish(&mut self) {
        self.note(format_args!("comes to rest"));
        let had_faults = std::mem::replace(&mut self.has_faults, false);
        (self.has_losses, self.has_echoes) = (false, false);
        self.complete_all_tasks();
        if self.random.bool() {
            self.check_all_reads();
        }
        if self.has_crashes && self.random.bool() {
            (0..PATHS.len()).for_each(|at| self.crash(at));
        }
        if had_faults {
            // After a fault, only the next request finds the leftovers.
            (0..PATHS.len()).for_each(|at| self.look_at_head(at));
        }
        self.alarms_ring();
        self.check_all_streams();
        for at in 0..PATHS.len() {
            self.delete((at + 2) % PATHS.len());
            if self.random.bool() {
                self.complete_all_tasks();
            }
        }
        self.complete_all_tasks();
        self.alarms_ring();
        self.check_all_streams();
        assert!(self.family.bucket.objects.is_empty());
        assert!((0..PATHS.len()).all(|at| self.model.presence(at) == Presence::Absent));
    }

    fn complete_all_tasks(&mut self) {
        while !self.family.tasks.is_empty() || !self.family.late.is_empty() {
            if self.random.u32(0..4) == 0 { self.deliver() } else { self.go_on() }
        }
    }

    fn alarms_ring(&mut self) {
        for _ in 0..1_000 {
            let Some((at, path)) = self.family.next_alarm() else { return };
            self.family.now = self.family.now.max(at);
            self.ring(&path);
            self.complete_all_tasks();
        }
        panic!("the alarms never end");
    }

    fn check_all_streams(&mut self) {
        self.check_all_reads();
        self.complete_all_tasks();
        self.family.assert_edges_are_true();
        self.family.assert_bucket_is_tidy();
        self.family.assert_nothing_is_left();
    }
}

fn request(method: &str, at: usize, query: &str) -> Request {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Request::parse(&format!("{method} /v1/stream/{}{query}", PATHS[at]))
}

fn request_head(at: usize) -> Request {
    request("HEAD", at, "")
}

fn place_of(path: &str) -> usize {
    PATHS.iter().position(|known| *known == path).expect("the path is one of PATHS")
}

fn from_of(pick: Pick) -> Option<Option<Place>> {
    match pick {
        Pick::Start => Some(None),
        Pick::At(place) => Some(Some(place)),
        Pick::Now => None,
    }
}
