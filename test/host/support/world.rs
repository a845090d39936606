//! A world with one stream in it: the edge's route, the object as `src/cloudflare/object/stream_object.rs` runs it, real
//! SQL, recorded sockets, and time in the test's hand.

use std::path::Path;

use ::http::Method;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::target::{Target, stream_path};
use durable_streams::object::effect::{Calling, Effect, Outcome as Ended};
use durable_streams::object::fetch::Fetched;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::segment_index::Delivery;
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
use super::shell::Shell;
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
    pub(crate) shell: Shell,
    /// What the driver has begun, the oldest first; how it has ended, if it has and the object does not know that yet.
    pub(crate) under_way: Vec<(Effect, Option<Ended>)>,
    /// Whether the next turn comes after each request; else the test calls [`World::announce`].
    pub(crate) announces: bool,
    /// What the object has put into the bucket.
    pub(crate) bucket: HostBucket,
    /// What happens while a read waits for the bucket.
    pub(crate) meanwhile: Meanwhile,
    /// Whether the bucket does at once what it is to do; else the test calls [`World::work`].
    pub(crate) rotates: bool,
    /// The index of the stream's segments, which it tells if [`World::limit_mirror`] says so.
    pub(crate) mirror: HostMirror,
    /// Whether that is told at once; else the test calls [`World::tell_mirror`].
    pub(crate) tells_mirror: bool,
    /// The registry, to which the stream reports if [`World::limit_registries`] says so.
    pub(crate) registry: HostRegistry,
    /// Whether it does at once; else the test calls [`World::report`].
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
            has_index: false,
            registries: Registries::Off,
            producers: ProducerLimits::SERVED,
            retention: RetentionDefaults::default(),
        };
        World {
            sql,
            sockets: HostSockets::default(),
            now: START,
            shell: Shell::default(),
            under_way: Vec::new(),
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
        self.under_way.clear();
        self.shell.lost_memory(self.now);
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
        self.settings.has_index = mirrors;
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

    // What the object does in its own time.

    /// When the alarm rings.
    pub(crate) fn alarm_at(&self) -> Option<Millis> {
        self.shell.alarm_at
    }

    pub(crate) fn alarms_set(&self) -> u64 {
        self.shell.alarms_set
    }

    /// Has the driver go on with the object, after something was asked of it.
    fn drive(&mut self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.drive(&mut self.object, &ports, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
    }

    /// The object learns how one of the effects that are under way has ended.
    pub(crate) fn end(&mut self, index: usize, ended: Ended) {
        let (effect, _) = self.under_way.remove(index);
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.done(&mut self.object, &ports, effect, ended, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
    }

    /// Carries out one of the effects that are under way: how it ends.
    pub(crate) fn carry_out(&mut self, index: usize) -> Ended {
        match &self.under_way[index].0 {
            effect @ (Effect::Put(_) | Effect::Delete(_)) => self.bucket.take(effect),
            Effect::Index(delivery) => self.mirror.take(delivery),
            Effect::Call(calling) => self.registry.take(calling, self.now),
            Effect::NextTurn => Ended::Done,
            other @ (Effect::SetAlarm(_) | Effect::Log(_)) => panic!("{other:?} is done at once"),
        }
    }

    /// Carries out what is under way and not held back by the test, and what follows from it.
    fn settle(&mut self) {
        while let Some(index) = self.position(&|effect| match effect {
            Effect::NextTurn => self.announces,
            Effect::Put(_) | Effect::Delete(_) => self.rotates,
            Effect::Index(_) => self.tells_mirror,
            Effect::Call(_) => self.reports,
            Effect::SetAlarm(_) | Effect::Log(_) => true,
        }) {
            let ended = self.carry_out(index);
            self.end(index, ended);
        }
    }

    pub(crate) fn position(&self, is: &dyn Fn(&Effect) -> bool) -> Option<usize> {
        self.under_way.iter().position(|(effect, ended)| ended.is_none() && is(effect))
    }

    /// The next effect of some kind, in a later turn if need be.
    fn next(&mut self, is: &dyn Fn(&Effect) -> bool) -> Option<usize> {
        self.wake();
        loop {
            let found = self.position(is);
            if found.is_some() || !self.next_turn() {
                return found;
            }
        }
    }

    /// Asks something of the object that changes nothing, so that it is loaded and its driver goes on.
    pub(crate) fn wake(&mut self) {
        let _no_keys = self.orphans(&[]);
        self.drive();
    }

    /// The next turn comes, if the driver waits for one.
    pub(crate) fn next_turn(&mut self) -> bool {
        let turn = self.position(&|effect| *effect == Effect::NextTurn);
        turn.map(|turn| self.end(turn, Ended::Done)).is_some()
    }

    /// Carries out all effects of some kind, one after the other, until one fails.
    fn carry_out_all(&mut self, is: &dyn Fn(&Effect) -> bool) {
        while let Some(index) = self.next(is) {
            let ended = self.carry_out(index);
            let is_done = !matches!(ended, Ended::Failed(_));
            self.end(index, ended);
            if !is_done {
                break;
            }
        }
        self.settle();
    }

    /// Does all there is to do in the bucket.
    pub(crate) fn work(&mut self) {
        self.carry_out_all(&is_work);
    }

    /// What there is to do in the bucket.
    pub(crate) fn next_work(&mut self) -> Option<Effect> {
        self.next(&is_work).map(|index| self.under_way[index].0.clone())
    }

    /// It has been done.
    pub(crate) fn done(&mut self, work: &Effect) {
        let index = self.position(&|effect| effect == work).expect("it is under way");
        self.end(index, Ended::Done);
    }

    /// Tells the mirror all there is to tell.
    pub(crate) fn tell_mirror(&mut self) {
        self.carry_out_all(&|effect| matches!(effect, Effect::Index(_)));
    }

    /// What there is to tell the mirror.
    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        let index = self.next(&|effect| matches!(effect, Effect::Index(_)))?;
        let Effect::Index(delivery) = &self.under_way[index].0 else { return None };
        Some(delivery.clone())
    }

    /// The mirror has been told.
    pub(crate) fn delivered(&mut self, delivery: &Delivery) {
        self.done(&Effect::Index(delivery.clone()));
    }

    /// Reports all there is to report.
    pub(crate) fn report(&mut self) {
        self.carry_out_all(&|effect| matches!(effect, Effect::Call(_)));
    }

    /// What there is to report.
    pub(crate) fn next_report(&mut self) -> Option<Calling> {
        let index = self.next(&|effect| matches!(effect, Effect::Call(_)))?;
        let Effect::Call(calling) = &self.under_way[index].0 else { return None };
        Some(calling.clone())
    }

    /// The registry has been told.
    pub(crate) fn reported(&mut self, calling: &Calling) {
        let index = self.position(&|effect| matches!(effect, Effect::Call(other) if other == calling));
        self.end(index.expect("it is under way"), Ended::Answered(Answered::Recorded));
    }

    /// The live readers are told, which is the first thing that happens in the next turn.
    pub(crate) fn announce(&mut self) {
        self.next_turn();
        self.settle();
    }

    /// The alarm rings, whether or not it is time.
    pub(crate) fn ring(&mut self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.ring(&mut self.object, &ports, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
        self.settle();
    }

    /// What another object would find left to do that knew only what is stored. Nothing of it is carried out.
    fn left_to_do(&self, settings: Settings) -> Vec<Effect> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let mut object = Object::new(settings);
        object.answer(&ports, STREAM_PATH, &NO_ORPHANS, &String::new, self.now).unwrap();
        let mut left = Vec::new();
        while let Some(effect) = object.poll(&ports, self.now) {
            if effect == Effect::NextTurn {
                object.done(&ports, effect, Ended::Done, self.now);
            } else {
                left.push(effect);
            }
        }
        left
    }

    /// Whatever is left to be done in the bucket is done some day, even if nobody ever asks again and memory is lost now.
    #[track_caller]
    pub(crate) fn assert_nothing_is_forgotten(&self) {
        let settings = Settings { has_index: false, registries: Registries::Off, ..self.settings };
        let work = self.left_to_do(settings);
        assert!(work.is_empty() || self.shell.has_alarm(), "no alarm for {work:?}");
    }

    /// The same of an end that the registry does not know.
    #[track_caller]
    pub(crate) fn assert_no_end_is_forgotten(&self) {
        let settings = Settings { has_index: false, segments: None, ..self.settings };
        let is_end = !self.left_to_do(settings).is_empty() && self.sql.has_ended();
        assert!(!is_end || self.shell.has_alarm(), "no alarm for the end");
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
        self.drive();
        self.settle();
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
        self.drive();
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
                object.resume(ports, read, pending, &fetched, now)
            });
        }
        self.settle();
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
        self.drive();
        served
    }

    fn outcome(&mut self, served: Result<Answer, Error>) -> Outcome {
        match served {
            Ok(Answer::Reply(reply)) => Outcome::Answered(Response::of_reply(reply)),
            Ok(Answer::Fetch(_)) => panic!("only reads fetch, and they were resumed"),
            Ok(Answer::Ask(asking)) => panic!("there is no other stream: {asking:?}"),
            Ok(Answer::Park(park)) => {
                let head = Response::of_reply(park.head.clone());
                Outcome::Parked(self.sockets.accept(&park), head)
            }
            Err(Error::Refused(refusal)) => Outcome::Answered(Response::of_reply(Reply::refused(&refusal))),
            Err(Error::Failed(_)) => Outcome::Answered(Response::of_reply(Reply::failed())),
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
                self.drive();
            }
        }
    }
}

/// Changes nothing, but has the object load the stream.
const NO_ORPHANS: Call = Call::Orphans { keys: Vec::new(), deletes: false };

fn is_work(effect: &Effect) -> bool {
    matches!(effect, Effect::Put(_) | Effect::Delete(_))
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
