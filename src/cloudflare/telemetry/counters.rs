//! Counts billed events in memory and serves them at `GET /counters`, for `pnpm cost`. A deployed build does not contain this.
//!
//! On one machine the Worker and all objects share one isolate, and therefore one instance of this module, so the counts
//! cover the whole server. `pnpm cost` compares them with the requests that it sent.

use std::cell::RefCell;

use http::Uri;
use wasm_bindgen::JsValue;
use web_sys::Response;

use crate::cloudflare::clock;
use crate::telemetry::counts::Counts;
use crate::telemetry::totals::{Totals, Watched};

/// The path that serves the counts.
const PATH: &str = "/counters";

thread_local! {
    static TOTALS: RefCell<Totals> = RefCell::default();
}

pub(super) fn count(count: impl FnOnce(&mut Counts)) {
    TOTALS.with_borrow_mut(|totals| count(&mut totals.counts));
}

pub(super) fn begin(object: String) -> Option<Watched> {
    TOTALS.with_borrow_mut(|totals| totals.begin(object, clock::now()))
}

pub(super) fn end(object: Watched) {
    TOTALS.with_borrow_mut(|totals| totals.end(object, clock::now()));
}

pub(super) fn asked_for_at(url: &str) -> bool {
    url.parse().is_ok_and(|url: Uri| url.path() == PATH)
}

pub(super) fn response() -> Result<Response, JsValue> {
    Response::new_with_opt_str(Some(&TOTALS.with_borrow(|totals| totals.to_json(clock::now()))))
}
