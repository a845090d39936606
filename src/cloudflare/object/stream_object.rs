//! The Durable Object: what `worker.js` calls for each of its events. Serves a request in one synchronous step, and
//! announces afterwards.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use http::Method;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::worker_sys::DurableObjectState;
use worker::{Env, State};

use super::chores::{Chore, Chores};
use super::fetch::Waiting;
use super::inherit::INHERITED_URL;
use super::mirror::Mirror;
use super::requester::{RequestHeaders, Requester};
use super::sockets::ObjectSockets;
use super::sql::ObjectSql;
use crate::cloudflare::bucket::{self, SegmentBucket};
use crate::cloudflare::calls::BINDING;
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::config::Config;
use crate::cloudflare::interned::Interned;
use crate::cloudflare::{budget, receiving, reply, telemetry};
use crate::edge::route::stream_path;
use crate::object::alarm::{RETRY, Rung};
use crate::object::live::{Park, Sockets};
use crate::object::{Answer, Error, Object, Ports};
use crate::protocol::Millis;
use crate::protocol::command::{Command, RequestHead};
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// One stream.
#[wasm_bindgen]
pub struct StreamObject {
    pub(super) inner: Rc<ObjectHost>,
}

pub(super) struct ObjectHost {
    pub(super) state: State,
    pub(super) sql: ObjectSql,
    pub(super) config: Config,
    header_names: Interned,
    /// A URL without its query, and the path it names: it is nearly always the same.
    named: RefCell<(String, String)>,
    pub(super) object: RefCell<Object>,
    /// Whether any socket may be there.
    may_be_read_live: Cell<bool>,
    /// Whether an announcement is already on its way.
    announcing: Cell<bool>,
    pub(super) bucket: Option<SegmentBucket>,
    /// Whether something is being done in the bucket, or soon will be: never two things at once.
    pub(super) working: Cell<bool>,
    /// When the bucket is tried again after it failed; the alarm rings then.
    pub(super) rests_until: Cell<Millis>,
    pub(super) mirror: Mirror,
    /// All streams, for what they ask each other.
    pub(super) namespace: JsValue,
    pub(super) chores: Chores,
}

#[wasm_bindgen]
impl StreamObject {
    /// Makes an object that has read nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> StreamObject {
        let state = State::from(state);
        let mut config = Config::of(&env);
        receiving::configure(&env);
        let sql = ObjectSql::new(&state, config.debug);
        let bucket = bucket::of(&env);
        if bucket.is_none() {
            config.settings.segments = None;
        }
        let namespace = js_sys::Reflect::get(&env, &BINDING.into()).unwrap_or_default();
        let mirror = Mirror::of(&env);
        config.settings.mirrors = mirror.is_there();
        if namespace.is_undefined() {
            config.settings.registries = Registries::Off;
        }
        let inner = ObjectHost {
            state,
            sql,
            config,
            header_names: Interned::default(),
            named: RefCell::default(),
            object: RefCell::new(Object::new(config.settings)),
            may_be_read_live: Cell::new(true),
            announcing: Cell::new(false),
            bucket,
            working: Cell::new(false),
            rests_until: Cell::new(0),
            mirror,
            namespace,
            chores: Chores::default(),
        };
        StreamObject { inner: Rc::new(inner) }
    }

    /// Serves a request whose body has been received.
    /// A response, or the promise of one.
    pub fn serve(&self, request: &Request, method: &str, url: &str, body: &[u8]) -> Result<JsValue, JsValue> {
        self.inner.serve_request(request, (method, url), body)
    }

    /// Serves a request whose body has been received in parts.
    #[wasm_bindgen(js_name = serveParts)]
    pub fn serve_parts(
        &self,
        request: &Request,
        method: &str,
        url: &str,
        parts: Vec<Uint8Array>,
    ) -> Result<JsValue, JsValue> {
        let mut body = Vec::with_capacity(parts.iter().map(|part| part.length() as usize).sum());
        for part in parts {
            let at = body.len();
            body.resize(at + part.length() as usize, 0);
            part.copy_to(&mut body[at..]);
        }
        self.inner.serve_request(request, (method, url), &body)
    }

    /// Answers a request whose body was not received.
    #[wasm_bindgen(js_name = refuseBody)]
    pub fn refuse_body(&self, request: &Request, why: u8) -> Result<Response, JsValue> {
        self.inner.refuse(request, &receiving::refusal(why))
    }

    /// The alarm rings.
    pub async fn ring(&self) -> Result<(), JsValue> {
        let inner = Rc::clone(&self.inner);
        let rung = inner.ring();
        // First of all: what is not known yet has an alarm wherever one is set.
        inner.chore_now(Chore::Report).await;
        if !inner.working.replace(true) {
            inner.work().await;
        }
        inner.chore_now(Chore::Mirror).await;
        inner.chore_now(Chore::Release).await;
        let rearmed = rung.and_then(|()| inner.rearm()).or_else(|failure| inner.ring_again(&failure));
        rearmed.map_err(|failure| failure.to_string().into())
    }

    /// Which of these keys of the bucket the stream does not know; with `deletes` they are deleted there.
    pub async fn orphans(&self, keys: Vec<String>, deletes: bool) -> Result<Vec<String>, JsValue> {
        let inner = Rc::clone(&self.inner);
        inner.orphans(keys, deletes).await.map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }

    /// Another stream asks: what it is told.
    pub fn asked(&self, question: &str) -> Result<String, JsValue> {
        self.inner.asked(question).map(|(told, _)| told).map_err(|failure| self.inner.thrown(&failure))
    }

    /// A live reader's socket closed or broke.
    #[wasm_bindgen(js_name = readerLeft)]
    pub fn reader_left(&self) {
        let _busy = telemetry::busy(|| self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
    }
}

