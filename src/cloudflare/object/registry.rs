//! The registry: told by each stream's object in its own time, and a stream's object itself.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::chores::Done;
use super::stream_object::{ObjectHost, StreamObject};
use crate::cloudflare::{clock, telemetry};
use crate::object::Ports;
use crate::object::registry::REST_MIN;
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
    /// Tells the registry what it does not know yet.
    pub(super) async fn report(&self) -> Done {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let soon = |failure| (failure, clock::now() + REST_MIN);
        loop {
            let next = self.object.borrow_mut().next_report(&ports);
            let before = self.sql.take_row_counts();
            let Some(report) = next.map_err(soon)? else { return Ok(()) };
            let told = record(&self.namespace, &report.registry, report.words.clone());
            let told = JsFuture::from(told).await;
            told.map_err(|error| report.failed(&format!("{error:?}"), clock::now()))?;
            self.object.borrow_mut().reported(&ports, &report).map_err(soon)?;
            if self.config.debug {
                let after = self.sql.take_row_counts();
                telemetry::worked(&self.name(), "reported", None, before + after);
            }
        }
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
        self.follow_up(&path, object);
        recorded
    }
}
