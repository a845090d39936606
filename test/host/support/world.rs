//! A world with one stream: the Worker's routing, the object as `src/cloudflare/object/stream_object.rs` runs
//! it, a real SQLite, recorded sockets, and a clock that the test sets.

use std::path::Path;

use ::http::Method;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::description::DESCRIPTION;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::target::{Target, stream_path};
use durable_streams::object::effect::{Calling, Effect, Outcome as Ended};
use durable_streams::object::fetch::Fetched;
use durable_streams::object::lag::Lags;
use durable_streams::object::producers::ProducerLimits;
use durable_streams::object::segment_index::Delivery;
use durable_streams::object::{Answer, Error, Object, Ports, Settings};
use durable_streams::protocol::Millis;
use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::command::{Command, RequestHead};
use durable_streams::protocol::details::Inspected;
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

/// The time at which every world begins: 2030-01-01T00:00:00Z.
pub(crate) const START: Millis = 1_893_456_000_000;
/// The value in `wrangler.toml`.
pub(crate) const CHUNK_MAX_BYTES: usize = 1 << 20;

pub(crate) struct World {
    pub(crate) sql: HostSql,
    pub(crate) sockets: HostSockets,
    pub(crate) now: Millis,
    pub(crate) shell: Shell,
    /// The effects that the driver started, oldest first. Each has its outcome if it has ended and the object
    /// does not know.
    pub(crate) under_way: Vec<(Effect, Option<Ended>)>,
    /// Whether the next turn follows each request. Otherwise, the test calls [`World::announce`].
    pub(crate) announces: bool,
    /// The objects that the stream has uploaded.
    pub(crate) bucket: HostBucket,
    /// The event during the next read of the bucket.
    pub(crate) meanwhile: Meanwhile,
    /// Whether bucket effects run at once. Otherwise, the test calls [`World::work`].
    pub(crate) rotates: bool,
    /// The segment index. The stream uses it if [`World::limit_mirror`] turns it on.
    pub(crate) mirror: HostMirror,
    /// Whether deliveries to the index run at once. Otherwise, the test calls [`World::tell_mirror`].
    pub(crate) tells_mirror: bool,
    /// The registry. The stream reports to it if [`World::limit_registries`] turns it on.
    pub(crate) registry: HostRegistry,
    /// Whether reports run at once. Otherwise, the test calls [`World::report`].
    pub(crate) reports: bool,
    object: Object,
    settings: Settings,
}

/// An event during a read of the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meanwhile {
    Nothing,
    Rotation,
    /// Time passes, and the alarm rings.
    Alarm(Millis),
    LostMemory,
    Deletion,
    /// A deletion, then another creation at the same path.
    AnotherLife,
}

