//! Rust's access to the isolate's memory budget (`budget.js`): how many bytes a read may return, and what Rust buffers itself.

use wasm_bindgen::prelude::*;
use web_sys::Request;

use crate::object::read_size;

#[wasm_bindgen(module = "/src/cloudflare/js/budget.js")]
extern "C" {
    #[wasm_bindgen(js_name = Hold)]
    type JsHold;

    #[wasm_bindgen(js_name = holdForModule)]
    fn hold_for_module(bytes: f64, tenant: &str, address: &str) -> Option<JsHold>;

    #[wasm_bindgen(js_name = leastRoom)]
    fn least_room() -> f64;

    #[wasm_bindgen(js_name = roomFor)]
    fn room_for(tenant: &str, address: &str) -> f64;

    #[wasm_bindgen(method)]
    fn resize(this: &JsHold, bytes: f64) -> bool;

    #[wasm_bindgen(method)]
    fn renew(this: &JsHold);

    #[wasm_bindgen(method)]
    fn release(this: &JsHold);
}

#[wasm_bindgen(module = "/src/cloudflare/js/sending.js")]
extern "C" {
    #[wasm_bindgen(js_name = addressOf)]
    pub(super) fn address_of(request: &Request) -> String;
}

/// The client whose share of the budget pays for a buffer.
#[derive(Clone, Default)]
pub(super) struct Payer {
    pub(super) tenant: String,
    /// The client's address, or empty if it is unknown.
    pub(super) address: String,
}

/// How many bytes a read may return now, at most `max_bytes`. Calls `payer` only if there is not room for `max_bytes`.
pub(super) fn chunk_bytes(max_bytes: usize, payer: impl FnOnce() -> Payer) -> usize {
    let bytes = read_size::chunk_bytes(max_bytes, least_room() as usize);
    if bytes == max_bytes {
        return bytes;
    }
    let Payer { tenant, address } = payer();
    read_size::chunk_bytes(max_bytes, room_for(&tenant, &address) as usize)
}

impl Payer {
    pub(super) fn of(path: &str, address: String) -> Payer {
        Payer { tenant: path.split('/').next().unwrap_or_default().to_owned(), address }
    }

    /// Reserves bytes of the budget. `None` if there is no room.
    pub(super) fn hold(&self, bytes: u64) -> Option<Holding> {
        let hold = hold_for_module(bytes as f64, &self.tenant, &self.address)?;
        Some(Holding { hold })
    }
}

/// Reserved bytes, which are released on drop.
pub(super) struct Holding {
    hold: JsHold,
}

impl Holding {
    /// Changes the reservation to `bytes`. Returns false and changes nothing if there is no room.
    pub(super) fn resize(&self, bytes: usize) -> bool {
        self.hold.resize(bytes as f64)
    }

    /// Postpones the time at which the budget considers the reservation abandoned.
    pub(super) fn renew(&self) {
        self.hold.renew();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.hold.release();
    }
}
