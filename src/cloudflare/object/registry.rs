//! The registry: told by each stream's object in its own time, and a stream's object itself.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::stream_object::{ObjectHost, StreamObject};
use crate::cloudflare::{clock, telemetry};
use crate::object::Ports;
use crate::object::reports::Report;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/asking.js")]
extern "C" {
    fn record(namespace: &JsValue, registry: &str, words: Vec<String>) -> Promise;
}

#[wasm_bindgen]
impl StreamObject {
    /// Takes, as a registry, what a stream's object reports.
    pub fn record(&self, words: Vec<String>) -> Result<(), JsValue> {
        self.inner.record(&words).map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }
}

impl ObjectHost {
    /// Tells the registry.
    pub(super) async fn report(&self, report: &Report) -> Result<(), Failure> {
        let told = record(&self.namespace, &report.registry, report.words.clone());
        let told = JsFuture::from(told).await;
        told.map(drop).map_err(|error| Failure::new("report stream", format_args!("{error:?}")))
    }

    /// The registry's part: appends what a stream's object has told it.
    pub(super) fn record(self: &Rc<Self>, words: &[String]) -> Result<(), Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let path = self.name();
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        let recorded = object.record(&ports, (&path, &clock::random), words, clock::now());
        self.log_work("recorded");
        self.follow_up(object);
        recorded
    }
}
