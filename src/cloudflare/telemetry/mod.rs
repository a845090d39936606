//! What the server tells its operator: log lines always (`log.rs`), counts where the build has a sink for them. Call sites do
//! not know the sinks: a call that counts is compiled in every build, and without a sink it is empty.
//!
//! There is one sink, `counters.rs`, for builds with the feature `counters`; a deployed server has no metrics. Another sink,
//! such as Analytics Engine, would be a file next to it that the functions below call, too. Appends and plain reads pass the
//! edge without coming back to Rust (`js/worker.js`), so their responses can be counted in the object only.

mod counters;
mod log;

use wasm_bindgen::JsValue;
use web_sys::{Request, Response};

pub(super) use log::{configured, event, failure, misconfigured, renamed, served, worked};

use crate::telemetry::counts::Counts;
use crate::telemetry::totals::Watched;

/// Whether anybody reads the counts. Every call below begins with it, so that the optimiser removes what counts.
const COUNTS: bool = cfg!(feature = "counters");

#[inline]
pub(super) fn count(count: impl FnOnce(&mut Counts)) {
    if COUNTS {
        counters::count(count);
    }
}

/// Counts an event of an object, which is busy until what this returns is dropped.
#[inline]
pub(super) fn busy(object: impl FnOnce() -> String, count: impl FnOnce(&mut Counts)) -> Busy {
    let mut busy = Busy { object: [None; COUNTS as usize] };
    if COUNTS {
        counters::count(count);
        busy.object.fill(counters::begin(object()));
    }
    busy
}

/// An object at work.
#[must_use = "the object is busy until this is dropped"]
pub(super) struct Busy {
    /// One where counts are read, else none: what is kept over a wait then takes no room.
    object: [Option<Watched>; COUNTS as usize],
}

impl Drop for Busy {
    #[inline]
    fn drop(&mut self) {
        self.object.iter().flatten().for_each(|object| counters::end(*object));
    }
}

/// Counts a request to the Worker, unless it asks for the counts.
#[inline]
pub(super) fn arrived(url: &str) {
    if COUNTS && !counters::asked_for_at(url) {
        counters::count(|counts| counts.worker_requests += 1);
    }
}

/// The counts, if this request asks for them.
#[inline]
pub(super) fn counts_for(request: &Request) -> Option<Result<Response, JsValue>> {
    (COUNTS && counters::asked_for_at(&request.url())).then(counters::response)
}
