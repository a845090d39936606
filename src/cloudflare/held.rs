//! What this isolate holds for those who read (`held.js`), and so what is left for the next.

use wasm_bindgen::prelude::*;

use crate::object::room::{self, COUNTED_BYTES};

#[wasm_bindgen(module = "/src/cloudflare/held.js")]
extern "C" {
    type Held;

    #[wasm_bindgen(constructor)]
    fn new(bytes: f64) -> Held;

    #[wasm_bindgen(method, js_name = letGo)]
    fn let_go(this: &Held);

    #[wasm_bindgen(static_method_of = Held, js_name = bytes)]
    fn all_bytes() -> f64;
}

/// Bytes on their way here; they count until this is dropped.
pub(super) struct Holding {
    held: Held,
}

impl Holding {
    pub(super) fn of(bytes: u64) -> Holding {
        Holding { held: Held::new(bytes as f64) }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.held.let_go();
    }
}

/// How much a read may give now.
pub(super) fn chunk_bytes(max_bytes: usize) -> usize {
    room::chunk_bytes(max_bytes, Held::all_bytes() as usize)
}

/// Whether there is room for an answer of this size.
pub(super) fn has_room(answer_bytes: usize) -> bool {
    answer_bytes < COUNTED_BYTES || room::has_room(answer_bytes, Held::all_bytes() as usize)
}
