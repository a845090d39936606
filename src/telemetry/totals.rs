//! The counts of a whole server, and what `GET /counters` says of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::awake::Awake;
use super::counts::Counts;
use crate::protocol::Millis;

/// How many objects are watched; those beyond are only counted.
pub const OBJECTS_MAX: usize = 10_000;

/// An object that is watched: its place in the list.
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
    /// An event of an object begins. `None` if the object is one too many to be watched.
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
