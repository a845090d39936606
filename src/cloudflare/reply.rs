//! Turns a `Reply` into the platform's response.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{Response, WebSocket};

use crate::protocol::reply::Reply;

#[wasm_bindgen(module = "/src/cloudflare/respond.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn respond(
        status: u16,
        head: &str,
        body: Option<Uint8Array>,
        socket: Option<&WebSocket>,
    ) -> Result<Response, JsValue>;
}

/// A response with the reply's body.
pub(super) fn response(reply: &Reply) -> Result<Response, JsValue> {
    let body = (!reply.body.is_empty()).then(|| Uint8Array::from(&*reply.body));
    respond(reply.status.as_u16(), &head(reply), body, None)
}

/// A response to HEAD.
pub(super) fn without_body(reply: &Reply) -> Result<Response, JsValue> {
    respond(reply.status.as_u16(), &head(reply), None, None)
}

/// A response that hands over a socket; its headers are those of the response that the edge will make.
pub(super) fn switching(reply: &Reply, socket: &WebSocket) -> Result<Response, JsValue> {
    respond(Reply::SWITCHING.as_u16(), &head(reply), None, Some(socket))
}

fn head(reply: &Reply) -> String {
    let mut head = String::with_capacity(1024);
    for (name, value) in &reply.headers {
        head.push_str(name);
        head.push('\n');
        head.push_str(value);
        head.push('\n');
    }
    head
}
