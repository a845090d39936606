//! A long-poll: the edge holds the client's request and a socket to the object, which sleeps meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Headers, Request, Response, ResponseInit, WebSocket};
use worker::worker_sys::ext::ResponseExt;

use super::clock;
use super::edge_socket::EdgeSocket;
use super::upstream::Upstream;
use crate::edge::gate::{Bridge, Gate};
use crate::edge::route::live_url_from;
use crate::protocol::Millis;
use crate::protocol::bridge::{CLOSE_DONE, FRAME_HEAD_BYTES, LENGTH_BYTES, parse_reply_head, reply_body_at};
use crate::protocol::cache_policy::CachePolicy;
use crate::protocol::command::Query;
use crate::protocol::names::header;
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// How many sockets one long-poll waits at, when they end without an answer.
const ASKS_MAX: usize = 3;

/// Answers a long-poll.
pub(super) async fn answer(
    upstream: &Upstream,
    request: &Request,
    timeout: Millis,
) -> Result<Response, Failure> {
    let (url, headers, client) = (&request.url(), &request.headers(), request.signal());
    let deadline = clock::now() + clock::jittered(timeout);
    let first = upstream.ask_live(url, headers).await?;
    let Some(waits_at) = next_offset(&first).filter(|_| first.websocket().is_some()) else {
        return Ok(first);
    };
    let mut asked = first;
    for _ in 0..ASKS_MAX {
        let Some(socket) = asked.websocket() else { return with_policy_of(url, asked) };
        match wait(socket, waits_at, client.clone(), deadline).await? {
            Waited::Answered(response) => return Ok(response),
            Waited::TimedOut => return nothing_new(&asked),
            Waited::Ended if client.aborted() => return nothing_new(&asked),
            Waited::Ended => asked = upstream.ask_live(&live_url_from(url, waits_at), headers).await?,
        }
    }
    match asked.websocket() {
        Some(socket) => {
            drop(EdgeSocket::open(socket, client, |_| |_| {})?);
            nothing_new(&asked)
        }
        None => with_policy_of(url, asked),
    }
}

fn next_offset(response: &Response) -> Option<Offset> {
    Offset::parse(&response.headers().get(header::STREAM_NEXT_OFFSET).ok()??)
}

/// What was asked for from `now` and found from an offset must not be kept under `now`.
fn with_policy_of(url: &str, found: Response) -> Result<Response, Failure> {
    let offset = Query::parse(url).ok().and_then(|query| query.offset);
    if offset.as_deref().and_then(ReadFrom::parse) != Some(ReadFrom::Now) {
        return Ok(found);
    }
    let headers = Headers::new_with_headers(&found.headers()).map_err(not_made)?;
    headers.set(header::CACHE_CONTROL, &CachePolicy::Never.header()).map_err(not_made)?;
    let init = ResponseInit::new();
    init.set_status(found.status());
    init.set_headers(&headers);
    Response::new_with_opt_readable_stream_and_init(found.body().as_ref(), &init).map_err(not_made)
}

enum Waited {
    Answered(Response),
    TimedOut,
    Ended,
}

async fn wait(
    socket: WebSocket,
    waits_at: Offset,
    client: AbortSignal,
    deadline: Millis,
) -> Result<Waited, Failure> {
    let received: Rc<RefCell<Option<Uint8Array>>> = Rc::default();
    let answer = Rc::clone(&received);
    let mut socket = EdgeSocket::open(socket, client, |finish| {
        move |frame: Uint8Array| {
            // Anything but what follows the offset at which the client waits would leave something out.
            let mut bridge = Bridge { passed: Some(waits_at) };
            if bridge.admit(&frame.subarray(0, FRAME_HEAD_BYTES as u32).to_vec()) == Gate::Pass {
                answer.borrow_mut().get_or_insert(frame);
            }
            finish.with(CLOSE_DONE);
        }
    })?;
    let ended = socket.ended(deadline).await;
    drop(socket);
    match (received.take(), ended) {
        (Some(frame), _) => to_response(&frame).map(Waited::Answered),
        (None, Some(_)) => Ok(Waited::Ended),
        (None, None) => Ok(Waited::TimedOut),
    }
}

/// The answer that came; its body does not pass through here.
fn to_response(frame: &Uint8Array) -> Result<Response, Failure> {
    let payload = frame.subarray(FRAME_HEAD_BYTES as u32, frame.length());
    let malformed = || Failure::new("read frame", "it is no reply frame");
    let body_at = reply_body_at(&payload.subarray(0, LENGTH_BYTES as u32).to_vec()).ok_or_else(malformed)?;
    let head = payload.subarray(LENGTH_BYTES as u32, body_at as u32).to_vec();
    let head = parse_reply_head(&head).ok_or_else(malformed)?;
    let headers = Headers::new().map_err(not_made)?;
    for (name, value) in &head.headers {
        headers.append(name, value).map_err(not_made)?;
    }
    let init = ResponseInit::new();
    init.set_status(head.status);
    init.set_headers(&headers);
    let body = payload.subarray(body_at as u32, payload.length());
    let body = (body.length() > 0).then_some(&body);
    Response::new_with_opt_js_u8_array_and_init(body, &init).map_err(not_made)
}

/// The object sent this answer ahead, as the headers of the response that brought the socket.
fn nothing_new(asked: &Response) -> Result<Response, Failure> {
    let init = ResponseInit::new();
    init.set_status(Reply::NOTHING_NEW.as_u16());
    init.set_headers(&asked.headers());
    Response::new_with_opt_str_and_init(None, &init).map_err(not_made)
}

fn not_made(error: JsValue) -> Failure {
    Failure::new("make response", format_args!("{error:?}"))
}
