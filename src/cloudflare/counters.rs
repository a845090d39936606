//! What Cloudflare bills, counted where it happens; told at `GET /counters`. Only in a build with the feature
//! `counters`, which `pnpm cost` measures and nobody deploys.
//!
//! On one machine the Worker and all objects are one isolate, and so one instance of this module: its counts are
//! those of the whole server. Whoever reads them holds them against the requests that were sent.

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::Uri;
use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::Response;

use super::clock;
use crate::protocol::Millis;

/// Where the counts are read.
const PATH: &str = "/counters";

/// How many objects are watched; those beyond are only counted.
const OBJECTS_MAX: usize = 10_000;

/// How long an object that could hibernate stays in memory: about 10 s after the end of its last event.
const IDLE_MS: Millis = 10_000;

thread_local! {
    static COUNTERS: RefCell<Counters> = RefCell::default();
}

#[derive(Default)]
struct Counters {
    counts: Counts,
    objects: BTreeMap<String, Awake>,
    objects_left_out: u64,
}

/// What happened so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) worker_requests: u64,
    pub(super) object_requests: u64,
    pub(super) alarms_rung: u64,
    /// Billed as a row written.
    pub(super) alarms_set: u64,
    pub(super) rows_read: u64,
    pub(super) rows_written: u64,
    pub(super) sockets_opened: u64,
    pub(super) socket_closes_received: u64,
    /// Not billed.
    pub(super) socket_messages_sent: u64,
    /// Writes and lists of the bucket, which its port counts here once there is one.
    pub(super) bucket_class_a: u64,
    /// Reads of the bucket, likewise.
    pub(super) bucket_class_b: u64,
    /// Projects that were looked up.
    pub(super) kv_reads: u64,
    /// Rows of the mirror.
    pub(super) mirror_rows_written: u64,
}

/// Counts something.
pub(super) fn add(count: impl FnOnce(&mut Counts)) {
    COUNTERS.with_borrow_mut(|counters| count(&mut counters.counts));
}

/// Counts a request to the Worker, unless it asks for the counts.
pub(super) fn arrived(url: &str) {
    if !asks_for_counts(url) {
        add(|counts| counts.worker_requests += 1);
    }
}

/// The counts, if they are what is asked for.
pub(super) fn told_at(url: &str) -> Option<Result<Response, JsValue>> {
    asks_for_counts(url).then(|| Response::new_with_opt_str(Some(&told(clock::now()))))
}

fn asks_for_counts(url: &str) -> bool {
    url.parse().is_ok_and(|url: Uri| url.path() == PATH)
}

/// Counts an event of an object, which is busy until what this gives is dropped.
pub(super) fn busy(object: String, count: impl FnOnce(&mut Counts)) -> Busy {
    add(count);
    COUNTERS.with_borrow_mut(|counters| {
        if counters.objects.len() < OBJECTS_MAX || counters.objects.contains_key(&object) {
            counters.objects.entry(object.clone()).or_default().begin(clock::now());
        } else {
            counters.objects_left_out += 1;
        }
    });
    Busy { object }
}

/// An object at work.
pub(super) struct Busy {
    object: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        COUNTERS.with_borrow_mut(|counters| {
            if let Some(awake) = counters.objects.get_mut(&self.object) {
                awake.end(clock::now());
            }
        });
    }
}

/// When an object is in memory. It is billed while it is busy. The 10 s until it hibernates are not billed
/// (Cloudflare's pricing page: "idle and eligible for hibernation are not billed for duration, even before the runtime
/// has hibernated them"); they are told apart, for a bill that is on the safe side.
#[derive(Clone, Copy, Default)]
struct Awake {
    events: u32,
    /// Since when it is busy, or idle if there are no events.
    since: Option<Millis>,
    busy_ms: Millis,
    idle_ms: Millis,
}

impl Awake {
    fn begin(&mut self, now: Millis) {
        if self.events == 0 {
            *self = self.until(now);
        }
        self.events += 1;
    }

    fn end(&mut self, now: Millis) {
        self.events = self.events.saturating_sub(1);
        if self.events == 0 {
            *self = Awake { events: 1, ..*self }.until(now);
            self.events = 0;
        }
    }

    /// The same with the time up to now added to where it belongs.
    fn until(mut self, now: Millis) -> Awake {
        let passed = self.since.map_or(0, |since| now.saturating_sub(since));
        if self.events > 0 {
            self.busy_ms += passed;
        } else {
            self.idle_ms += passed.min(IDLE_MS);
        }
        self.since = Some(now);
        self
    }
}

fn told(now: Millis) -> String {
    COUNTERS.with_borrow(|Counters { counts, objects, objects_left_out }| {
        let (busy_ms, idle_ms) = objects
            .values()
            .map(|awake| awake.until(now))
            .fold((0, 0), |sum, awake| (sum.0 + awake.busy_ms, sum.1 + awake.idle_ms));
        json!({
            "worker_requests": counts.worker_requests,
            "object_requests": counts.object_requests,
            "alarms_rung": counts.alarms_rung,
            "alarms_set": counts.alarms_set,
            "rows_read": counts.rows_read,
            "rows_written": counts.rows_written,
            "sockets_opened": counts.sockets_opened,
            "socket_closes_received": counts.socket_closes_received,
            "socket_messages_sent": counts.socket_messages_sent,
            "bucket_class_a": counts.bucket_class_a,
            "bucket_class_b": counts.bucket_class_b,
            "kv_reads": counts.kv_reads,
            "mirror_rows_written": counts.mirror_rows_written,
            "objects": objects.len(),
            "objects_left_out": objects_left_out,
            "object_busy_ms": busy_ms,
            "object_idle_ms": idle_ms,
        })
        .to_string()
    })
}
