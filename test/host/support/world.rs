//! A world with one stream in it: the edge's route, the object as `src/cloudflare/object/stream_object.rs` runs it, real
//! SQL, recorded sockets, and time in the test's hand.

use std::path::Path;

use ::http::Method;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::target::{Target, stream_path};
use durable_streams::object::fetch::Fetched;
use durable_streams::object::mirror::Delivery;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::registry::Report;
use durable_streams::object::rotation::Work;
use durable_streams::object::{Answer, Error, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::names::header::STREAM_STRANGER;
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::registry::Registries;
use durable_streams::protocol::reply::Reply;
use durable_streams::storage::Failure;
use durable_streams::storage::message_row::APPEND_MAX_BYTES;
use durable_streams::storage::segment_file;
use durable_streams::stream::retain::RetentionDefaults;
use durable_streams::stream::rotate::SegmentLimits;

use super::bucket::HostBucket;
use super::http::{Request, Response, STREAM_PATH};
use super::mirror::HostMirror;
use super::registry::HostRegistry;
use super::sockets::{HostSockets, SocketId};
use super::sql::HostSql;

/// When every world begins: 2030-01-01T00:00:00Z.
pub(crate) const START: Millis = 1_893_456_000_000;
/// What `wrangler.toml` has.
pub(crate) const CHUNK_MAX_BYTES: usize = 1 << 20;

/// The world.
pub(crate) struct World {
    pub(crate) sql: HostSql,
    pub(crate) sockets: HostSockets,
    pub(crate) now: Millis,
    pub(crate) alarm_at: Option<Millis>,
    /// How often the alarm was set: billed as a row each.
    pub(crate) alarms_set: u64,
    /// Whether announcements follow each write at once; else the test calls [`World::announce`].
    pub(crate) announces: bool,
    /// What the object has put into the bucket.
    pub(crate) bucket: HostBucket,
    /// What happens while a read waits for the bucket.
    pub(crate) meanwhile: Meanwhile,
    /// Whether what there is to do in the bucket is done after each request; else the test calls [`World::work`].
    pub(crate) rotates: bool,
    /// The index of the stream's segments, which it tells if [`World::limit_mirror`] says so.
    pub(crate) mirror: HostMirror,
    /// Whether that is told after each request; else the test calls [`World::tell_mirror`].
    pub(crate) tells_mirror: bool,
    /// The registry, to which the stream reports if [`World::limit_registries`] says so.
    pub(crate) registry: HostRegistry,
    /// Whether it does after each request; else the test calls [`World::report`].
    pub(crate) reports: bool,
    object: Object,
    settings: Settings,
}

/// What happens while a read waits for the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meanwhile {
    Nothing,
    Rotation,
    /// Time passes, and the alarm rings.
    Alarm(Millis),
    LostMemory,
    Deletion,
    /// A deletion, and a creation of the same.
    AnotherLife,
}

/// What the object gives the edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A response.
    Answered(Response),
    /// A socket, and the headers that came with it.
    Parked(SocketId, Response),
}

impl World {
    pub(crate) fn new() -> World {
        World::with(HostSql::in_memory(), CHUNK_MAX_BYTES)
    }

    /// A world whose reads give at most so many bytes.
    pub(crate) fn with_chunks(chunk_max_bytes: usize) -> World {
        World::with(HostSql::in_memory(), chunk_max_bytes)
    }

    pub(crate) fn on_disk(path: &Path) -> World {
        World::with(HostSql::on_disk(path), CHUNK_MAX_BYTES)
    }

    fn with(sql: HostSql, chunk_max_bytes: usize) -> World {
        let settings = Settings {
            long_poll_timeout: 20_000,
            chunk_max_bytes,
            segments: None,
            guarded: false,
            hides_public: false,
            mirrors: false,
            registries: Registries::Off,
            producers: ProducerLimits::SERVED,
            retention: RetentionDefaults::default(),
        };
        World {
            sql,
            sockets: HostSockets::default(),
            now: START,
            alarm_at: None,
            alarms_set: 0,
            announces: true,
            bucket: HostBucket::default(),
            meanwhile: Meanwhile::Nothing,
            rotates: true,
            mirror: HostMirror::default(),
            tells_mirror: true,
            registry: HostRegistry::new(settings),
            reports: true,
            object: Object::new(settings),
            settings,
        }
    }

