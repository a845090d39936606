//! The Durable Object's entry points, which `worker.js` calls for each of its events.

use std::rc::Rc;

use http::Method;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::Env;
use worker::worker_sys::DurableObjectState;

use super::answering::BYTES_URL;
use super::fetch::Waiting;
use super::host::ObjectHost;
use super::requester::{RequestHeaders, Requester};
use crate::cloudflare::clock;
use crate::cloudflare::{receiving, telemetry};
use crate::object::Answer;
use crate::protocol::bridge::CLOSE_CATCH_UP;
use crate::protocol::command::{Command, RequestHead};
use crate::protocol::refusal::Refusal;

#[wasm_bindgen]
pub struct StreamObject {
    pub(super) inner: Rc<ObjectHost>,
}

#[wasm_bindgen]
impl StreamObject {
    /// Creates the object without reading its storage.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> StreamObject {
        StreamObject { inner: Rc::new(ObjectHost::new(state, &env)) }
    }

    /// Answers a request other than POST, with a body in one piece: returns a response, or the promise of one.
    pub fn answer(
        &self,
        request: &Request,
        method: &str,
        url: &str,
        body: &[u8],
    ) -> Result<JsValue, JsValue> {
        self.inner.receive(request, method, url, body)
    }

    /// Answers a request other than POST, with a body in parts.
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

    /// Refuses a request whose body was not received; `why` is a code of `receiving.js`.
    #[wasm_bindgen(js_name = refuseBody)]
    pub fn refuse_body(&self, request: &Request, why: u8) -> Result<Response, JsValue> {
        self.inner.refuse(request, &receiving::refusal(why))
    }

    pub async fn ring(&self) -> Result<(), JsValue> {
        let inner = Rc::clone(&self.inner);
        inner.ring().await.map_err(|failure| failure.to_string().into())
    }

    /// Answers a call without bytes: returns the answer as JSON, or the promise of it.
    pub fn asked(&self, text: &str) -> Result<JsValue, JsValue> {
        self.inner.asked(text)
    }

    /// Closes the live readers' sockets after the module has lost its memory, because the object no longer knows what it sent
    /// them. The readers catch up from their own offsets.
    #[wasm_bindgen(js_name = lostMemory)]
    pub fn lost_memory(&self) {
        for socket in self.inner.state.get_websockets() {
            let _gone = socket.as_ref().close_with_code(CLOSE_CATCH_UP);
        }
    }

    /// Counts a live reader's socket that closed or broke.
    #[wasm_bindgen(js_name = readerLeft)]
    pub fn reader_left(&self) {
        let _busy = telemetry::busy(|| self.inner.name(), |counts| counts.socket_closes_received += 1);
        self.inner.debug("reader_left");
    }
}

impl ObjectHost {
    /// Parses a request into a command, and answers it.
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
        let requester = self.requester(url, self.ray(&headers), &|name| self.has(&headers, name));
        let requester = if method == "GET" { requester.reading(request) } else { requester };
        let method = method.parse::<Method>().unwrap_or_default();
        let header = |name: &str| self.header_names.with(name, |name| headers.get(name));
        let head = RequestHead { method: &method, url, header: &header, random: &clock::random };
        let response = match Command::parse(&head, body) {
            Ok(command) => self.respond_or_promise(&requester, &command),
            Err(refusal) => requester.refuse(&refusal).map(JsValue::from),
        };
        self.debug_served(&requester.path, method.as_str());
        self.measure(&requester.path, None);
        response
    }

    fn refuse(&self, request: &Request, refusal: &Refusal) -> Result<Response, JsValue> {
        let headers = RequestHeaders::of(request);
        let ray = self.ray(&headers);
        self.requester(&request.url(), ray, &|name| self.has(&headers, name)).refuse(refusal)
    }

    /// Answers a command: with a promise if it needs the bucket or another object, otherwise with a response.
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
}

/// Joins the parts of a body.
pub(super) fn joined(parts: &[Uint8Array]) -> Vec<u8> {
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.length() as usize).sum());
    for part in parts {
        let at = body.len();
        body.resize(at + part.length() as usize, 0);
        part.copy_to(&mut body[at..]);
    }
    body
}
