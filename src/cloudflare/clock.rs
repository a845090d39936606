//! The source of time and randomness: no other Rust file reads the platform's clock or its random numbers.

use std::pin::pin;

use futures_util::future::{Either, select};
use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

use crate::protocol::Millis;

#[wasm_bindgen]
extern "C" {
    // Not `setTimeout`, which the worker crate's `Delay` uses: its return type depends on the compatibility date, and a
    // timer that cannot be cleared calls into freed memory.
    #[wasm_bindgen(js_namespace = scheduler)]
    fn wait(millis: f64, options: &Object) -> Promise;

    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}

/// An unguessable text with 122 random bits.
pub(super) fn random() -> String {
    random_uuid()
}

/// A timer; with zero milliseconds it ends in a later turn of the event loop. Dropping it settles its promise, because a
/// promise that never settles leaks the task that awaits it.
pub(super) struct Timer {
    abort: AbortController,
    promise: Promise,
}

impl Timer {
    pub(super) fn new(millis: Millis) -> Timer {
        let abort = AbortController::new().expect("the constructor has no arguments that could be wrong");
        let options = Object::new();
        let _set = Reflect::set(&options, &"signal".into(), &abort.signal());
        Timer { promise: wait(millis as f64, &options), abort }
    }

    /// Resolves when the time is up.
    pub(super) fn over(&self) -> JsFuture {
        JsFuture::from(self.promise.clone())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// The output of a future, or `None` if it takes longer than `millis`. I/O that the future has started continues.
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

/// The platform's clock, in milliseconds since 1970. It advances only when the code awaits I/O.
pub(super) fn now() -> Millis {
    js_sys::Date::now() as Millis
}

/// Shortens a duration by a random amount of up to 10 %, so that waits that begin together do not end together.
pub(super) fn jittered(millis: Millis) -> Millis {
    (millis as f64 * (1.0 - js_sys::Math::random() / 10.0)) as Millis
}