    /// A world in which some steps have been taken.
    #[track_caller]
    pub(crate) fn after(steps: &[&str]) -> World {
        let mut world = World::new();
        world.run(steps);
        world
    }

    /// Takes steps: requests that succeed, `WAIT 10s`, `WAIT 5ms`, `RESTART`, `RING`.
    #[track_caller]
    pub(crate) fn run(&mut self, steps: &[&str]) {
        for step in steps {
            match step.split_once(' ') {
                Some(("WAIT", time)) => self.now += millis(time),
                _ if *step == "RESTART" => self.restart(),
                _ if *step == "RING" => self.ring(),
                _ => {
                    let response = self.ask(step);
                    assert!(response.status < 300, "{step} gave {response:?}");
                }
            }
        }
    }

    /// The object loses its memory; storage and sockets stay.
    pub(crate) fn restart(&mut self) {
        self.object = Object::new(self.settings);
    }

    /// Other bounds from now on.
    pub(crate) fn limit_chunks(&mut self, chunk_max_bytes: usize) {
        self.settings.chunk_max_bytes = chunk_max_bytes;
        self.restart();
    }

    /// Reading takes a token from now on.
    pub(crate) fn guard(&mut self) {
        self.settings.guarded = true;
        self.restart();
    }

    /// The same, of a deployment without public streams.
    pub(crate) fn guard_all(&mut self) {
        self.settings.hides_public = true;
        self.guard();
    }

    /// Other segments from now on.
    pub(crate) fn limit_segments(&mut self, segments: Option<SegmentLimits>) {
        self.settings.segments = segments;
        self.restart();
    }

    /// Whether there is a mirror from now on.
    pub(crate) fn limit_mirror(&mut self, mirrors: bool) {
        self.settings.mirrors = mirrors;
        self.restart();
    }

    /// Other bounds of producers; what is stored already was written with the old ones.
    pub(crate) fn limit_producers(&mut self, producers: ProducerLimits) {
        self.settings.producers = producers;
        self.restart();
    }

    /// Which registries there are from now on.
    pub(crate) fn limit_registries(&mut self, registries: Registries) {
        self.settings.registries = registries;
        self.restart();
    }

    /// Other retention from now on, of streams that do not say themselves.
    pub(crate) fn retain(&mut self, retention: RetentionDefaults) {
        self.settings.retention = retention;
        self.restart();
    }

    /// Does all there is to do in the bucket.
    pub(crate) fn work(&mut self) {
        while let Some(work) = self.next_work() {
            if !self.bucket.take(&work) {
                break;
            }
            self.done(&work);
        }
        self.rearm();
    }

    /// What follows work in the bucket, done or not.
    pub(crate) fn rearm(&mut self) {
        self.rearm_for(None, None);
    }

