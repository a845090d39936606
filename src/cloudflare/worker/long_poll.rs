//! Long-polls (PROTOCOL.md 5.7). The Worker keeps the client's request open with a socket to the object, which can hibernate
//! meanwhile.

use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, Response, ResponseInit, WebSocket};
use worker::worker_sys::ext::ResponseExt;

use super::upstream::{ObjectRequest, Upstream, answered};
use crate::cloudflare::budget::Payer;
use crate::cloudflare::{clock, reply};
use crate::edge::live::long_poll::{LongPoll, PollStep};
use crate::protocol::Millis;
use crate::protocol::bridge;
use crate::protocol::cache_policy::{Audience, CachePolicy};
use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/waiting.js")]
extern "C" {
    #[wasm_bindgen(js_name = firstFrame)]
    fn first_frame(socket: &WebSocket, client: &AbortSignal, millis: f64) -> Promise;
}

/// How many bytes of a frame are copied for its head. A longer head, which has a long content type, is copied again in full.
const REPLY_HEAD_BYTES: u32 = 2048;

pub(super) async fn answer(
    upstream: &Upstream,
    request: &ObjectRequest,
    deadline: Millis,
) -> Result<Response, Failure> {
    let ObjectRequest { url, headers, client, payer, live_url, from } = request;
    let mut found = upstream.fetch_live(url, headers).await?;
    let Some(mut poll) = LongPoll::begin(answered(&found), *from, deadline) else { return Ok(found) };
    loop {
        match poll.next() {
            PollStep::Ask(offset) => {
                found = upstream.fetch_live(&live_url.from(offset), headers).await?;
                poll.answered(answered(&found));
            }
            PollStep::Wait(until) => match wait(&found, client, until).await? {
                Waited::Frame(frame) => {
                    let head = frame.subarray(0, REPLY_HEAD_BYTES).to_vec();
                    if poll.frame(&head) {
                        match to_response(&frame, head, payer)? {
                            Some(response) => return Ok(response),
                            None => poll.ended(),
                        }
                    }
                }
                Waited::Ended => poll.ended(),
                Waited::TimedOut => poll.timed_out(),
            },
            PollStep::Answer { uncached: false } => return Ok(found),
            PollStep::Answer { uncached: true } => return uncached(&found, poll.waits_at()),
            PollStep::NothingNew => return nothing_new(&found),
        }
    }
}

/// The answer to a request that named another start than the client's URL.
fn uncached(found: &Response, start: Offset) -> Result<Response, Failure> {
    let headers = Headers::new_with_headers(&found.headers()).map_err(not_made)?;
    headers.set(header::CACHE_CONTROL, &CachePolicy::Never.header(Audience::Everyone)).map_err(not_made)?;
    if found.ok() {
        headers.set(header::STREAM_START_OFFSET, &start.to_string()).map_err(not_made)?;
    }
    let init = ResponseInit::new();
    init.set_status(found.status());
    init.set_headers(&headers);
    Response::new_with_opt_readable_stream_and_init(found.body().as_ref(), &init).map_err(not_made)
}

enum Waited {
    Frame(Uint8Array),
    TimedOut,
    Ended,
}

async fn wait(found: &Response, client: &AbortSignal, until: Millis) -> Result<Waited, Failure> {
    let Some(socket) = found.websocket() else { return Ok(Waited::Ended) };
    let millis = until.saturating_sub(clock::now()) as f64;
    let result = JsFuture::from(first_frame(&socket, client, millis)).await.map_err(not_made)?;
    if result.is_undefined() {
        return Ok(Waited::TimedOut);
    }
    // A number is the socket's close code.
    let Ok(frame) = result.dyn_into::<ArrayBuffer>() else { return Ok(Waited::Ended) };
    Ok(Waited::Frame(Uint8Array::new(&frame)))
}

/// The response in a frame; its body does not enter the module. `None` if the budget has no room for the body.
fn to_response(frame: &Uint8Array, mut head: Vec<u8>, payer: &Payer) -> Result<Option<Response>, Failure> {
    let malformed = || Failure::new("read frame", "the frame is not a reply");
    let body_at = bridge::reply_body_at(&head).ok_or_else(malformed)?;
    if body_at > head.len() {
        head = frame.subarray(0, body_at as u32).to_vec();
    }
    let body = frame.subarray(body_at as u32, frame.length());
    let head = bridge::parse_reply_head(&head).ok_or_else(malformed)?;
    reply::from_frame(&head, body, || payer.clone()).map_err(not_made)
}

/// The response after the timeout. Its headers came with the socket.
fn nothing_new(found: &Response) -> Result<Response, Failure> {
    let init = ResponseInit::new();
    init.set_status(Reply::NOTHING_NEW.as_u16());
    init.set_headers(&found.headers());
    Response::new_with_opt_str_and_init(None, &init).map_err(not_made)
}

fn not_made(error: JsValue) -> Failure {
    Failure::new("make response", format_args!("{error:?}"))
}
