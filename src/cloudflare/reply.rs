//! Turns a `Reply` into the platform's response. Large bodies count against the memory budget until the client has read them.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{ReadableStream, Response, WebSocket};

use super::budget::Payer;
use crate::object::read_size::COUNTED_BYTES;
use crate::protocol::bridge::ReplyHead;
use crate::protocol::cache_policy::{SECRET, SECRET_EVENTS};
use crate::protocol::names::header;
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use crate::protocol::reply::Reply;

/// The header that carries the answer to a call with bytes. No client sees it.
const ANSWERED: &str = "told";

#[wasm_bindgen(module = "/src/cloudflare/js/respond.js")]
extern "C" {
    /// The body may be a view of the module's memory, because the constructor of a response copies it.
    #[wasm_bindgen(catch)]
    fn respond(
        status: u16,
        header_lines: &str,
        body: Option<&[u8]>,
        socket: Option<&WebSocket>,
    ) -> Result<Response, JsValue>;

    /// Makes a response whose body counts against the budget until the client has read it. `None` if there is no room.
    #[wasm_bindgen(catch, js_name = respondCounted)]
    fn respond_counted(
        status: u16,
        header_lines: &str,
        body: Uint8Array,
        tenant: &str,
        address: &str,
    ) -> Result<Option<Response>, JsValue>;

    #[wasm_bindgen(catch, js_name = respond)]
    fn respond_with(status: u16, header_lines: &str, body: &Uint8Array) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = respond)]
    fn respond_over(
        status: u16,
        header_lines: &str,
        body: Option<ReadableStream>,
    ) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = withHeaders)]
    fn with_headers(response: &Response, header_lines: &str) -> Result<Response, JsValue>;
}

/// A response with the reply's body, which is small and does not count against the budget.
pub(super) fn response(reply: &Reply) -> Result<Response, JsValue> {
    uncounted(reply.status.as_u16(), &reply.header_lines(), &reply.body)
}

/// A response with the reply's body. `None` if the budget has no room for the body.
pub(super) fn response_for(
    reply: &Reply,
    payer: impl FnOnce() -> Payer,
) -> Result<Option<Response>, JsValue> {
    with_bytes(reply.status.as_u16(), &reply.header_lines(), &reply.body, payer)
}

fn with_bytes(
    status: u16,
    header_lines: &str,
    bytes: &[u8],
    payer: impl FnOnce() -> Payer,
) -> Result<Option<Response>, JsValue> {
    if bytes.len() < COUNTED_BYTES {
        return uncounted(status, header_lines, bytes).map(Some);
    }
    let Payer { tenant, address } = payer();
    // A copy, because the module reuses its memory before the client has read the body.
    respond_counted(status, header_lines, Uint8Array::from(bytes), &tenant, &address)
}

fn uncounted(status: u16, header_lines: &str, bytes: &[u8]) -> Result<Response, JsValue> {
    respond(status, header_lines, (!bytes.is_empty()).then_some(bytes), None)
}

/// A response whose body is a stream from elsewhere; its bytes do not enter the module.
pub(super) fn over(reply: &Reply, body: Option<ReadableStream>) -> Result<Response, JsValue> {
    respond_over(reply.status.as_u16(), &reply.header_lines(), body)
}

/// A response to a call: the answer in a header, and the bytes as the body.
pub(super) fn answered(text: &str, bytes: &[u8], payer: impl FnOnce() -> Payer) -> Result<Response, JsValue> {
    let response = with_bytes(Reply::ANSWERED.as_u16(), &format!("{ANSWERED}\n{text}\n"), bytes, payer)?;
    response.map_or_else(|| self::response(&Reply::refused(&Refusal::Busy { why: TOO_MUCH_IS_HELD })), Ok)
}

/// The answer in the header of such a response.
pub(super) fn answered_in(response: &Response) -> String {
    response.headers().get(ANSWERED).ok().flatten().unwrap_or_default()
}

/// A response to a HEAD request.
pub(super) fn without_body(reply: &Reply) -> Result<Response, JsValue> {
    respond(reply.status.as_u16(), &reply.header_lines(), None, None)
}

/// A response from a frame of a socket; its body does not enter the module. `None` if the budget has no room for the body.
pub(super) fn from_frame(
    head: &ReplyHead<'_>,
    body: Uint8Array,
    payer: impl FnOnce() -> Payer,
) -> Result<Option<Response>, JsValue> {
    match body.length() as usize {
        0 => respond(head.status, head.header_lines, None, None).map(Some),
        1..COUNTED_BYTES => respond_with(head.status, head.header_lines, &body).map(Some),
        COUNTED_BYTES.. => {
            let Payer { tenant, address } = payer();
            respond_counted(head.status, head.header_lines, body, &tenant, &address)
        }
    }
}

/// A response that passes a socket to the Worker, with the headers of the response that the Worker will make.
pub(super) fn switching(reply: &Reply, socket: &WebSocket) -> Result<Response, JsValue> {
    respond(Reply::SWITCHING.as_u16(), &reply.header_lines(), None, Some(socket))
}

/// Whether the object refused a request that no token allows.
pub(super) fn is_unauthorized(response: &Response) -> bool {
    response.status() == Reply::UNKNOWN.as_u16()
}

/// Whether the object refused the request as wrong.
pub(super) fn is_refusal(response: &Response) -> bool {
    Reply::is_refusal(response.status())
}

/// The same response with the id of its request, if it has none yet. A response of an object has its own.
pub(super) fn identified(response: Response, id: &str) -> Result<Response, JsValue> {
    let headers = response.headers();
    if headers.has(header::X_REQUEST_ID)? || headers.set(header::X_REQUEST_ID, id).is_ok() {
        return Ok(response);
    }
    // The headers of a response that came from elsewhere are immutable.
    with_headers(&response, &format!("{}\n{id}\n", header::X_REQUEST_ID))
}

/// The same response, but uncacheable and without a reader key: a reader key opens cached copies, and a token in a URL or
/// a cookie may have leaked.
pub(super) fn uncacheable(response: &Response, is_events: bool) -> Result<Response, JsValue> {
    with_headers(response, &uncacheable_lines(is_events))
}

fn uncacheable_lines(is_events: bool) -> String {
    let policy = if is_events { SECRET_EVENTS } else { SECRET };
    format!("{}\n{policy}\n{}\n\n", header::CACHE_CONTROL, header::STREAM_READER_KEY)
}

/// The same response without the reader key, for a requester that may not read the stream.
pub(super) fn without_reader_key(response: &Response) -> Result<Response, JsValue> {
    with_headers(response, &format!("{}\n\n", header::STREAM_READER_KEY))
}

/// The same response, but uncacheable, without a reader key, and with `Cross-Origin-Resource-Policy: same-origin`.
pub(super) fn uncacheable_same_origin(response: &Response, is_events: bool) -> Result<Response, JsValue> {
    with_headers(
        response,
        &format!("{}{}\nsame-origin\n", uncacheable_lines(is_events), header::RESOURCE_POLICY),
    )
}
