//! Time and chance, where they come from.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::protocol::Millis;

#[wasm_bindgen]
extern "C" {
    // Not `setTimeout`, which the worker crate's `Delay` uses: what that returns depends on the compatibility date,
    // and a timer that cannot be cleared calls into memory that was freed.
    #[wasm_bindgen(js_namespace = scheduler)]
    fn wait(millis: f64) -> Promise;
}

/// Resolves after a time; at zero, in a later turn.
pub(super) fn sleep(millis: Millis) -> JsFuture {
    JsFuture::from(wait(millis as f64))
}

/// Now, as far as the platform lets on: it stands still between two waits.
pub(super) fn now() -> Millis {
    js_sys::Date::now() as Millis
}

/// A duration shortened by up to a tenth, so that what began together does not end together.
pub(super) fn jittered(millis: Millis) -> Millis {
    (millis as f64 * (1.0 - js_sys::Math::random() / 10.0)) as Millis
}