/// The object's answer to the Worker.
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

    /// A world whose reads return at most `chunk_max_bytes`.
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
            webhooks_give_up_after: 259_200_000,
            measures: false,
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

    /// A world after some steps.
    #[track_caller]
    pub(crate) fn after(steps: &[&str]) -> World {
        let mut world = World::new();
        world.run(steps);
        world
    }

    /// Runs steps: requests that must succeed, `WAIT 10s`, `WAIT 5ms`, `RESTART`, `RING`.
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

    /// Loses the object's memory, but keeps storage and sockets.
    pub(crate) fn restart(&mut self) {
        self.object = Object::new(self.settings);
        self.under_way.clear();
        self.shell.lost_memory(self.now);
    }

    /// Changes the size of a chunk.
    pub(crate) fn limit_chunks(&mut self, chunk_max_bytes: usize) {
        self.settings.chunk_max_bytes = chunk_max_bytes;
        self.restart();
    }

    /// Requires a token for reads.
    pub(crate) fn guard(&mut self) {
        self.settings.guarded = true;
        self.restart();
    }

    /// Requires a token for reads, and turns public streams off.
    pub(crate) fn guard_all(&mut self) {
        self.settings.hides_public = true;
        self.guard();
    }

    /// Changes the limits of a segment.
    pub(crate) fn limit_segments(&mut self, segments: Option<SegmentLimits>) {
        self.settings.segments = segments;
        self.restart();
    }

    /// Turns the segment index on or off.
    pub(crate) fn limit_mirror(&mut self, mirrors: bool) {
        self.settings.has_index = mirrors;
        self.restart();
    }

    /// Changes the limits of producers. Stored data was written with the old ones.
    pub(crate) fn limit_producers(&mut self, producers: ProducerLimits) {
        self.settings.producers = producers;
        self.restart();
    }

    /// Changes the registries.
    pub(crate) fn limit_registries(&mut self, registries: Registries) {
        self.settings.registries = registries;
        self.restart();
    }

    /// Changes the retention of streams that do not set one.
    pub(crate) fn retain(&mut self, retention: RetentionDefaults) {
        self.settings.retention = retention;
        self.restart();
    }

    // Background work.

    /// The time for which the alarm is set.
    pub(crate) fn alarm_at(&self) -> Option<Millis> {
        self.shell.alarm_at
    }

    pub(crate) fn alarms_set(&self) -> u64 {
        self.shell.alarms_set
    }

    /// Lets the driver continue after a request or call.
    fn drive(&mut self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.drive(&mut self.object, &ports, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
    }

    /// Reports the outcome of an effect in flight to the object.
    pub(crate) fn end(&mut self, index: usize, ended: Ended) {
        let (effect, _) = self.under_way.remove(index);
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.done(&mut self.object, &ports, effect, ended, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
    }

    /// Performs an effect in flight, and returns its outcome.
    pub(crate) fn carry_out(&mut self, index: usize) -> Ended {
        match &self.under_way[index].0 {
            effect @ (Effect::Put(_) | Effect::Delete(_)) => self.bucket.take(effect),
            Effect::Index(delivery) => self.mirror.take(delivery),
            Effect::Call(calling) => self.registry.take(calling, self.now),
            Effect::NextTurn => Ended::Done,
            other @ (Effect::Calls(_) | Effect::Post(_)) => panic!("nobody watches the stream: {other:?}"),
            other @ (Effect::SetAlarm(_) | Effect::Log(_)) => panic!("the shell performs {other:?} itself"),
        }
    }

    /// Performs the effects in flight that the test does not hold back, and those that follow.
    fn settle(&mut self) {
        while let Some(index) = self.position(&|effect| match effect {
            Effect::NextTurn => self.announces,
            Effect::Put(_) | Effect::Delete(_) => self.rotates,
            Effect::Index(_) => self.tells_mirror,
            Effect::Call(_) => self.reports,
            Effect::SetAlarm(_) | Effect::Log(_) | Effect::Calls(_) | Effect::Post(_) => true,
        }) {
            let ended = self.carry_out(index);
            self.end(index, ended);
        }
    }

    pub(crate) fn position(&self, is: &dyn Fn(&Effect) -> bool) -> Option<usize> {
        self.under_way.iter().position(|(effect, ended)| ended.is_none() && is(effect))
    }

    /// The next effect of a kind, in a later turn if necessary.
    fn next(&mut self, is: &dyn Fn(&Effect) -> bool) -> Option<usize> {
        self.wake();
        loop {
            let found = self.position(is);
            if found.is_some() || !self.next_turn() {
                return found;
            }
        }
    }

    /// Makes a call without effect, so that the object loads and its driver continues.
    pub(crate) fn wake(&mut self) {
        let _no_keys = self.orphans(&[]);
        self.drive();
    }

    /// Runs the next turn, if the driver waits for one.
    pub(crate) fn next_turn(&mut self) -> bool {
        let turn = self.position(&|effect| *effect == Effect::NextTurn);
        turn.map(|turn| self.end(turn, Ended::Done)).is_some()
    }

    /// Performs all effects of a kind one after the other, until one fails.
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

    /// Performs all bucket effects.
    pub(crate) fn work(&mut self) {
        self.carry_out_all(&is_work);
    }

    /// The next bucket effect.
    pub(crate) fn next_work(&mut self) -> Option<Effect> {
        self.next(&is_work).map(|index| self.under_way[index].0.clone())
    }

    /// Reports a bucket effect as done.
    pub(crate) fn done(&mut self, work: &Effect) {
        let index = self.position(&|effect| effect == work).expect("the effect is in flight");
        self.end(index, Ended::Done);
    }

    /// Performs all deliveries to the segment index.
    pub(crate) fn tell_mirror(&mut self) {
        self.carry_out_all(&|effect| matches!(effect, Effect::Index(_)));
    }

    /// The next delivery to the segment index.
    pub(crate) fn next_delivery(&mut self) -> Option<Delivery> {
        let index = self.next(&|effect| matches!(effect, Effect::Index(_)))?;
        let Effect::Index(delivery) = &self.under_way[index].0 else { return None };
        Some(delivery.clone())
    }

    /// Reports a delivery as done.
    pub(crate) fn delivered(&mut self, delivery: &Delivery) {
        self.done(&Effect::Index(delivery.clone()));
    }

    /// Performs all reports.
    pub(crate) fn report(&mut self) {
        self.carry_out_all(&|effect| matches!(effect, Effect::Call(_)));
    }

    /// The next report to the registry.
    pub(crate) fn next_report(&mut self) -> Option<Calling> {
        let index = self.next(&|effect| matches!(effect, Effect::Call(_)))?;
        let Effect::Call(calling) = &self.under_way[index].0 else { return None };
        Some(calling.clone())
    }

    /// Answers a report as recorded.
    pub(crate) fn reported(&mut self, calling: &Calling) {
        let index = self.position(&|effect| matches!(effect, Effect::Call(other) if other == calling));
        self.end(index.expect("the effect is in flight"), Ended::Answered(Answered::Recorded));
    }

    /// Notifies live readers, which happens first in the next turn.
    pub(crate) fn announce(&mut self) {
        self.next_turn();
        self.settle();
    }

    /// Rings the alarm, whether or not it is due.
    pub(crate) fn ring(&mut self) {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let begun = self.shell.ring(&mut self.object, &ports, self.now);
        self.under_way.extend(begun.into_iter().map(|effect| (effect, None)));
        self.settle();
    }

    /// The effects that a new object would start, knowing only what is stored. None of them is performed.
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

    /// Asserts that an alarm is set if bucket effects remain. So they run even if memory is lost now and no
    /// request follows.
    #[track_caller]
    pub(crate) fn assert_nothing_is_forgotten(&self) {
        let settings = Settings { has_index: false, registries: Registries::Off, ..self.settings };
        let work = self.left_to_do(settings);
        assert!(work.is_empty() || self.shell.has_alarm(), "no alarm is set for {work:?}");
    }

    /// Asserts that an alarm is set if the end of the stream is unreported.
    #[track_caller]
    pub(crate) fn assert_no_end_is_forgotten(&self) {
        let settings = Settings { has_index: false, segments: None, ..self.settings };
        let is_end = !self.left_to_do(settings).is_empty() && self.sql.has_ended();
        assert!(!is_end || self.shell.has_alarm(), "no alarm is set to report the end");
    }

    /// The object's settings.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// Sends a report to the registry that the stream did not make.
    pub(crate) fn record(&mut self, text: &str) -> Result<Answered, Failure> {
        self.registry.answer("__registry__", text, self.now)
    }

    /// The stream's description in a listing.
    pub(crate) fn described(&mut self) -> Option<String> {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let described = self.object.answer(&ports, STREAM_PATH, &Call::Describe, &String::new, self.now);
        let answered = Answered::parse(&described.unwrap().answered.to_json());
        self.drive();
        self.settle();
        let Answered::Described(described) = answered else { panic!("{answered:?}") };
        described.map(|described| serde_json::to_string(&described).unwrap())
    }

    /// How far the registry and the segment index are behind.
    pub(crate) fn lags(&self) -> Lags {
        self.object.lags(&self.sql, self.now).unwrap()
    }

    /// What the stream says about itself to its owner.
    pub(crate) fn inspected(&mut self) -> Inspected {
        let ports = Ports { sql: &self.sql, sockets: &self.sockets };
        let said = self.object.answer(&ports, STREAM_PATH, &Call::Inspect, &String::new, self.now);
        let answered = Answered::parse(&said.unwrap().answered.to_json());
        self.drive();
        self.settle();
        let Answered::Inspected(inspected) = answered else { panic!("{answered:?}") };
        inspected
    }

    /// Asserts that the segment index has a row for each segment in the bucket, and no other row.
    #[track_caller]
    pub(crate) fn assert_mirror_is_true(&self) {
        let rows = self.mirror.rows();
        assert_eq!(rows, self.sql.segments_as_mirrored());
        assert_eq!(rows.len(), self.bucket.objects.len());
    }

    /// Asserts that the bucket has a whole object for each row, and no other object.
    #[track_caller]
    pub(crate) fn assert_bucket_is_tidy(&self) {
        let keys: Vec<String> = self.sql.segment_keys();
        assert!(self.bucket.objects.keys().eq(keys.iter()), "{:?}, but {keys:?}", self.bucket.objects.keys());
        for (key, object) in &self.bucket.objects {
            segment_file::parse(object).unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
        }
    }

    /// Those of `keys` that the object does not know.
    pub(crate) fn orphans(&mut self, keys: &[String]) -> Result<Vec<String>, Failure> {
        self.unknown_of(keys, false)
    }

    /// Like `orphans`, before the test deletes them and calls [`World::swept`].
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

    /// Ends a sweep, whether or not the orphans were deleted.
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

    /// Sends a request through the Worker's part. If reads need no token, a script's response has the headers
    /// for any origin.
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
            Route::Description => Outcome::Answered(Response::of_reply(Reply::description(DESCRIPTION))),
            Route::Preflight => {
                let asked = request.headers.iter().find(|(name, _)| name == "access-control-request-headers");
                Outcome::Answered(Response::of_reply(Reply::preflight(asked.map(|(_, value)| value.clone()))))
            }
            Route::Reply(reply) => Outcome::Answered(Response::of_reply(reply)),
            Route::Listing
            | Route::Details(_)
            | Route::Ready
            | Route::Subscriptions(_)
            | Route::Console(_) => {
                panic!("it needs more than one stream's object, which is all that this world has")
            }
            Route::Metrics => {
                let refused = Admin::of(&EdgeSettings::default()).metrics(&method, None);
                Outcome::Answered(Response::of_reply(Reply::refused(&refused.unwrap_err())))
            }
            Route::Orphans => {
                let refused = Admin::of(&EdgeSettings::default()).orphans(&method, &request.url, None);
                Outcome::Answered(Response::of_reply(Reply::refused(&refused.unwrap_err())))
            }
            Route::Forward(path) | Route::LongPoll(path) | Route::Sse(path) => {
                assert_eq!(
                    stream_path(&request.url).as_deref(),
                    Some(path.as_str()),
                    "the Worker and the object must find the same path"
                );
                self.serve(&method, path.as_str(), request)
            }
        }
    }

    /// Runs the object's part, from the body to the notification of readers.
    fn serve(&mut self, method: &Method, path: &str, request: &Request) -> Outcome {
        if request.body.len() > APPEND_MAX_BYTES {
            let refusal = Refusal::BodyTooLarge { max_bytes: APPEND_MAX_BYTES as u64 };
            return Outcome::Answered(Response::of_reply(Reply::refused(&refusal)));
        }
        let headers = &request.headers;
        // The key differs at each instant.
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

    /// Admits a request without a token before it is served, each time.
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
            Ok(Answer::Fetch(_)) => panic!("only reads fetch, and all were resumed"),
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

/// A call without effect, which has the object load the stream.
const NO_ORPHANS: Call = Call::Orphans { keys: Vec::new(), deletes: false };

fn is_work(effect: &Effect) -> bool {
    matches!(effect, Effect::Put(_) | Effect::Delete(_))
}

/// Runs the steps, sends the request, and asserts the response. Then does the same with the object's memory
/// lost before the request, because storage must give the same response.
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

/// Parses a time such as `10s` or `5ms`.
pub(super) fn millis(text: &str) -> Millis {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().unwrap(),
        None => text.strip_suffix('s').unwrap().parse::<Millis>().unwrap() * 1000,
    }
}
