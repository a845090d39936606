//! The Durable Object: what `worker.js` calls for each of its events. Serves a request in one synchronous step, and
//! announces afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Method;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::worker_sys::DurableObjectState;
use worker::{Env, State};

use super::body;
use super::clock::{self, Timer};
use super::config::Config;
#[cfg(feature = "counters")]
use super::counters;
use super::interned::Interned;
use super::sockets::ObjectSockets;
use super::sql::ObjectSql;
use super::{log, reply};
use crate::edge::route::stream_path;
use crate::object::alarm::Rung;
use crate::object::live::Sockets;
use crate::object::{Answer, Object, Ports, Served, Stop};
use crate::protocol::Millis;
use crate::protocol::command::{Command, RequestHead};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::storage::messages::APPEND_MAX_BYTES;

/// When an alarm that failed rings again.
const ALARM_RETRY: Millis = 60_000;

/// The largest body that `worker.js` receives by itself.
#[wasm_bindgen(js_name = bodyMaxBytes)]
pub fn body_max_bytes() -> usize {
    APPEND_MAX_BYTES
}

#[wasm_bindgen]
extern "C" {
    /// A request's headers, asked for by names that need not be made anew.
    type RequestHeaders;

    #[wasm_bindgen(method)]
    fn get(this: &RequestHeaders, name: &JsValue) -> Option<String>;
}

/// One stream.
#[wasm_bindgen]
pub struct StreamObject {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    config: Config,
    header_names: Interned,
    object: RefCell<Object>,
    /// Whether an announcement is already on its way.
    announcing: Cell<bool>,
}

#[wasm_bindgen]
impl StreamObject {
    /// Makes an object that has read nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> StreamObject {
        let state = State::from(state);
        let sql = ObjectSql::new(&state);
        let config = Config::of(&env);
        let object = RefCell::new(Object::new(config.limits));
        let header_names = Interned::default();
        let inner = Inner { state, sql, config, header_names, object, announcing: Cell::new(false) };
        StreamObject { inner: Rc::new(inner) }
    }

    /// Serves a request whose body has been received.
    pub fn serve(&self, request: &Request, body: &[u8]) -> Result<Response, JsValue> {
        self.inner.serve_request(request, body)
    }

    /// Receives a body that does not come in one piece, and serves its request.
    pub async fn receive(&self, request: Request) -> Result<Response, JsValue> {
        let inner = Rc::clone(&self.inner);
        match body::receive(&request, APPEND_MAX_BYTES).await {
            Ok(body) => inner.serve_request(&request, &body),
            Err(refusal) => reply::response(&Reply::refused(&refusal)),
        }
    }

    /// Answers a request whose body broke off.
    pub fn broken(&self) -> Result<Response, JsValue> {
        reply::response(&Reply::refused(&Refusal::BrokenBody))
    }

    /// The alarm rings.
    pub fn ring(&self) -> Result<(), JsValue> {
        self.inner.ring()
    }

    /// A live reader's socket closed or broke.
    #[wasm_bindgen(js_name = readerLeft)]
    pub fn reader_left(&self) {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
    }
}

impl Inner {
    fn serve_request(self: &Rc<Self>, request: &Request, body: &[u8]) -> Result<Response, JsValue> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |counts| counts.object_requests += 1);
        let url = request.url();
        let path = stream_path(&url).unwrap_or_default();
        let method = request.method().parse::<Method>().unwrap_or_default();
        let headers = request.headers();
        let headers: &RequestHeaders = headers.unchecked_ref();
        let header = |name: &str| headers.get(&self.header_names.string(name));
        let head = RequestHead { method: &method, url: &url, header: &header };
        let response = match Command::parse(&head, body) {
            Ok(command) => self.serve(&path, &command),
            Err(refusal) => reply::response(&Reply::refused(&refusal)),
        };
        if self.config.debug {
            let (rows_read, rows_written) = self.sql.take_row_counts();
            log::served(&path, method.as_str(), rows_read, rows_written);
        }
        response
    }

    fn ring(&self) -> Result<(), JsValue> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |counts| counts.alarms_rung += 1);
        let sockets = ObjectSockets::new(&self.state);
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let rung = self.object.borrow_mut().ring(&ports, clock::now());
        let done = match rung {
            Ok(Rung::Again(at)) => self.sql.set_alarm(at),
            Ok(Rung::Reclaimed) => {
                self.debug("reclaimed");
                Ok(())
            }
            Ok(Rung::Nothing) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            log::failure(&self.name(), &failure);
            // The platform gives up after six failures, and then nobody would reclaim the stream.
            self.sql.set_alarm(clock::now() + ALARM_RETRY).map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }

    /// One request, from the state to the answer, without a wait in between.
    fn serve(self: &Rc<Self>, path: &str, command: &Command<'_>) -> Result<Response, JsValue> {
        let sockets = ObjectSockets::new(&self.state);
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        if !object.is_loaded() {
            self.debug("loaded");
        }
        let served = object.serve(&ports, path, command, clock::now());
        if object.has_news() {
            if sockets.count() == 0 {
                // Nobody to tell: only remembers that it was told.
                let _nobody = object.announce(&ports, clock::now());
            } else {
                self.announce_soon(path);
            }
        }
        drop(object);
        match served {
            Ok(Served { answer, alarm_at }) => {
                if let Some(at) = alarm_at
                    && let Err(failure) = self.sql.set_alarm(at)
                {
                    // The stream is stored, and expires on access all the same.
                    log::failure(path, &failure);
                }
                match answer {
                    Answer::Reply(answer) => reply::response(&answer),
                    Answer::Park(park) => reply::switching(&park.head, &sockets.accept(&park)?),
                }
            }
            Err(Stop::Refused(refusal)) => reply::response(&Reply::refused(&refusal)),
            Err(Stop::Failed(failure)) => self.failed(path, &failure),
        }
    }

    /// Announces in a later turn: the writer's answer does not wait for the readers.
    fn announce_soon(self: &Rc<Self>, path: &str) {
        if self.announcing.replace(true) {
            return;
        }
        let (inner, path) = (Rc::clone(self), path.to_owned());
        #[cfg(feature = "counters")]
        let busy = counters::busy(self.name(), |_| {});
        self.state.wait_until(async move {
            #[cfg(feature = "counters")]
            let _busy = busy;
            let _next_turn = Timer::new(0).over().await;
            inner.announcing.set(false);
            let sockets = ObjectSockets::new(&inner.state);
            let ports = Ports { sql: &inner.sql, sockets: &sockets };
            let told = inner.object.borrow_mut().announce(&ports, clock::now());
            if let Err(failure) = told {
                log::failure(&path, &failure);
            }
        });
    }

    fn failed(&self, path: &str, failure: &Failure) -> Result<Response, JsValue> {
        log::failure(path, failure);
        reply::response(&Reply::failed())
    }

    fn debug(&self, event: &str) {
        if self.config.debug {
            log::event(&self.name(), event);
        }
    }

    fn name(&self) -> String {
        self.state.id().name().unwrap_or_default()
    }
}
