//! What this isolate buffers on behalf of clients (`budget.js`): how much a read may give, and room that Rust takes.

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

/// The client that something is buffered for.
#[derive(Clone, Default)]
pub(super) struct Payer {
    /// The project by its name.
    pub(super) tenant: String,
    /// The client's address, as far as it is known.
    pub(super) address: String,
}

/// How much a read may give now. `payer` is only called if there is not room for all.
pub(super) fn chunk_bytes(max_bytes: usize, payer: impl FnOnce() -> Payer) -> usize {
    let bytes = read_size::chunk_bytes(max_bytes, least_room() as usize);
    if bytes == max_bytes {
        return bytes;
    }
    let Payer { tenant, address } = payer();
    read_size::chunk_bytes(max_bytes, room_for(&tenant, &address) as usize)
}

impl Payer {
    /// For a client of a stream.
    pub(super) fn of(path: &str, address: String) -> Payer {
        Payer { tenant: path.split('/').next().unwrap_or_default().to_owned(), address }
    }

    /// Takes room, if there is any.
    pub(super) fn hold(&self, bytes: u64) -> Option<Holding> {
        let hold = hold_for_module(bytes as f64, &self.tenant, &self.address)?;
        Some(Holding { hold })
    }
}

/// Room in use; it is released when this is dropped.
pub(super) struct Holding {
    hold: JsHold,
}

impl Holding {
    /// Whether there is room for so much; without it nothing changes.
    pub(super) fn resize(&self, bytes: usize) -> bool {
        self.hold.resize(bytes as f64)
    }

    /// Says that it is still in use.
    pub(super) fn renew(&self) {
        self.hold.renew();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.hold.release();
    }
}
