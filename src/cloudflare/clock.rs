//! Time and chance, where they come from.

use std::pin::pin;

use futures_util::future::{Either, select};
use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

use crate::protocol::Millis;

#[wasm_bindgen]
extern "C" {
    // Not `setTimeout`, which the worker crate's `Delay` uses: what that returns depends on the compatibility date,
    // and a timer that cannot be cleared calls into memory that was freed.
    #[wasm_bindgen(js_namespace = scheduler)]
    fn wait(millis: f64, options: &Object) -> Promise;

    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}

/// A random text that cannot be guessed: 122 bits.
pub(super) fn random() -> String {
    random_uuid()
}

/// A time to wait; at zero, until a later turn. Dropping it ends the wait: a promise that never settles would never
/// free what waits for it.
pub(super) struct Timer {
    abort: AbortController,
    promise: Promise,
}

impl Timer {
    pub(super) fn new(millis: Millis) -> Timer {
        let abort = AbortController::new().expect("it takes no arguments");
        let options = Object::new();
        let _set = Reflect::set(&options, &"signal".into(), &abort.signal());
        Timer { promise: wait(millis as f64, &options), abort }
    }

    /// Resolves when the time is over.
    pub(super) fn over(&self) -> JsFuture {
        JsFuture::from(self.promise.clone())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// What a future gives, or `None` if it takes longer than that. The platform goes on with what it does for the future.
pub(super) async fn within<T>(millis: Millis, future: impl Future<Output = T>) -> Option<T> {
    before(&Timer::new(millis), future).await
}

/// What a future gives, or `None` if the timer ends first.
pub(super) async fn before<T>(timer: &Timer, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), timer.over()).await {
        Either::Left((given, _)) => Some(given),
        Either::Right(_) => None,
    }
}

/// The platform's clock, which stands still between two waits.
pub(super) fn now() -> Millis {
    js_sys::Date::now() as Millis
}

/// A duration shortened by up to a tenth, so that waits that began at the same time end at different times.
pub(super) fn jittered(millis: Millis) -> Millis {
    (millis as f64 * (1.0 - js_sys::Math::random() / 10.0)) as Millis
}
