//! The counters of a whole server, and the body of `GET /counters`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::awake::Awake;
use super::counts::Counts;
use crate::protocol::Millis;

/// The most objects whose awake time is measured; further objects are only counted.
pub const OBJECTS_MAX: usize = 10_000;

/// An object whose awake time is measured, as its index in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched(usize);

#[derive(Default)]
pub struct Totals {
    pub counts: Counts,
    places: BTreeMap<String, usize>,
    awake: Vec<Awake>,
    objects_left_out: u64,
}

#[derive(Serialize)]
struct Summary<'t> {
    #[serde(flatten)]
    counts: &'t Counts,
    objects: usize,
    objects_left_out: u64,
    object_busy_ms: Millis,
    object_idle_ms: Millis,
}

impl Totals {
    /// Records the start of an event of an object. `None` if [`OBJECTS_MAX`] objects are already measured.
    pub fn begin(&mut self, object: String, now: Millis) -> Option<Watched> {
        let known = self.places.get(&object).copied();
        let place = known.unwrap_or(self.awake.len());
        if known.is_none() {
            if place >= OBJECTS_MAX {
                self.objects_left_out += 1;
                return None;
            }
            self.places.insert(object, place);
            self.awake.push(Awake::default());
        }
        self.awake[place].begin(now);
        Some(Watched(place))
    }

    pub fn end(&mut self, object: Watched, now: Millis) {
        if let Some(awake) = self.awake.get_mut(object.0) {
            awake.end(now);
        }
    }

    pub fn to_json(&self, now: Millis) -> String {
        let (mut object_busy_ms, mut object_idle_ms) = (0, 0);
        for awake in self.awake.iter().map(|awake| awake.until(now)) {
            object_busy_ms += awake.busy_ms;
            object_idle_ms += awake.idle_ms;
        }
        let summary = Summary {
            counts: &self.counts,
            objects: self.awake.len(),
            objects_left_out: self.objects_left_out,
            object_busy_ms,
            object_idle_ms,
        };
        serde_json::to_string(&summary).unwrap_or_default()
    }
}
