//! Log lines (`log.rs`) and counts of billed events. Call sites do not know where counts go: every build compiles the calls,
//! and without a sink they are empty.
//!
//! The one sink of these counts is `counters.rs`, in builds with the feature `counters`. A deployed server writes data points
//! instead (`analytics.rs`), if the operator binds a dataset. Responses to appends and plain reads pass the Worker without
//! entering Rust; `js/worker.js` measures a share of them.

mod analytics;
mod counters;
mod log;

use wasm_bindgen::JsValue;
use web_sys::{Request, Response};

pub(super) use analytics::Analytics;
pub(super) use log::{configured, event, failure, misconfigured, renamed, served, worked};

use crate::telemetry::counts::Counts;
use crate::telemetry::totals::Watched;

/// Whether this build has a sink for counts. Every function below tests it first, so that the optimiser removes the rest.
const COUNTS: bool = cfg!(feature = "counters");

#[inline]
pub(super) fn count(count: impl FnOnce(&mut Counts)) {
    if COUNTS {
        counters::count(count);
    }
}

/// Counts an event of an object, and marks the object as busy until the returned value is dropped.
#[inline]
pub(super) fn busy(object: impl FnOnce() -> String, count: impl FnOnce(&mut Counts)) -> Busy {
    let mut busy = Busy { object: [None; COUNTS as usize] };
    if COUNTS {
        counters::count(count);
        busy.object.fill(counters::begin(object()));
    }
    busy
}

#[must_use = "the object is busy until this is dropped"]
pub(super) struct Busy {
    /// One element where counts are read, else none: futures that keep this value then do not grow.
    object: [Option<Watched>; COUNTS as usize],
}

impl Drop for Busy {
    #[inline]
    fn drop(&mut self) {
        self.object.iter().flatten().for_each(|object| counters::end(*object));
    }
}

/// Counts a request to the Worker, unless it is for the counts.
#[inline]
pub(super) fn arrived(url: &str) {
    if COUNTS && !counters::asked_for_at(url) {
        counters::count(|counts| counts.worker_requests += 1);
    }
}

/// The response with the counts, if the request is for them.
#[inline]
pub(super) fn counts_for(request: &Request) -> Option<Result<Response, JsValue>> {
    (COUNTS && counters::asked_for_at(&request.url())).then(counters::response)
}
