//! Connects one object to the platform: its storage, its sockets, the bucket, and the other objects. The object answers each
//! command in one synchronous step.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use wasm_bindgen::prelude::*;
use web_sys::Response;
use worker::worker_sys::DurableObjectState;
use worker::{Env, State};

use super::requester::{RequestHeaders, Requester};
use super::sockets::ObjectSockets;
use super::sql::ObjectSql;
use crate::cloudflare::bucket::{self, SegmentBucket};
use crate::cloudflare::clock;
use crate::cloudflare::config::{Config, STREAMS};
use crate::cloudflare::index_database::IndexDatabase;
use crate::cloudflare::interned::Interned;
use crate::cloudflare::{budget, receiving, reply, telemetry};
use crate::edge::target::stream_path;
use crate::object::lag::Lags;
use crate::object::live::Park;
use crate::object::{Answer, Error, Object, Ports};
use crate::protocol::command::Command;
use crate::protocol::names::header;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;
use crate::protocol::request_id::request_id;
use crate::storage::Failure;
use crate::telemetry::points::{ObjectGauges, ObjectTotals};

pub(super) struct ObjectHost {
    pub(super) state: State,
    pub(super) sql: ObjectSql,
    pub(super) config: Config,
    pub(super) header_names: Interned,
    /// The last URL, without its query, and the path in it: nearly all requests to an object have the same.
    named: RefCell<(String, String)>,
    pub(super) object: RefCell<Object>,
    /// Whether the object may have any sockets.
    may_be_read_live: Cell<bool>,
    pub(super) bucket: Option<SegmentBucket>,
    pub(super) segment_index: IndexDatabase,
    pub(super) env: Env,
    /// The namespace of all streams, for calls to other objects.
    pub(super) namespace: JsValue,
    /// The wakers of futures that wait for the object's background work: the alarm, and answers that depend on that work.
    pub(super) waiters: RefCell<Vec<Waker>>,
    analytics: Option<telemetry::Analytics>,
    /// The totals for the next data point.
    totals: RefCell<ObjectTotals>,
}

impl ObjectHost {
    /// Creates a host whose object has not read its storage yet.
    pub(super) fn new(state: DurableObjectState, env: &Env) -> ObjectHost {
        let state = State::from(state);
        let mut config = Config::of(env);
        receiving::configure(env);
        let analytics = telemetry::Analytics::of(env);
        let sql = ObjectSql::new(&state, config.debug || analytics.is_some());
        let bucket = bucket::of(env);
        if bucket.is_none() {
            config.settings.segments = None;
        }
        let namespace = js_sys::Reflect::get(env, &STREAMS.into()).unwrap_or_default();
        let segment_index = IndexDatabase::of(env);
        config.settings.has_index = segment_index.is_there();
        if namespace.is_undefined() {
            config.settings.registries = Registries::Off;
        }
        ObjectHost {
            state,
            sql,
            config,
            header_names: Interned::default(),
            named: RefCell::default(),
            object: RefCell::new(Object::new(config.settings)),
            may_be_read_live: Cell::new(true),
            bucket,
            segment_index,
            env: env.clone(),
            namespace,
            waiters: RefCell::default(),
            analytics,
            totals: RefCell::default(),
        }
    }

    pub(super) fn has(&self, headers: &RequestHeaders, name: &str) -> bool {
        self.header_names.with(name, |name| headers.has(name))
    }

    /// The platform's id of a request.
    pub(super) fn ray(&self, headers: &RequestHeaders) -> Option<String> {
        self.header_names.with(header::RAY, |name| headers.get(name))
    }

    /// The requester; `ray` is the platform's id of the request.
    pub(super) fn requester(&self, url: &str, ray: Option<String>, has: &dyn Fn(&str) -> bool) -> Requester {
        let id = request_id(ray, &clock::random);
        Requester::of(self.path_in(url), id, self.config.settings.guarded, has)
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

    /// Answers a command in one synchronous step, and starts the work that follows.
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
            Err(park) => {
                let socket = self.sockets().accept(&park)?;
                reply::switching(&park.head.identified(&requester.id), &socket)
            }
        }
    }

    /// The reply; or, as the error, the reader to park.
    pub(super) fn settled(
        &self,
        requester: &Requester,
        served: Result<Answer, Error>,
    ) -> Result<Reply, Box<Park>> {
        let failure = match served {
            Ok(Answer::Reply(reply)) => return Ok(reply),
            Ok(Answer::Park(park)) => return Err(Box::new(park)),
            Ok(Answer::Fetch(_) | Answer::Ask(_)) => {
                Failure::new("answer", "only a read may fetch, and only a creation may call other objects")
            }
            Err(Error::Refused(refusal)) => return Ok(Reply::refused(&refusal)),
            Err(Error::Failed(failure)) => failure,
        };
        telemetry::failure(&requester.path, Some(&requester.id), &failure);
        Ok(Reply::failed())
    }

    /// Counts a request for the object's data points, and writes one if it is due; `appended` is the size of an append that
    /// succeeded. Only requests do this, so an object never stays awake for it.
    pub(super) fn measure(&self, path: &str, appended: Option<usize>) {
        let Some(analytics) = &self.analytics else { return };
        let (mut totals, now) = (self.totals.borrow_mut(), clock::now());
        totals.served(appended);
        if totals.is_due(now) {
            let readers = if self.may_be_read_live.get() { self.state.get_websockets().len() } else { 0 };
            // A failure was logged by the request, or will be by the next one.
            let Lags { registry, index } = self.object.borrow().lags(&self.sql, now).unwrap_or_default();
            let rows_written = self.sql.take_rows_written();
            let gauges = ObjectGauges { readers, rows_written, registry_lag: registry, index_lag: index };
            analytics.write(&totals.take(path, gauges, now));
        }
    }

    pub(super) fn name(&self) -> String {
        self.state.id().name().unwrap_or_default()
    }
}
