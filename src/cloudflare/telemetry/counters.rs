//! Counts in memory, answered at `GET /counters`: for `pnpm cost`, in a build that nobody deploys.
//!
//! On one machine the Worker and all objects are one isolate, and so one instance of this module: its counts are
//! those of the whole server. `pnpm cost` holds them against the requests that it sent.

use std::cell::RefCell;

use http::Uri;
use wasm_bindgen::JsValue;
use web_sys::Response;

use crate::cloudflare::clock;
use crate::telemetry::counts::Counts;
use crate::telemetry::totals::{Totals, Watched};

/// Where the counts are read.
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
