//! Answers for an application that decides about access (docs/library.md), where its decision does not suffice.

use wasm_bindgen::prelude::*;
use web_sys::Response;

use crate::cloudflare::{reply, telemetry};
use crate::edge::route::route;
use crate::edge::target::{Target, stream_path};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// Whether a request concerns all streams at once; `url` is in the first form.
#[wasm_bindgen(js_name = isAtRoot)]
pub fn is_at_root(method: &str, url: &str) -> bool {
    route(&method.parse().unwrap_or_default(), &Target::of(url)).is_at_root()
}

/// The body that replaces that of a 401, if a request has no token because the application does not allow it.
#[wasm_bindgen(js_name = notAllowed)]
pub fn not_allowed(response: &Response) -> Option<Vec<u8>> {
    reply::is_unauthorized(response).then(|| Reply::not_allowed().body)
}

/// The response to a request about which the application failed to decide. Logs the failure; `url` is in the first form.
#[wasm_bindgen]
pub fn undecided(url: &str, id: &str, cause: &str) -> Result<Response, JsValue> {
    let failure = Failure::new("authorize", cause);
    telemetry::failure(&stream_path(url).unwrap_or_default(), Some(id), &failure);
    reply::response(&Reply::failed().identified(id))
}
