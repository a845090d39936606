//! The Durable Object: receives the request, serves it in one synchronous step, and announces afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Method;
use worker::{
    DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, durable_object,
};

use super::body;
use super::clock::{self, Timer};
use super::config::Config;
#[cfg(feature = "counters")]
use super::counters;
use super::sockets::ObjectSockets;
use super::sql::ObjectSql;
use super::{log, reply};
use crate::edge::route::stream_path;
use crate::object::alarm::Rung;
use crate::object::live::Sockets;
use crate::object::{Answer, Object, Ports, Served, Stop};
use crate::protocol::Millis;
use crate::protocol::command::{Command, RequestHead};
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::storage::messages::APPEND_MAX_BYTES;

/// When an alarm that failed rings again.
const ALARM_RETRY: Millis = 60_000;

/// One stream.
#[durable_object]
pub struct StreamObject {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    sql: ObjectSql,
    config: Config,
    object: RefCell<Object>,
    /// Whether an announcement is already on its way.
    announcing: Cell<bool>,
}

impl DurableObject for StreamObject {
    fn new(state: State, env: Env) -> Self {
        let sql = ObjectSql::new(&state);
        let config = Config::of(&env);
        let object = RefCell::new(Object::new(config.limits));
        let inner = Inner { state, sql, config, object, announcing: Cell::new(false) };
        StreamObject { inner: Rc::new(inner) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.object_requests += 1);
        let request = request.inner();
        let url = request.url();
        let path = stream_path(&url).unwrap_or_default();
        let body = match body::receive(request, APPEND_MAX_BYTES).await {
            Ok(body) => body,
            Err(refusal) => return reply::response(Reply::refused(&refusal)),
        };
        let method = request.method().parse::<Method>().unwrap_or_default();
        let headers = request.headers();
        let header = |name: &str| headers.get(name).ok().flatten();
        let head = RequestHead { method: &method, url: &url, header: &header };
        let response = match Command::parse(&head, &body) {
            Ok(command) => self.inner.serve(&path, &command),
            Err(refusal) => reply::response(Reply::refused(&refusal)),
        };
        if self.inner.config.debug {
            let (rows_read, rows_written) = self.inner.sql.take_row_counts();
            log::served(&path, method.as_str(), rows_read, rows_written);
        }
        response
    }

    async fn alarm(&self) -> Result<Response> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.alarms_rung += 1);
        let inner = &self.inner;
        let sockets = ObjectSockets::new(&inner.state);
        let ports = Ports { sql: &inner.sql, sockets: &sockets };
        let rung = inner.object.borrow_mut().ring(&ports, clock::now());
        let done = match rung {
            Ok(Rung::Again(at)) => inner.sql.set_alarm(at),
            Ok(Rung::Reclaimed) => {
                inner.debug("reclaimed");
                Ok(())
            }
            Ok(Rung::Nothing) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            log::failure(&inner.name(), &failure);
            // The platform gives up after six failures, and then nobody would reclaim the stream.
            inner.sql.set_alarm(clock::now() + ALARM_RETRY).map_err(|failure| failure.to_string())?;
        }
        Response::empty()
    }

    async fn websocket_message(&self, _socket: WebSocket, _message: WebSocketIncomingMessage) -> Result<()> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.socket_messages_received += 1);
        Ok(())
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> Result<()> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
        Ok(())
    }
}

impl Inner {
    /// One request, from the state to the answer, without a wait in between.
    fn serve(self: &Rc<Self>, path: &str, command: &Command<'_>) -> Result<Response> {
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
                    Answer::Reply(answer) => reply::response(answer),
                    Answer::Park(park) => reply::switching(&park.head, sockets.accept(&park)?),
                }
            }
            Err(Stop::Refused(refusal)) => reply::response(Reply::refused(&refusal)),
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

    fn failed(&self, path: &str, failure: &Failure) -> Result<Response> {
        log::failure(path, failure);
        reply::response(Reply::failed())
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
