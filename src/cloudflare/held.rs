//! What this isolate holds for others (`held.js`), and so what is left for the next.

use wasm_bindgen::prelude::*;

use crate::object::room::{self, BODIES_MAX_BYTES, COUNTED_BYTES, HELD_MAX_BYTES};

#[wasm_bindgen(module = "/src/cloudflare/held.js")]
extern "C" {
    type Held;

    #[wasm_bindgen(constructor)]
    fn new(kind: u8, bytes: f64) -> Held;

    #[wasm_bindgen(method, js_name = letGo)]
    fn let_go(this: &Held);

    #[wasm_bindgen(static_method_of = Held, js_name = bytes)]
    fn all_bytes(kind: u8) -> f64;
}

/// `ANSWERS` and `BODIES` of `held.js`.
const ANSWERS: u8 = 0;
const BODIES: u8 = 1;

/// Bytes on their way here; they count until this is dropped.
pub(super) struct Holding {
    held: Held,
}

impl Holding {
    /// What is to become an answer.
    pub(super) fn of_answer(bytes: u64) -> Holding {
        Holding { held: Held::new(ANSWERS, bytes as f64) }
    }

    /// A body, if there is room for it.
    pub(super) fn of_body(bytes: usize) -> Option<Holding> {
        let fits = room::has_room(bytes, Held::all_bytes(BODIES) as usize, BODIES_MAX_BYTES);
        fits.then(|| Holding { held: Held::new(BODIES, bytes as f64) })
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.held.let_go();
    }
}

/// How much a read may give now.
pub(super) fn chunk_bytes(max_bytes: usize) -> usize {
    room::chunk_bytes(max_bytes, Held::all_bytes(ANSWERS) as usize)
}

/// Whether there is room for what has to be fetched for an answer.
pub(super) fn has_room_to_fetch(bytes: u64) -> bool {
    room::has_room_to_fetch(bytes, Held::all_bytes(ANSWERS) as usize)
}

/// Whether there is room for an answer of this size.
pub(super) fn has_room(answer_bytes: usize) -> bool {
    // Most do not count, and it takes a call to know what is held.
    answer_bytes < COUNTED_BYTES
        || room::has_room(answer_bytes, Held::all_bytes(ANSWERS) as usize, HELD_MAX_BYTES)
}

/// The largest body that `worker.js` receives by itself: those that count are counted as they come, whatever length was
/// declared.
#[wasm_bindgen(js_name = bodyMaxBytes)]
pub fn body_max_bytes() -> usize {
    COUNTED_BYTES - 1
}
