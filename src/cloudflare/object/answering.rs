//! Answers calls from other objects and from the Worker. No client can make a call.

use std::rc::Rc;

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::Response;

use super::host::ObjectHost;
use super::requester::RequestHeaders;
use crate::cloudflare::budget::{self, Payer};
use crate::cloudflare::{clock, reply, telemetry};
use crate::object::Ports;
use crate::object::said::Said;
use crate::protocol::call::{Answered, Call};
use crate::storage::Failure;

/// The URL and the header of a call whose answer carries bytes (`calls.js`).
pub(super) const BYTES_URL: &str = "https://streams/inherited";
const CALL: &str = "question";

impl ObjectHost {
    /// Answers a call without bytes: returns the answer as JSON, or the promise of it.
    pub(super) fn asked(self: &Rc<Self>, text: &str) -> Result<JsValue, JsValue> {
        let host = Rc::clone(self);
        let call = Call::parse(text);
        let deletes = matches!(call, Call::Orphans { deletes: true, .. });
        let answered = host.answer_call(call).map_err(|failure| host.to_error(&failure))?.answered;
        if deletes && let Answered::Orphans(orphans) = answered {
            let deleted = async move {
                let deleted = host.delete_orphans(orphans).await;
                deleted.map(|answered| answered.to_json().into()).map_err(|failure| host.to_error(&failure))
            };
            return Ok(future_to_promise(deleted).into());
        }
        Ok(answered.to_json().into())
    }

    /// Answers a call with bytes.
    pub(super) fn answer_with_bytes(self: &Rc<Self>, headers: &RequestHeaders) -> Result<Response, JsValue> {
        let call = Call::parse(&headers.get(&CALL.into()).unwrap_or_default());
        let Said { answered, bytes } = self.answer_call(call).map_err(|failure| self.to_error(&failure))?;
        reply::answered(&answered.to_json(), &bytes, || Payer::of(&self.name(), String::new()))
    }

    fn answer_call(self: &Rc<Self>, mut call: Call) -> Result<Said, Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        if matches!(call, Call::Orphans { .. }) && self.bucket.is_none() {
            return Err(Failure::new("delete orphans", "no bucket is bound: bind SEGMENTS"));
        }
        if let Call::Inherit(inherit) = &mut call {
            // No address: the fork, which may run in another isolate, counts the bytes of its own readers.
            let payer = || Payer::of(&self.name(), String::new());
            inherit.max_bytes = budget::chunk_bytes(inherit.max_bytes, payer);
        }
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let path = self.name();
        let mut object = self.object.borrow_mut();
        let said = object.answer(&ports, &path, &call, &clock::random, clock::now());
        self.log_work(event_of(&call));
        self.follow_up(object);
        said
    }

    /// Deletes orphans in one request: a page of the bucket has fewer than the platform deletes at once.
    async fn delete_orphans(self: &Rc<Self>, orphans: Vec<String>) -> Result<Answered, Failure> {
        let _busy = telemetry::busy(|| self.name(), |_| {});
        let deleted = match &self.bucket {
            Some(bucket) if !orphans.is_empty() => bucket.delete(orphans.clone()).await,
            Some(_) | None => Ok(()),
        };
        let mut object = self.object.borrow_mut();
        object.swept();
        self.follow_up(object);
        deleted.map(|()| Answered::Orphans(orphans))
    }

    /// Logs a failure, and makes the error that the caller receives.
    fn to_error(&self, failure: &Failure) -> JsValue {
        telemetry::failure(&self.name(), failure);
        js_sys::Error::new(&failure.to_string()).into()
    }
}

/// The name of the debug event for a call.
fn event_of(call: &Call) -> &'static str {
    match call {
        Call::Refer(_) | Call::Release(_) | Call::Walk(_) | Call::Inherit(_) | Call::Unknown => "asked",
        Call::Record(_) => "recorded",
        Call::List(_) => "listed",
        Call::Describe => "described",
        Call::Orphans { deletes: false, .. } => "audited",
        Call::Orphans { deletes: true, .. } => "swept",
    }
}