impl ObjectHost {
    fn serve_request(
        self: &Rc<Self>,
        request: &Request,
        (method, url): (&str, &str),
        body: &[u8],
    ) -> Result<JsValue, JsValue> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let headers = RequestHeaders::of(request);
        if url == INHERITED_URL {
            return self.inherited(&headers).map(JsValue::from);
        }
        let requester = self.requester(url, &|name| self.has(&headers, name));
        let requester = if method == "GET" { requester.reading(request) } else { requester };
        let method = method.parse::<Method>().unwrap_or_default();
        let header = |name: &str| self.header_names.with(name, |name| headers.get(name));
        let head = RequestHead { method: &method, url, header: &header, random: &clock::random };
        let response = match Command::parse(&head, body) {
            Ok(command) => self.serve(&requester, &command),
            Err(refusal) => requester.refuse(&refusal).map(JsValue::from),
        };
        self.debug_served(&requester.path, method.as_str());
        response
    }

    fn has(&self, headers: &RequestHeaders, name: &str) -> bool {
        self.header_names.with(name, |name| headers.has(name))
    }

    pub(super) fn requester(&self, url: &str, has: &dyn Fn(&str) -> bool) -> Requester {
        Requester::of(self.path_in(url), self.config.settings.guarded, has)
    }

    fn path_in(&self, url: &str) -> String {
        let plain = url.split('?').next().unwrap_or_default();
        let mut named = self.named.borrow_mut();
        if named.0 != plain {
            *named = (plain.to_owned(), stream_path(plain).unwrap_or_default());
        }
        named.1.clone()
    }

    pub(super) fn sockets(&self) -> ObjectSockets<'_> {
        ObjectSockets::new(&self.state, &self.may_be_read_live)
    }

    fn refuse(&self, request: &Request, refusal: &Refusal) -> Result<Response, JsValue> {
        let headers = RequestHeaders::of(request);
        self.requester(&request.url(), &|name| self.has(&headers, name)).refuse(refusal)
    }

    fn ring(&self) -> Result<(), Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.alarms_rung += 1);
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        match self.object.borrow_mut().ring(&ports, clock::now())? {
            Rung::Reclaimed => self.debug("reclaimed"),
            Rung::Nothing => {}
        }
        Ok(())
    }

    /// Sees to it that what is left to happen by itself has an alarm.
    fn rearm(&self) -> Result<(), Failure> {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (mut object, now) = (self.object.borrow_mut(), clock::now());
        let (mirror_at, registry_at) =
            (self.chores.rests_until(Chore::Mirror, now), self.chores.rests_until(Chore::Report, now));
        object.rearm(&ports, mirror_at, registry_at, now)?;
        let Some(at) = object.take_alarm() else { return Ok(()) };
        let rearmed = self.sql.set_alarm(at);
        // It is no part of the next request.
        let _rows = self.sql.take_row_counts();
        self.debug("rearmed");
        rearmed
    }

    pub(super) fn rearm_or_log(&self) {
        if let Err(failure) = self.rearm().or_else(|failure| self.ring_again(&failure)) {
            telemetry::failure(&self.name(), &failure);
        }
    }

    /// The platform gives up after six failures, and then nobody would reclaim the stream.
    fn ring_again(&self, failure: &Failure) -> Result<(), Failure> {
        telemetry::failure(&self.name(), failure);
        self.sql.set_alarm(clock::now() + RETRY)
    }

    /// One request, from the state to the answer, without a wait in between; only what is in the bucket is promised.
    fn serve(self: &Rc<Self>, requester: &Requester, command: &Command<'_>) -> Result<JsValue, JsValue> {
        let served = self.serve_now(requester, command);
        match (served, command) {
            (Ok(Answer::Fetch(pending)), Command::Read(read)) => {
                let waiting = Waiting { requester: requester.clone(), read: read.clone(), pending };
                Ok(self.promise_of_fetch(Box::new(waiting)).into())
            }
            (Ok(Answer::Ask(asking)), Command::Create(create)) => {
                Ok(self.promise_of_fork(requester.clone(), create.clone().into_owned(), asking).into())
            }
            (served, _) => self.respond(requester, served).map(JsValue::from),
        }
    }

    pub(super) fn serve_now(
        self: &Rc<Self>,
        requester: &Requester,
        command: &Command<'_>,
    ) -> Result<Answer, Error> {
        let path = requester.path.as_str();
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        if !object.is_loaded() {
            self.debug("loaded");
        }
        if matches!(command, Command::Read(_)) {
            let max_bytes = self.config.settings.chunk_max_bytes;
            object.give_at_most(budget::chunk_bytes(max_bytes, || requester.payer()));
        }
        let now = clock::now();
        let admitted = requester.admit(&mut object, &ports, command, now);
        let served = admitted.and_then(|()| object.serve(&ports, path, command, now));
        self.follow_up(path, object);
        served
    }

    /// What follows whatever may have changed the stream: the alarm in the same turn, all else in later ones.
    pub(super) fn follow_up(self: &Rc<Self>, path: &str, mut object: RefMut<'_, Object>) {
        self.set_alarm(path, object.take_alarm());
        let sockets = self.sockets();
        if object.has_news() {
            if sockets.count() == 0 {
                // Nobody to tell: only remembers that it was told.
                let ports = Ports { sql: &self.sql, sockets: &sockets };
                let _nobody = object.announce(&ports, clock::now());
            } else {
                self.announce_soon(path);
            }
        }
        if object.may_have_work() {
            self.work_soon();
        }
        drop(object);
        self.chores_soon();
    }

    fn set_alarm(&self, path: &str, alarm_at: Option<Millis>) {
        if let Some(at) = alarm_at
            && let Err(failure) = self.sql.set_alarm(at)
        {
            // What the request changed is stored, and whatever is left to be done is done on access all the same.
            telemetry::failure(path, &failure);
        }
    }

    pub(super) fn respond(
        &self,
        requester: &Requester,
        served: Result<Answer, Error>,
    ) -> Result<Response, JsValue> {
        match self.settled(requester, served) {
            Ok(reply) => requester.answer(reply),
            Err(park) => reply::switching(&park.head, &self.sockets().accept(&park)?),
        }
    }

    /// What is answered, if that is no socket.
    pub(super) fn settled(
        &self,
        requester: &Requester,
        served: Result<Answer, Error>,
    ) -> Result<Reply, Box<Park>> {
        let failure = match served {
            Ok(Answer::Reply(reply)) => return Ok(reply),
            Ok(Answer::Park(park)) => return Err(Box::new(park)),
            Ok(Answer::Fetch(_) | Answer::Ask(_)) => Failure::new("answer", "others were asked for nothing"),
            Err(Error::Refused(refusal)) => return Ok(Reply::refused(&refusal)),
            Err(Error::Failed(failure)) => failure,
        };
        telemetry::failure(&requester.path, &failure);
        Ok(Reply::failed())
    }

    /// Announces in a later turn: the writer's answer does not wait for the readers.
    fn announce_soon(self: &Rc<Self>, path: &str) {
        if self.announcing.replace(true) {
            return;
        }
        let (inner, path) = (Rc::clone(self), path.to_owned());
        let busy = telemetry::busy(|| self.name(), |_| {});
        self.state.wait_until(async move {
            let _busy = busy;
            let _next_turn = Timer::new(0).over().await;
            inner.announcing.set(false);
            let sockets = inner.sockets();
            let ports = Ports { sql: &inner.sql, sockets: &sockets };
            let told = inner.object.borrow_mut().announce(&ports, clock::now());
            if let Err(failure) = told {
                telemetry::failure(&path, &failure);
            }
        });
    }

    pub(super) fn name(&self) -> String {
        self.state.id().name().unwrap_or_default()
    }
}
