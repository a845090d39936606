//! An SSE response: what the object says, passed on. Catch-up comes as plain responses, one after the other as the
//! client takes them; from the tail on it comes over a socket, and the object sleeps between two appends.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{
    Headers, ReadableStream, Response, ResponseInit, WebSocket, WritableStream, WritableStreamDefaultWriter,
};
use worker::Context;
use worker::worker_sys::ext::ResponseExt;

use super::edge_socket::EdgeSocket;
use super::forward::Asked;
use super::sse_client::Client;
use super::upstream::Upstream;
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::telemetry;
use crate::edge::cpu::{CpuAllowance, Work};
use crate::edge::gate::{Bridge, Gate};
use crate::edge::route::live_url_from;
use crate::protocol::bridge::{CLOSE_CATCH_UP, FRAME_HEAD_BYTES};
use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::protocol::{Millis, sse};
use crate::storage::Failure;

#[wasm_bindgen]
extern "C" {
    /// The platform's own pipe: a JavaScript `TransformStream` is an order of magnitude slower.
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
    /// How many bytes it had, if all of it has been read in time.
    #[wasm_bindgen(catch, js_name = passOnBody)]
    async fn pass_on_body(
        body: &ReadableStream,
        writer: &WritableStreamDefaultWriter,
        until: f64,
        tenant: &str,
        address: &str,
    ) -> Result<JsValue, JsValue>;
}

/// How often one response asks the object; the platform allows a request 1,000 of them. The client then resumes.
const ASKS_MAX: usize = 500;

/// How long a response may be silent. A client that went away without a word is noticed when it is written to, and
/// proxies end what is silent for long.
const HEARTBEAT: Millis = 15_000;

/// When the object is asked again that has no room for the next part.
const LATER: Millis = 2_000;

/// When a response ends.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// When its client is to reconnect.
    pub(super) deadline: Millis,
    /// When what its token allows ends: nothing is sent after that.
    pub(super) until: Millis,
    /// How long its client may make no progress.
    pub(super) stall: Millis,
    /// How much CPU time the platform gives the request.
    pub(super) cpu_limit: Millis,
}

/// Answers a request for server-sent events.
pub(super) async fn answer(
    upstream: Upstream,
    Asked { url, headers, client, payer }: Asked,
    ends: Ends,
    context: &Context,
) -> Result<Response, JsValue> {
    let first = match upstream.ask_live(&url, &headers).await {
        Ok(first) => first,
        Err(failure) => return upstream.unavailable(&failure),
    };
    if !goes_on(&first) {
        return Ok(first);
    }
    let pipe = IdentityTransformStream::new();
    let init = ResponseInit::new();
    init.set_status(Reply::EVENTS.as_u16());
    init.set_headers(&first.headers());
    let response = Response::new_with_opt_readable_stream_and_init(Some(&pipe.readable()), &init)?;
    let writer = pipe.writable().get_writer()?;
    let client = Rc::new(Client::new(writer, (client, payer), CpuAllowance::of(ends.cpu_limit)));
    let relay = Relay { upstream, url, headers, ends, client, bridge: Rc::default() };
    context.wait_until(relay.run(first));
    Ok(response)
}

/// Whether a response of the object is not the whole answer: it brings a socket, or a part before the tail.
fn goes_on(response: &Response) -> bool {
    let is_part = response.status() == Reply::EVENTS.as_u16()
        && response.headers().get(header::STREAM_CLOSED).ok().flatten().is_none();
    response.websocket().is_some() || is_part
}

struct Relay {
    upstream: Upstream,
    url: String,
    headers: Headers,
    ends: Ends,
    client: Rc<Client>,
    bridge: Rc<Cell<Bridge>>,
}

/// How a socket's part of the response ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// For good.
    Over,
    /// The object has more than it sends over sockets: ask it.
    AskAgain,
}

impl Relay {
    async fn run(self, first: Response) {
        if let Err(failure) = self.pass_on(first).await {
            telemetry::failure(self.upstream.path(), &failure);
        }
        self.client.end(self.ends.until.min(clock::now() + self.ends.stall)).await;
    }

