//! A listing, the objects' part: a registry says which streams there are, and each stream what it is.

use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::stream_object::{ObjectHost, StreamObject};
use crate::cloudflare::{clock, telemetry};
use crate::object::Ports;
use crate::protocol::listing::{Ask, LIMIT_DEFAULT};
use crate::storage::Failure;

#[wasm_bindgen]
impl StreamObject {
    /// Which streams a registry knows.
    pub fn listed(&self, prefix: String, after: String, limit: &str) -> Result<Vec<String>, JsValue> {
        let ask = Ask { prefix, after, limit: limit.parse().unwrap_or(LIMIT_DEFAULT) };
        self.inner.listed(&ask).map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }

    /// What the stream is, if it is there.
    pub fn described(&self) -> Result<Option<String>, JsValue> {
        self.inner.described().map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }
}

impl ObjectHost {
    /// The registry's part: where the next page begins, or nothing; and this page's paths.
    pub(super) fn listed(&self, ask: &Ask) -> Result<Vec<String>, Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let listed = self.object.borrow_mut().listed(&ports, ask)?;
        self.log_work("listed");
        Ok(std::iter::once(listed.next.unwrap_or_default()).chain(listed.paths).collect())
    }

    /// The stream's part: what it is, if it is there.
    pub(super) fn described(self: &Rc<Self>) -> Result<Option<String>, Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let path = self.name();
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        let described = object.described(&ports, &path, clock::now());
        self.log_work("described");
        self.follow_up(object);
        described
    }
}
