//! The Durable Object: what `worker.js` calls for each of its events. Serves a request in one synchronous step, and
//! announces afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use http::Method;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::worker_sys::DurableObjectState;
use worker::{Env, State};

use super::answering::BYTES_URL;
use super::fetch::Waiting;
use super::mirror::Mirror;
use super::requester::{RequestHeaders, Requester};
use super::sockets::ObjectSockets;
use super::sql::ObjectSql;
use crate::cloudflare::bucket::{self, SegmentBucket};
use crate::cloudflare::calls::BINDING;
use crate::cloudflare::clock;
use crate::cloudflare::config::Config;
use crate::cloudflare::interned::Interned;
use crate::cloudflare::{budget, receiving, reply, telemetry};
use crate::edge::target::stream_path;
use crate::object::live::Park;
use crate::object::{Answer, Error, Object, Ports};
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
    pub(super) bucket: Option<SegmentBucket>,
    pub(super) mirror: Mirror,
    /// All streams, for what they ask each other.
    pub(super) namespace: JsValue,
    /// The alarm, which waits for all that it has begun.
    pub(super) rings: RefCell<Option<Waker>>,
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
            bucket,
            mirror,
            namespace,
            rings: RefCell::default(),
        };
        StreamObject { inner: Rc::new(inner) }
    }

    /// Answers a request other than a POST, whose body has been received: a response, or the promise of one.
    pub fn answer(
        &self,
        request: &Request,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<JsValue, JsValue> {
        self.inner.receive(request, method, url, body)
    }

    /// The same, of a body that has been received in parts.
    #[wasm_bindgen(js_name = answerParts)]
    pub fn answer_parts(
        &self,
        request: &Request,
        method: &str,
        url: &str,
        parts: Vec<Uint8Array>,
    ) -> Result<JsValue, JsValue> {
        self.inner.receive(request, method, url, &joined(&parts))
    }

    /// Answers a request whose body was not received.
    #[wasm_bindgen(js_name = refuseBody)]
    pub fn refuse_body(&self, request: &Request, why: u8) -> Result<Response, JsValue> {
        self.inner.refuse(request, &receiving::refusal(why))
    }

    /// The alarm rings.
    pub async fn ring(&self) -> Result<(), JsValue> {
        let inner = Rc::clone(&self.inner);
        inner.ring().await.map_err(|failure| failure.to_string().into())
    }

    /// A live reader's socket closed or broke.
    #[wasm_bindgen(js_name = readerLeft)]
    pub fn reader_left(&self) {
        let _busy = telemetry::busy(|| self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
    }
}

impl ObjectHost {
    /// From a request to its command.
    fn receive(
        self: &Rc<Self>,
        request: &Request,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<JsValue, JsValue> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let headers = RequestHeaders::of(request);
        if url == BYTES_URL {
            return self.answer_with_bytes(&headers).map(JsValue::from);
        }
        let requester = self.requester(url, &|name| self.has(&headers, name));
        let requester = if method == "GET" { requester.reading(request) } else { requester };
        let method = method.parse::<Method>().unwrap_or_default();
        let header = |name: &str| self.header_names.with(name, |name| headers.get(name));
        let head = RequestHead { method: &method, url, header: &header, random: &clock::random };
        let response = match Command::parse(&head, body) {
            Ok(command) => self.respond_or_promise(&requester, &command),
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

    /// From a command to the response. Only what others have to be asked for is promised.
    fn respond_or_promise(
        self: &Rc<Self>,
        requester: &Requester,
        command: &Command<'_>,
    ) -> Result<JsValue, JsValue> {
        match (self.answer(requester, command), command) {
            (Ok(Answer::Fetch(pending)), Command::Read(read)) => {
                let waiting = Waiting { requester: requester.clone(), read: read.clone(), pending };
                Ok(self.promise_of_fetch(Box::new(waiting)).into())
            }
            (Ok(Answer::Ask(asking)), Command::Create(create)) => {
                Ok(self.promise_of_fork(requester.clone(), create.clone().into_owned(), asking).into())
            }
            (answered, _) => self.respond(requester, answered).map(JsValue::from),
        }
    }

    /// From a command to its answer: one synchronous step, and then what follows it.
    pub(super) fn answer(
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
        self.follow_up(object);
        served
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

    pub(super) fn name(&self) -> String {
        self.state.id().name().unwrap_or_default()
    }
}

/// A body that came in parts.
pub(super) fn joined(parts: &[Uint8Array]) -> Vec<u8> {
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.length() as usize).sum());
    for part in parts {
        let at = body.len();
        body.resize(at + part.length() as usize, 0);
        part.copy_to(&mut body[at..]);
    }
    body
}
