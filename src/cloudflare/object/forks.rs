//! Forks: what their objects ask each other. These are calls and no requests, so that nothing that comes from outside can
//! look like one.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::requester::Requester;
use super::stream_object::ObjectHost;
use crate::cloudflare::budget::{self, Payer};
use crate::cloudflare::calls::unreached;
use crate::cloudflare::{clock, telemetry};
use crate::object::links::Asking;
use crate::object::{Answer, Ports};
use crate::protocol::command::Create;
use crate::protocol::fork::{Question, Told};
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/asking.js")]
extern "C" {
    #[wasm_bindgen(js_name = askStream)]
    fn ask_stream(namespace: &JsValue, path: &str, question: &str) -> Promise;
}

impl ObjectHost {
    /// Creates a fork, which others have to be asked for.
    pub(super) fn promise_of_fork(
        self: &Rc<Self>,
        requester: Requester,
        request: Create<'static>,
        asking: Asking,
    ) -> Promise {
        let inner = Rc::clone(self);
        future_to_promise(async move {
            let _busy = telemetry::busy(|| inner.name(), |_| {});
            let mut asking = asking;
            let served = loop {
                let told = inner.ask(&asking.path, &asking.question).await;
                let sockets = inner.sockets();
                let ports = Ports { sql: &inner.sql, sockets: &sockets };
                let mut object = inner.object.borrow_mut();
                let confirmed = object.confirm(&ports, &requester.path, &request, asking, told, clock::now());
                inner.follow_up(object);
                if inner.config.debug {
                    telemetry::worked(&requester.path, "confirmed", None, inner.sql.take_row_counts());
                }
                match confirmed {
                    Ok(Answer::Ask(next)) => asking = next,
                    served => break served,
                }
            };
            inner.respond(&requester, served).map(JsValue::from)
        })
    }

    /// Asks another stream.
    pub(super) async fn ask(&self, path: &str, question: &Question) -> Result<Told, Failure> {
        let asked = ask_stream(&self.namespace, path, &text_of(question)?);
        let told = JsFuture::from(asked).await.map_err(|error| unreached(&error))?;
        read_told(&told.as_string().unwrap_or_default())
    }

    /// Another stream asks this one: what it is told, and the bytes that come along.
    pub(super) fn asked(self: &Rc<Self>, question: &str) -> Result<(String, Vec<u8>), Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        let mut question =
            serde_json::from_str(question).map_err(|error| Failure::new("read question", error))?;
        if let Question::Inherit(ask) = &mut question {
            // The fork knows what its own readers hold, which may be elsewhere.
            let payer = || Payer::of(&self.name(), String::new());
            ask.max_bytes = budget::chunk_bytes(ask.max_bytes, payer);
        }
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let path = self.name();
        let mut object = self.object.borrow_mut();
        let said = object.answer(&ports, &path, &question, clock::now());
        self.follow_up(object);
        if self.config.debug {
            telemetry::worked(&path, "asked", None, self.sql.take_row_counts());
        }
        let (told, bytes) = said?;
        Ok((serde_json::to_string(&told).map_err(|error| Failure::new("answer stream", error))?, bytes))
    }

    /// A failure, as the one who asked gets it.
    pub(super) fn thrown(&self, failure: &Failure) -> JsValue {
        telemetry::failure(&self.name(), failure);
        js_sys::Error::new(&failure.to_string()).into()
    }
}

pub(super) fn text_of(question: &Question) -> Result<String, Failure> {
    serde_json::to_string(question).map_err(|error| Failure::new("ask stream", error))
}

pub(super) fn read_told(text: &str) -> Result<Told, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::new("ask stream", error))
}