    pub(crate) fn rearm_for(&mut self, mirror_at: Option<Millis>, registry_at: Option<Millis>) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        if self.object.rearm(&ports, mirror_at, registry_at, self.now).is_err() {
            self.alarm_at = Some(self.now);
        }
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        if let Some(at) = self.object.take_alarm() {
            self.alarm_at = Some(at);
            self.alarms_set += 1;
        }
    }

    /// Whatever is left to be done in the bucket is done some day, even if nobody ever asks again and memory is lost now.
    #[track_caller]
    pub(crate) fn assert_nothing_is_forgotten(&self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let work = Object::new(self.settings).next_work(&ports).unwrap();
        assert!(work.is_none() || self.alarm_at.is_some(), "no alarm for {work:?}");
    }

    /// The same of an end that the registry does not know.
    #[track_caller]
    pub(crate) fn assert_no_end_is_forgotten(&self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let report = Object::new(self.settings).next_report(&ports).unwrap();
        let is_end = report.is_some() && self.sql.has_ended();
        assert!(!is_end || self.alarm_at.is_some(), "no alarm for the end");
    }

    /// What there is to do in the bucket, unless storage fails.
    pub(crate) fn next_work(&mut self) -> Option<Work> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        self.object.next_work(&ports).ok().flatten()
    }

    /// Tells the mirror all there is to tell.
    pub(crate) fn tell_mirror(&mut self) {
        while let Some(delivery) = self.next_delivery() {
            if !self.mirror.take(&delivery) {
                let (_logged, again_at) = delivery.failed("it failed", self.now);
                return self.rearm_for(Some(again_at), None);
            }
            self.delivered(&delivery);
        }
    }

    /// What there is to tell the mirror, unless storage fails.
    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        self.object.next_delivery(&ports, self.now).ok().flatten()
    }

    /// The mirror has been told.
    pub(crate) fn delivered(&mut self, delivery: &Delivery) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let _logged = self.object.delivered(&ports, delivery);
    }

    /// Reports all there is to report.
    pub(crate) fn report(&mut self) {
        while let Some(report) = self.next_report() {
            if !self.registry.take(&report, self.now) {
                let (_logged, again_at) = report.failed("it failed", self.now);
                return self.rearm_for(None, Some(again_at));
            }
            self.reported(&report);
        }
    }

    /// What there is to report, unless storage fails.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        self.object.next_report(&ports).ok().flatten()
    }

    /// The registry has been told.
    pub(crate) fn reported(&mut self, report: &Report) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let _logged = self.object.reported(&ports, report);
    }

    /// Bounds of the object.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// Tells the registry something that the stream did not say.
    pub(crate) fn record(&mut self, text: &str) -> Result<Answered, Failure> {
        self.registry.answer("__registry__", text, self.now)
    }

    /// The stream as a listing shows it.
    pub(crate) fn described(&mut self) -> Option<String> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let described = self.object.answer(&ports, STREAM_PATH, &Call::Describe, &String::new, self.now);
        let answered = Answered::parse(&described.unwrap().answered.to_json());
        self.set_alarm();
        self.do_what_follows();
        let Answered::Described(described) = answered else { panic!("{answered:?}") };
        described.map(|described| serde_json::to_string(&described).unwrap())
    }

    /// The mirror has a row for each segment in the bucket, and no other.
    #[track_caller]
    pub(crate) fn assert_mirror_is_true(&self) {
        let rows = self.mirror.rows();
        assert_eq!(rows, self.sql.segments_as_mirrored());
        assert_eq!(rows.len(), self.bucket.objects.len());
    }

    /// The bucket holds what the rows say, whole, and nothing else.
    #[track_caller]
    pub(crate) fn assert_bucket_is_tidy(&self) {
        let keys: Vec<String> = self.sql.segment_keys();
        assert!(self.bucket.objects.keys().eq(keys.iter()), "{:?}, but {keys:?}", self.bucket.objects.keys());
        for (key, object) in &self.bucket.objects {
            segment_file::parse(object).unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
        }
    }

    /// It has been done.
    pub(crate) fn done(&mut self, work: &Work) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let _logged = done(&mut self.object, &ports, work, self.now);
    }

    /// Which of these keys the object does not know.
    pub(crate) fn orphans(&mut self, keys: &[String]) -> Result<Vec<String>, Failure> {
        self.unknown_of(keys, false)
    }

    /// The same, before they are deleted; then comes [`World::swept`].
    pub(crate) fn sweep(&mut self, keys: &[String]) -> Result<Vec<String>, Failure> {
        self.unknown_of(keys, true)
    }

    fn unknown_of(&mut self, keys: &[String], deletes: bool) -> Result<Vec<String>, Failure> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let call = Call::Orphans { keys: keys.to_vec(), deletes };
        let said = self.object.answer(&ports, STREAM_PATH, &call, &String::new, self.now)?;
        let Answered::Orphans(orphans) = said.answered else { panic!("{said:?}") };
        Ok(orphans)
    }

    /// They are no longer in the bucket, or they are.
    pub(crate) fn swept(&mut self) {
        self.object.swept();
    }

    /// Sends a request that must be answered and not parked.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str) -> Response {
        self.send_answered(&Request::parse(request))
    }

    #[track_caller]
    pub(crate) fn send_answered(&mut self, request: &Request) -> Response {
        match self.send(request) {
            Outcome::Answered(response) => response,
            Outcome::Parked(_, head) => panic!("{request:?} was parked: {head:?}"),
        }
    }

    /// Sends a request: the edge's part, and what scripts see of the answer where nobody guards the streams.
    pub(crate) fn send(&mut self, request: &Request) -> Outcome {
        let is_script = request.headers.iter().any(|(name, _)| name == "origin");
        match self.send_unseen(request) {
            Outcome::Answered(response) if is_script && !self.settings.guarded => {
                Outcome::Answered(response.with_any_origin())
            }
            outcome @ (Outcome::Answered(_) | Outcome::Parked(..)) => outcome,
        }
    }

    fn send_unseen(&mut self, request: &Request) -> Outcome {
        let method: Method = request.method.parse().unwrap();
        match route(&method, &Target::of(&request.url)) {
            Route::Health => Outcome::Answered(Response::of_reply(Reply::health("open"))),
            Route::Preflight => {
                let asked = request.headers.iter().find(|(name, _)| name == "access-control-request-headers");
                Outcome::Answered(Response::of_reply(Reply::preflight(asked.map(|(_, value)| value.clone()))))
            }
            Route::Reply(reply) => Outcome::Answered(Response::of_reply(reply)),
            Route::Listing => panic!("a listing asks many objects, and there is one"),
            Route::Orphans => {
                let refused = Admin::of(&EdgeSettings::default()).orphans(&method, &request.url, None);
                Outcome::Answered(Response::of_reply(Reply::refused(&refused.unwrap_err())))
            }
            Route::Forward(path) | Route::LongPoll(path) | Route::Sse(path) => {
                assert_eq!(
                    stream_path(&request.url).as_deref(),
                    Some(path.as_str()),
                    "edge and object agree"
                );
                self.serve(&method, path.as_str(), request)
            }
        }
    }

    /// The object's part, from the body to the announcement.
    fn serve(&mut self, method: &Method, path: &str, request: &Request) -> Outcome {
        if request.body.len() > APPEND_MAX_BYTES {
            let refusal = Refusal::BodyTooLarge { max_bytes: APPEND_MAX_BYTES as u64 };
            return Outcome::Answered(Response::of_reply(Reply::refused(&refusal)));
        }
        let headers = &request.headers;
        // Another at each instant.
        let instant = self.now;
        let random = || format!("key-{instant}");
        let header = |name: &str| {
            headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
        };
        let head = RequestHead { method, url: &request.url, header: &header, random: &random };
        let command = match Command::parse(&head, &request.body) {
            Ok(command) => command,
            Err(refusal) => return Outcome::Answered(Response::of_reply(Reply::refused(&refusal))),
        };
        let is_stranger = self.settings.guarded && header(STREAM_STRANGER).is_some();
        let mut served = self
            .ask_object(is_stranger, &command, |object, ports, now| object.serve(ports, path, &command, now));
        let mut meanwhile = self.meanwhile;
        while let (Ok(Answer::Fetch(pending)), Command::Read(read)) = (&served, &command) {
            let fetched: Vec<Fetched> =
                pending.fetches.iter().map(|fetch| self.bucket.fetch(fetch)).collect();
            self.happen(meanwhile, path, &request.url);
            meanwhile = Meanwhile::Nothing;
            served = self.ask_object(is_stranger, &command, |object, ports, now| {
                object.resume(ports, read, (pending, &fetched), now)
            });
        }
        self.do_what_follows();
        self.outcome(served)
    }

    /// What strangers ask is admitted first, each time.
    fn ask_object(
        &mut self,
        is_stranger: bool,
        command: &Command<'_>,
        serve: impl Fn(&mut Object, &Ports<'_, HostSockets>, Millis) -> Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let (object, now) = (&mut self.object, self.now);
        let admitted = if is_stranger { object.admit_stranger(&ports, command, now) } else { Ok(()) };
        let served = admitted.and_then(|()| serve(object, &ports, now));
        self.set_alarm();
        served
    }

    fn outcome(&mut self, served: Result<Answer, Error>) -> Outcome {
        match served {
            Ok(Answer::Reply(reply)) => Outcome::Answered(Response::of_reply(reply)),
            Ok(Answer::Fetch(_)) => panic!("only reads are cold, and they were thawed"),
            Ok(Answer::Ask(asking)) => panic!("there is no other stream: {asking:?}"),
            Ok(Answer::Park(park)) => {
                let head = Response::of_reply(park.head.clone());
                Outcome::Parked(self.sockets.accept(&park), head)
            }
            Err(Error::Refused(refusal)) => Outcome::Answered(Response::of_reply(Reply::refused(&refusal))),
            Err(Error::Failed(_)) => Outcome::Answered(Response::of_reply(Reply::failed())),
        }
    }

    /// What does not hold up an answer.
    fn do_what_follows(&mut self) {
        if self.rotates && self.object.may_have_work() {
            self.work();
        }
        if self.tells_mirror && self.object.may_have_notices() {
            self.tell_mirror();
        }
        if self.reports && self.object.may_have_reports() {
            self.report();
        }
        if self.announces {
            self.announce();
        }
    }

    fn happen(&mut self, meanwhile: Meanwhile, path: &str, url: &str) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Rotation => self.work(),
            Meanwhile::Alarm(after) => {
                self.now += after;
                self.ring();
                self.work();
            }
            Meanwhile::LostMemory => self.restart(),
            Meanwhile::Deletion | Meanwhile::AnotherLife => {
                self.object.serve(&ports, path, &Command::Delete, self.now).unwrap();
                if meanwhile == Meanwhile::AnotherLife {
                    let text = |name: &str| (name == "content-type").then(|| "text/plain".to_owned());
                    let random = || format!("key-{}", self.now);
                    let put = RequestHead { method: &Method::PUT, url, header: &text, random: &random };
                    let put = Command::parse(&put, b"other").unwrap();
                    self.object.serve(&ports, path, &put, self.now).unwrap();
                }
            }
        }
    }

    /// Tells the live readers, if there is anything to tell. A failure is logged and nothing else.
    pub(crate) fn announce(&mut self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        if self.object.has_news() {
            let _logged = self.object.announce(&ports, self.now);
        }
    }

    /// The alarm rings, whether or not it is time; the platform rings a failed one again.
    pub(crate) fn ring(&mut self) {
        self.alarm_at = None;
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let rung = self.object.ring(&ports, self.now);
        if self.reports {
            self.report();
        }
        if self.rotates {
            self.work();
        }
        if self.tells_mirror {
            self.tell_mirror();
        }
        match rung {
            Ok(_) => self.rearm(),
            Err(_) => self.alarm_at = Some(self.now),
        }
    }
}

fn done(
    object: &mut Object,
    ports: &Ports<'_, HostSockets>,
    work: &Work,
    now: Millis,
) -> Result<(), Failure> {
    match work {
        Work::Encode => Ok(()),
        Work::Upload(upload) => object.uploaded(ports, upload, now),
        Work::Collect(collection) => object.collected(ports, collection, now),
    }
}

/// Takes the steps, sends the request and holds the response against the expectation; then once more, with the
/// object's memory lost before the request: what is stored must say the same.
#[track_caller]
pub(crate) fn check(state: &[&str], request: &str, expected: &str) {
    for restarts in [false, true] {
        let mut world = World::after(state);
        if restarts {
            world.restart();
        }
        world.ask(request).assert_is(expected);
    }
}

/// `10s`, `5ms`.
pub(super) fn millis(text: &str) -> Millis {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().unwrap(),
        None => text.strip_suffix('s').unwrap().parse::<Millis>().unwrap() * 1000,
    }
}
