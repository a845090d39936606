//! SSE responses (PROTOCOL.md 5.8): carries out the steps of the state machine in `edge/live/sse.rs`. Catch-up comes in plain
//! responses, each requested after the client has read the one before. At the tail, messages come over a socket, and the
//! object can hibernate between two appends.

use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Headers, ReadableStream, Response, ResponseInit, WritableStream, WritableStreamDefaultWriter};
use worker::Context;
use worker::worker_sys::ext::ResponseExt;

use super::edge_socket::EdgeSocket;
use super::sse_client::{BudgetRoom, Running, SseClient};
use super::upstream::{ObjectRequest, Upstream, answered};
use crate::cloudflare::budget::Payer;
use crate::cloudflare::{clock, telemetry};
use crate::edge::live::sse::{SseEnds, SseResponse, SseStep};
use crate::edge::target::LiveUrl;
use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::protocol::{Millis, sse};
use crate::storage::Failure;

#[wasm_bindgen]
extern "C" {
    /// The platform's native pipe. A JavaScript `TransformStream` is ten times slower.
    type IdentityTransformStream;

    #[wasm_bindgen(constructor)]
    fn new() -> IdentityTransformStream;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &IdentityTransformStream) -> ReadableStream;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &IdentityTransformStream) -> WritableStream;
}

#[wasm_bindgen(module = "/src/cloudflare/js/sending.js")]
extern "C" {
    /// Passes a body on, and resolves with its size in bytes if the client has read all of it in time.
    #[wasm_bindgen(catch, js_name = passOnBody)]
    async fn pass_on_body(
        body: &ReadableStream,
        writer: &WritableStreamDefaultWriter,
        until: f64,
        tenant: &str,
        address: &str,
    ) -> Result<JsValue, JsValue>;
}

/// Answers a request for server-sent events.
pub(super) async fn answer(
    upstream: Upstream,
    request: ObjectRequest,
    ends: SseEnds,
    context: &Context,
) -> Result<Response, JsValue> {
    let ObjectRequest { url, headers, client, payer, live_url, .. } = request;
    let first = match upstream.fetch_live(&url, &headers).await {
        Ok(first) => first,
        Err(failure) => return upstream.unavailable(&failure),
    };
    let room = BudgetRoom::new(payer.clone());
    let Some(response) = SseResponse::begin(answered(&first), ends, room, clock::now()) else {
        return Ok(first);
    };
    let pipe = IdentityTransformStream::new();
    let init = ResponseInit::new();
    init.set_status(Reply::EVENTS.as_u16());
    init.set_headers(&first.headers());
    let events = Response::new_with_opt_readable_stream_and_init(Some(&pipe.readable()), &init)?;
    let running = Running::new(response);
    let client = Rc::new(SseClient::new(pipe.writable().get_writer()?, client, Rc::clone(&running)));
    let relay = Relay { upstream, url, live_url, headers, payer, until: ends.until, running, client };
    context.wait_until(relay.run(first));
    Ok(events)
}

struct Relay {
    upstream: Upstream,
    url: String,
    live_url: LiveUrl,
    headers: Headers,
    payer: Payer,
    until: Millis,
    running: Rc<Running>,
    client: Rc<SseClient>,
}

impl Relay {
    async fn run(self, first: Response) {
        let mut source = first;
        let mut socket = self.listen(&source);
        loop {
            match self.running.update(|response| response.next(clock::now())) {
                SseStep::Ask(from) => {
                    drop(socket.take());
                    if let Some(answer) = self.request(from).await {
                        source = answer;
                        socket = self.listen(&source);
                    }
                }
                SseStep::PassOn => {
                    let bytes = self.pass_on(&source).await;
                    self.running.update(|response| response.passed_on(bytes));
                }
                SseStep::Listen(until) => self.running.wait(until).await,
                SseStep::Heartbeat => self.client.write(&Uint8Array::from(sse::HEARTBEAT)),
                SseStep::Rest(until) => {
                    drop(socket.take());
                    self.running.wait(until).await;
                }
                SseStep::End(until) => {
                    drop(socket.take());
                    return self.client.end(until).await;
                }
            }
        }
    }

    async fn request(&self, from: Option<Offset>) -> Option<Response> {
        let answer = match from {
            Some(from) => self.request_from(from).await,
            None => self.upstream.fetch_live(&self.url, &self.headers).await,
        };
        match answer {
            Ok(answer) => {
                self.running.update(|response| response.answered(answered(&answer), clock::now()));
                Some(answer)
            }
            Err(failure) => {
                self.end_with(&failure);
                None
            }
        }
    }

    async fn request_from(&self, from: Offset) -> Result<Response, Failure> {
        // `Last-Event-ID` is valid for the first request only. The headers must be copied: those of the client's request are
        // immutable, and `clone` copies only the handle.
        let not_copied = |error: JsValue| Failure::new("copy headers", format_args!("{error:?}"));
        let headers = Headers::new_with_headers(&self.headers).map_err(not_copied)?;
        headers.delete(header::LAST_EVENT_ID).map_err(not_copied)?;
        self.upstream.fetch_live(&self.live_url.from(from), &headers).await
    }

    /// Opens the socket in the object's response, if there is one.
    fn listen(&self, source: &Response) -> Option<EdgeSocket> {
        let client = Rc::clone(&self.client);
        let opened = EdgeSocket::open(source.websocket()?, move |event| client.take(event));
        opened.map_err(|failure| self.end_with(&failure)).ok()
    }

    /// Passes on one response of the catch-up at the client's speed. Returns its size in bytes, or `None` if the client has not
    /// read all of it in time.
    async fn pass_on(&self, part: &Response) -> Option<usize> {
        let Payer { tenant, address } = &self.payer;
        let until = self.until as f64;
        let passed = pass_on_body(&part.body()?, &self.client.writer, until, tenant, address).await;
        passed.ok()?.as_f64().map(|bytes| bytes as usize)
    }

    fn end_with(&self, failure: &Failure) {
        telemetry::failure(self.upstream.path(), Some(self.upstream.request()), failure);
        self.running.update(|response| response.left());
    }
}
