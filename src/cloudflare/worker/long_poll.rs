//! A long-poll: the edge holds the client's request and a socket to the object, which sleeps meanwhile.

use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, Response, ResponseInit, WebSocket};
use worker::worker_sys::ext::ResponseExt;

use super::forward::Asked;
use super::upstream::Upstream;
use crate::cloudflare::budget::Payer;
use crate::cloudflare::{clock, reply};
use crate::edge::gate::{Bridge, Gate};
use crate::edge::route::live_url_from;
use crate::protocol::Millis;
use crate::protocol::bridge;
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::command::Query;
use crate::protocol::names::header;
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/waiting.js")]
extern "C" {
    #[wasm_bindgen(js_name = firstFrame)]
    fn first_frame(socket: &WebSocket, client: &AbortSignal, millis: f64) -> Promise;
}

/// How much of a frame is looked at; longer heads, which are those of long content types, are fetched again.
const REPLY_HEAD_BYTES: u32 = 2048;

/// How many sockets one long-poll waits at, when they end without an answer.
const ASKS_MAX: usize = 3;

/// Answers a long-poll.
pub(super) async fn answer(
    upstream: &Upstream,
    Asked { url, headers, client, payer }: &Asked,
    deadline: Millis,
) -> Result<Response, Failure> {
    let first = upstream.ask_live(url, headers).await?;
    let Some(waits_at) = next_offset(&first).filter(|_| first.websocket().is_some()) else {
        return Ok(first);
    };
    let mut asked = first;
    for _ in 0..ASKS_MAX {
        let Some(socket) = asked.websocket() else { return with_policy_of((url, waits_at), asked) };
        match wait(&socket, waits_at, (client, payer), deadline).await? {
            Waited::Answered(response) => return Ok(response),
            Waited::TimedOut => return nothing_new(&asked),
            Waited::Ended => asked = upstream.ask_live(&live_url_from(url, waits_at), headers).await?,
        }
    }
    match asked.websocket() {
        Some(socket) => {
            let _given_up = wait(&socket, waits_at, (client, payer), 0).await?;
            nothing_new(&asked)
        }
        None => with_policy_of((url, waits_at), asked),
    }
}

fn next_offset(response: &Response) -> Option<Offset> {
    Offset::parse(&response.headers().get(header::STREAM_NEXT_OFFSET).ok()??)
}

/// Keeps a response out of caches if its URL names another place than the offset at which the long-poll waits: `now`, the start,
/// or one past the tail.
fn with_policy_of((url, waits_at): (&str, Offset), found: Response) -> Result<Response, Failure> {
    let offset = Query::parse(url).ok().and_then(|query| query.offset);
    if offset.as_deref().and_then(ReadFrom::parse) == Some(ReadFrom::At(waits_at)) {
        return Ok(found);
    }
    let headers = Headers::new_with_headers(&found.headers()).map_err(not_made)?;
    headers.set(header::CACHE_CONTROL, &CachePolicy::Never.header(Audience::Everyone)).map_err(not_made)?;
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
    socket: &WebSocket,
    waits_at: Offset,
    (client, payer): (&AbortSignal, &Payer),
    deadline: Millis,
) -> Result<Waited, Failure> {
    let millis = deadline.saturating_sub(clock::now()) as f64;
    let result = JsFuture::from(first_frame(socket, client, millis)).await.map_err(not_made)?;
    if result.is_undefined() {
        return Ok(Waited::TimedOut);
    }
    // Not a frame: the socket's close code, and then there is nothing but to ask again.
    let Ok(frame) = result.dyn_into::<ArrayBuffer>() else { return Ok(Waited::Ended) };
    let frame = Uint8Array::new(&frame);
    let head = frame.subarray(0, REPLY_HEAD_BYTES).to_vec();
    // Anything but what follows the offset at which the client waits would leave something out.
    if (Bridge { passed: Some(waits_at) }).admit(&head) != Gate::Pass {
        return Ok(Waited::Ended);
    }
    // Where there is no room for it, the object is asked, which gives less.
    let response = to_response(&frame, head, payer)?;
    Ok(response.map_or(Waited::Ended, Waited::Answered))
}

/// The answer that came; its body does not pass through here.
fn to_response(frame: &Uint8Array, mut head: Vec<u8>, payer: &Payer) -> Result<Option<Response>, Failure> {
    let malformed = || Failure::new("read frame", "it is no reply frame");
    let body_at = bridge::reply_body_at(&head).ok_or_else(malformed)?;
    if body_at > head.len() {
        head = frame.subarray(0, body_at as u32).to_vec();
    }
    let body = frame.subarray(body_at as u32, frame.length());
    let head = bridge::parse_reply_head(&head).ok_or_else(malformed)?;
    reply::passed_on(&head, body, || payer.clone()).map_err(not_made)
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
