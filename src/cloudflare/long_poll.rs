//! A long-poll: the edge holds the client's request and a socket to the object, which sleeps meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Headers, Response, ResponseInit, WebSocket};
use worker::worker_sys::ext::ResponseExt;

use super::clock;
use super::edge_socket::EdgeSocket;
use super::upstream::Upstream;
use crate::protocol::Millis;
use crate::protocol::bridge::{CLOSE_DONE, FRAME_HEAD_BYTES, parse_reply};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// How often the object is asked when its socket ends without an answer.
const ASKS_MAX: usize = 3;

/// Answers a long-poll.
pub(super) async fn answer(
    upstream: &Upstream,
    url: &str,
    headers: &Headers,
    timeout: Millis,
) -> Result<Response, Failure> {
    let deadline = clock::now() + clock::jittered(timeout);
    let mut asked = upstream.ask_live(url, headers).await?;
    for _ in 1..ASKS_MAX {
        let Some(socket) = asked.websocket() else { return Ok(asked) };
        match wait(socket, deadline).await? {
            Waited::Answered(response) => return Ok(response),
            Waited::TimedOut => return nothing_new(&asked),
            Waited::Ended => asked = upstream.ask_live(url, headers).await?,
        }
    }
    match asked.websocket() {
        None => Ok(asked),
        Some(socket) => match wait(socket, deadline).await? {
            Waited::Answered(response) => Ok(response),
            Waited::TimedOut | Waited::Ended => nothing_new(&asked),
        },
    }
}

enum Waited {
    Answered(Response),
    TimedOut,
    Ended,
}

async fn wait(socket: WebSocket, deadline: Millis) -> Result<Waited, Failure> {
    let received: Rc<RefCell<Option<Uint8Array>>> = Rc::default();
    let answer = Rc::clone(&received);
    let socket = EdgeSocket::open(socket, |finish| {
        move |frame| {
            answer.borrow_mut().get_or_insert(frame);
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
    let (head, body_at) =
        parse_reply(&payload.to_vec()).ok_or_else(|| Failure::new("read frame", "it is no reply frame"))?;
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