    async fn pass_on(&self, first: Response) -> Result<(), Failure> {
        let mut source = first;
        for _ in 0..ASKS_MAX {
            let ended = match source.websocket() {
                Some(socket) => self.pass_on_socket(socket).await?,
                None if source.status() == Reply::LATER.as_u16() => self.wait_for_room().await,
                None => self.pass_on_part(&source).await,
            };
            let may_go_on = ended == Ended::AskAgain && self.client.may_go_on_after(Work::Ask);
            if !may_go_on || clock::now() >= self.ends.deadline {
                return Ok(());
            }
            source = match self.bridge.get().passed {
                Some(passed) => self.ask_from(passed).await?,
                None => self.upstream.ask_live(&self.url, &self.headers).await?,
            };
            let goes_on =
                [Reply::EVENTS, Reply::LATER].iter().any(|status| source.status() == status.as_u16());
            if source.websocket().is_none() && !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask_from(&self, passed: Offset) -> Result<Response, Failure> {
        // What the client last saw was its business in the first request only. A copy: the request's own headers
        // cannot be changed, and cloning a handle is not copying.
        let not_copied = |error: JsValue| Failure::new("copy headers", format_args!("{error:?}"));
        let headers = Headers::new_with_headers(&self.headers).map_err(not_copied)?;
        headers.delete(header::LAST_EVENT_ID).map_err(not_copied)?;
        self.upstream.ask_live(&live_url_from(&self.url, passed), &headers).await
    }

    /// The object has no room for the next part. Its client is not told: an `EventSource` that reconnects would take a 503
    /// for the end.
    async fn wait_for_room(&self) -> Ended {
        let left = self.ends.deadline.saturating_sub(clock::now());
        let _later = Timer::new(LATER.min(left)).over().await;
        Ended::AskAgain
    }

    /// There was no room for what came over a socket, and all before it has been read: nothing is asked for until there is.
    async fn wait_to_hold(&self, bytes: usize) -> Ended {
        while clock::now() < self.ends.deadline {
            let _later = self.wait_for_room().await;
            if self.client.signal.aborted() || !self.client.may_go_on_after(Work::Wait) {
                break;
            }
            if self.client.payer.hold(bytes as u64).is_some() {
                self.client.lacked_bytes.set(None);
                return Ended::AskAgain;
            }
        }
        Ended::Over
    }

    /// One bounded part of the catch-up; the next is not asked for before the client has read this one.
    async fn pass_on_part(&self, part: &Response) -> Ended {
        let next = part.headers().get(header::STREAM_NEXT_OFFSET).ok().flatten();
        let closed = part.headers().get(header::STREAM_CLOSED).ok().flatten().is_some();
        let Some(next) = next.as_deref().and_then(Offset::parse) else { return Ended::Over };
        let Some(body) = part.body() else { return Ended::Over };
        let Client { writer, payer, .. } = &*self.client;
        let until = self.ends.until as f64;
        let passed = pass_on_body(&body, writer, until, &payer.tenant, &payer.address).await;
        let Some(bytes) = passed.ok().and_then(|passed| passed.as_f64()) else {
            self.client.is_too_slow.set(true);
            return Ended::Over;
        };
        self.bridge.set(Bridge { passed: Some(next) });
        let may_go_on = self.client.may_go_on_after(Work::PassOn { bytes: bytes as usize });
        if closed || !may_go_on { Ended::Over } else { Ended::AskAgain }
    }

    async fn pass_on_socket(&self, socket: WebSocket) -> Result<Ended, Failure> {
        let (bridge, client) = (Rc::clone(&self.bridge), Rc::clone(&self.client));
        let mut socket = EdgeSocket::open(socket, self.client.signal.clone(), |finish| {
            client.on_gone_finish(finish.clone());
            move |frame: Uint8Array| {
                if client.lacked_bytes.get().is_some() {
                    // What follows on what was not sent is not sent either.
                    return;
                }
                let mut at = bridge.get();
                match at.admit(&frame.subarray(0, FRAME_HEAD_BYTES as u32).to_vec()) {
                    Gate::Skip => {}
                    Gate::Gap => finish.with(CLOSE_CATCH_UP),
                    Gate::Pass => {
                        if client.write(&frame.subarray(FRAME_HEAD_BYTES as u32, frame.length())) {
                            bridge.set(at);
                        }
                    }
                }
            }
        })?;
        loop {
            let next_heartbeat = clock::now() + HEARTBEAT;
            match socket.ended(self.ends.deadline.min(next_heartbeat)).await {
                Some(CLOSE_CATCH_UP) => break,
                None if next_heartbeat < self.ends.deadline && !self.client.has_stalled(self.ends.stall) => {
                    self.client.write(&Uint8Array::from(sse::HEARTBEAT));
                }
                Some(_) | None => return Ok(Ended::Over),
            }
        }
        drop(socket);
        match self.client.lacked_bytes.get() {
            Some(bytes) => Ok(self.wait_to_hold(bytes).await),
            None => Ok(Ended::AskAgain),
        }
    }
}
