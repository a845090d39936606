//! An SSE response: what the object says, passed on. Catch-up comes as plain responses, one after the other as the
//! client takes them; from the tail on it comes over a socket, and the object sleeps between two appends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Headers, ReadableStream, Response, ResponseInit, WebSocket, WritableStream,
    WritableStreamDefaultWriter,
};
use worker::Context;
use worker::worker_sys::ext::ResponseExt;

use super::budget::{Holding, Payer};
use super::clock::{self, Timer};
use super::edge_socket::{EdgeSocket, Finish};
use super::errand::Asked;
use super::log;
use super::upstream::Upstream;
use crate::edge::gate::{Bridge, Gate, PENDING_MAX_BYTES};
use crate::edge::route::live_url_from;
use crate::protocol::bridge::{CLOSE_CATCH_UP, CLOSE_DONE, FRAME_HEAD_BYTES};
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

#[wasm_bindgen(module = "/src/cloudflare/sending.js")]
extern "C" {
    /// Whether all of it has been read in time.
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

/// How much a client may be behind without being counted: the system's own buffer takes as much.
const UNCOUNTED_BYTES: usize = 16 << 10;

/// When a response ends.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// When its client is to reconnect.
    pub(super) deadline: Millis,
    /// When what its token allows ends: nothing is sent after that.
    pub(super) until: Millis,
    /// How long its client may make no progress.
    pub(super) stall: Millis,
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
    let client = Rc::new(Client::new(writer, client, payer));
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
            log::failure(self.upstream.path(), &failure);
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
            if ended == Ended::Over || clock::now() >= self.ends.deadline {
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
            if self.client.signal.aborted() {
                break;
            }
            if self.client.payer.hold(bytes as u64).is_some() {
                self.client.lacked_bytes.set(None);
                return Ended::AskAgain;
            }
        }
        Ended::Over
    }

    fn has_stalled(&self) -> bool {
        let stalled = self.client.pending.borrow_mut().has_stalled(self.ends.stall);
        self.client.is_too_slow.set(stalled);
        stalled
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
        if passed.ok().and_then(|passed| passed.as_bool()) != Some(true) {
            self.client.is_too_slow.set(true);
            return Ended::Over;
        }
        self.bridge.set(Bridge { passed: Some(next) });
        if closed { Ended::Over } else { Ended::AskAgain }
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
                None if next_heartbeat < self.ends.deadline && !self.has_stalled() => {
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

/// The client's end of the response. It has two closures for all of its writes and outlives them: a closure for
/// each write would not be freed, and one that is freed too early throws.
struct Client {
    signal: AbortSignal,
    writer: WritableStreamDefaultWriter,
    payer: Payer,
    /// Whether it makes no progress, or is behind by more than there is room for.
    is_too_slow: Cell<bool>,
    /// How much room there was not, for what came when it had read all before.
    lacked_bytes: Cell<Option<usize>>,
    pending: Rc<RefCell<Pending>>,
    finish: Rc<RefCell<Option<Finish>>>,
    on_written: OnSettled,
    on_gone: OnSettled,
}

type OnSettled = Closure<dyn FnMut(JsValue) -> Result<JsValue, JsError>>;

/// Events that the client has not read yet: at most [`PENDING_MAX_BYTES`].
#[derive(Default)]
struct Pending {
    sizes: VecDeque<usize>,
    bytes: usize,
    holding: Option<Holding>,
    /// Whether the client has read something since the last heartbeat, and the last heartbeat of which that was true.
    has_progressed: bool,
    progressed_at: Millis,
}

impl Pending {
    /// Takes in a write, if there is room for it.
    fn push(&mut self, size: usize, payer: &Payer) -> bool {
        let bytes = self.bytes + size;
        if self.bytes > 0 && bytes > PENDING_MAX_BYTES {
            return false;
        }
        let fits = match &self.holding {
            Some(holding) => holding.resize(bytes),
            None if bytes <= UNCOUNTED_BYTES => true,
            None => {
                self.holding = payer.hold(bytes as u64);
                self.holding.is_some()
            }
        };
        if fits {
            self.sizes.push_back(size);
            self.bytes = bytes;
        }
        fits
    }

    /// The oldest write has been read.
    fn pop(&mut self) {
        self.bytes -= self.sizes.pop_front().unwrap_or_default();
        self.has_progressed = true;
        if self.bytes == 0 {
            self.holding = None;
        }
    }

    /// Whether the client has not read anything for so long of what was written.
    fn has_stalled(&mut self, stall: Millis) -> bool {
        if let Some(holding) = &self.holding {
            holding.renew();
        }
        let now = clock::now();
        if self.bytes == 0 || std::mem::take(&mut self.has_progressed) {
            self.progressed_at = now;
        }
        now >= self.progressed_at + stall
    }
}

impl Client {
    fn new(writer: WritableStreamDefaultWriter, signal: AbortSignal, payer: Payer) -> Client {
        let pending: Rc<RefCell<Pending>> = Rc::default();
        let finish: Rc<RefCell<Option<Finish>>> = Rc::default();
        let written = Rc::clone(&pending);
        let on_written: OnSettled = Closure::new(move |_| {
            written.borrow_mut().pop();
            Ok(JsValue::UNDEFINED)
        });
        let gone = Rc::clone(&finish);
        let on_gone: OnSettled = Closure::new(move |_| {
            finish_with(&gone, CLOSE_DONE);
            Ok(JsValue::UNDEFINED)
        });
        // A client that goes away while nothing is written is seen here.
        let _settled = writer.closed().then_with_reject(&on_gone, &on_gone);
        let is_too_slow = Cell::new(false);
        let lacked_bytes = Cell::default();
        Client { signal, writer, payer, is_too_slow, lacked_bytes, pending, finish, on_written, on_gone }
    }

    /// What to end when the client is gone.
    fn on_gone_finish(&self, finish: Finish) {
        *self.finish.borrow_mut() = Some(finish);
    }

    /// Writes without waiting. What does not fit is not written: a client that is behind resumes later, and for one that has
    /// read all before it is asked again when there is room.
    fn write(&self, events: &Uint8Array) -> bool {
        let bytes = events.length() as usize;
        let (fits, is_behind) = {
            let mut pending = self.pending.borrow_mut();
            (pending.push(bytes, &self.payer), pending.bytes > 0)
        };
        if !fits && is_behind {
            self.is_too_slow.set(true);
            finish_with(&self.finish, CLOSE_DONE);
        } else if !fits {
            self.lacked_bytes.set(Some(bytes));
            finish_with(&self.finish, CLOSE_CATCH_UP);
        }
        if !fits {
            return false;
        }
        let _settled = self.writer.write_with_chunk(events).then_with_reject(&self.on_written, &self.on_gone);
        true
    }

    /// Ends the response when what was written has been read, or else then; at once where there is no room for it. The
    /// client resumes where it was.
    async fn end(&self, until: Millis) {
        let until = if self.is_too_slow.get() { 0 } else { until };
        let grace = Timer::new(until.saturating_sub(clock::now()));
        let closed = JsFuture::from(self.writer.close());
        if let Either::Right(_) = select(closed, grace.over()).await {
            let _aborted = JsFuture::from(self.writer.abort()).await;
        }
    }
}

fn finish_with(finish: &RefCell<Option<Finish>>, code: u16) {
    if let Some(finish) = finish.borrow().as_ref() {
        finish.with(code);
    }
}
