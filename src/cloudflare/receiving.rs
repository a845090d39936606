//! Rust's side of `receiving.js`, which receives request bodies: the limits, and the meaning of its refusal codes.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Request;
use worker::Env;

use super::budget::address_of;
use super::config::stalls;
use crate::object::read_size::BODY_SMALL_MAX_BYTES;
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_COMING};
use crate::storage::message_row::APPEND_MAX_BYTES;

#[wasm_bindgen(module = "/src/cloudflare/js/receiving.js")]
extern "C" {
    #[wasm_bindgen(js_name = drain)]
    fn drain_body(request: &Request) -> Promise;

    #[wasm_bindgen(js_name = receiveLarge)]
    fn receive_body(request: &Request, max_bytes: u32, tenant: &str, address: &str) -> Promise;
}

#[wasm_bindgen(module = "/src/cloudflare/js/stalls.js")]
extern "C" {
    #[wasm_bindgen(js_name = setStalls)]
    fn set_stalls(body_millis: f64, reader_millis: f64);
}

/// Reads and discards the body of a refused request.
pub(super) async fn drain(request: &Request) {
    let _drained = JsFuture::from(drain_body(request)).await;
}

/// Receives a body of at most so many bytes.
pub(super) async fn receive(request: &Request, max_bytes: usize, tenant: &str) -> Result<Vec<u8>, Refusal> {
    let received = receive_body(request, max_bytes as u32, tenant, &address_of(request));
    let Ok(received) = JsFuture::from(received).await else { return Err(Refusal::BrokenBody) };
    match received.as_f64() {
        Some(why) => Err(refusal_beyond(why as u8, max_bytes)),
        None => {
            let parts: Array = received.unchecked_into();
            Ok(parts.iter().flat_map(|part| Uint8Array::new(&part).to_vec()).collect())
        }
    }
}

/// Passes the configured stall times to JavaScript.
pub(super) fn configure(env: &Env) {
    let stalls = stalls(env);
    set_stalls(stalls.body as f64, stalls.reader as f64);
}

/// The refusal for a body that was not received, from a code of `receiving.js`.
pub(super) fn refusal(why: u8) -> Refusal {
    refusal_beyond(why, APPEND_MAX_BYTES)
}

fn refusal_beyond(why: u8, max_bytes: usize) -> Refusal {
    match why {
        1 => Refusal::BodyStalled,
        2 => Refusal::Busy { why: TOO_MUCH_IS_COMING },
        3 => Refusal::BodyTooLarge { max_bytes: max_bytes as u64 },
        _ => Refusal::BrokenBody,
    }
}

/// The largest body, in bytes, of a declared length that is received in one piece.
#[wasm_bindgen(js_name = bodySmallMaxBytes)]
pub fn body_small_max_bytes() -> usize {
    BODY_SMALL_MAX_BYTES
}

#[wasm_bindgen(js_name = bodyMaxBytes)]
pub fn body_max_bytes() -> usize {
    APPEND_MAX_BYTES
}
