//! The registry: told by each stream's object in its own time, and a stream's object itself.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::clock::{self, Timer};
use super::config::binding;
#[cfg(feature = "counters")]
use super::counters;
use super::stream_object::{Inner, StreamObject};
use super::{log, upstream};
use crate::object::Ports;
use crate::object::registry::{REST_MIN, Report};
use crate::protocol::Millis;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/asking.js")]
extern "C" {
    fn record(namespace: &JsValue, registry: &str, words: Vec<String>) -> Promise;
}

/// The registry, as one object reaches it.
pub(super) struct Registry {
    /// Where it is.
    namespace: Option<JsValue>,
    /// Whether it is being told something, or soon will be: never two things at once.
    telling: Cell<bool>,
    /// When it is told again after that failed; the alarm rings then.
    pub(super) rests_until: Cell<Millis>,
}

impl Registry {
    pub(super) fn of(env: &Env) -> Registry {
        let namespace = binding(env, upstream::BINDING);
        Registry { namespace, telling: Cell::new(false), rests_until: Cell::new(0) }
    }

    pub(super) fn is_there(&self) -> bool {
        self.namespace.is_some()
    }

    async fn tell(&self, report: &Report) -> Result<(), JsValue> {
        let Some(namespace) = &self.namespace else { return Err("there are no objects".into()) };
        let told = record(namespace, &report.registry, report.words.clone());
        JsFuture::from(told).await.map(drop)
    }
}

#[wasm_bindgen]
impl StreamObject {
    /// Takes, as a registry, what a stream's object reports.
    pub fn record(&self, words: Vec<String>) -> Result<(), JsValue> {
        self.inner.record(&words).map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }
}

impl Inner {
    /// Tells the registry what it does not know yet, in a later turn: nobody waits for it.
    pub(super) fn report_soon(self: &Rc<Self>) {
        if !self.may_report() {
            return;
        }
        let inner = Rc::clone(self);
        self.state.wait_until(async move {
            let _next_turn = Timer::new(0).over().await;
            inner.report().await;
        });
    }

    /// The same at once.
    pub(super) async fn report_now(&self) {
        if self.may_report() {
            self.report().await;
        }
    }

    /// Whether there may be something to report, and nobody does; whoever asks does then.
    fn may_report(&self) -> bool {
        self.object.borrow().may_have_reports()
            && clock::now() >= self.registry.rests_until.get()
            && !self.registry.telling.replace(true)
    }

    async fn report(&self) {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |_| {});
        let told = self.report_until_done().await;
        self.registry.telling.set(false);
        if let Err((failure, again_at)) = told {
            log::failure(&self.name(), &failure);
            self.registry.rests_until.set(again_at);
            self.rearm_or_log();
        }
    }

    async fn report_until_done(&self) -> Result<(), (Failure, Millis)> {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let soon = |failure| (failure, clock::now() + REST_MIN);
        loop {
            let next = self.object.borrow_mut().next_report(&ports);
            let before = self.sql.take_row_counts();
            let Some(report) = next.map_err(soon)? else { return Ok(()) };
            let told = self.registry.tell(&report).await;
            told.map_err(|error| report.failed(&format!("{error:?}"), clock::now()))?;
            self.object.borrow_mut().reported(&ports, &report).map_err(soon)?;
            if self.config.debug {
                let after = self.sql.take_row_counts();
                log::worked(&self.name(), ("reported", None), (before.0 + after.0, before.1 + after.1));
            }
        }
    }

    /// The registry's part: appends what a stream's object has told it.
    pub(super) fn record(self: &Rc<Self>, words: &[String]) -> Result<(), Failure> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |counts| counts.object_requests += 1);
        let path = self.name();
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        let recorded = object.record(&ports, (&path, &clock::random), words, clock::now());
        self.log_work("recorded");
        self.follow_up(&path, object);
        recorded
    }
}
