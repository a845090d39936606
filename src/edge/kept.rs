//! A cache in an isolate's memory, bounded by the number of entries.

use std::collections::HashMap;

use crate::protocol::Millis;

/// Values by name, each with the time at which it was stored.
pub struct Kept<V> {
    values: HashMap<String, (V, Millis)>,
    max: usize,
}

impl<V> Kept<V> {
    /// An empty cache of at most `max` entries.
    pub fn new(max: usize) -> Kept<V> {
        Kept { values: HashMap::new(), max }
    }

    /// A value and its age in milliseconds.
    pub fn find(&self, name: &str, now: Millis) -> Option<(&V, Millis)> {
        self.values.get(name).map(|(value, learnt_at)| (value, now.saturating_sub(*learnt_at)))
    }

    /// A value to modify; its age does not change.
    pub fn find_mut(&mut self, name: &str) -> Option<&mut V> {
        self.values.get_mut(name).map(|(value, _)| value)
    }

    /// Stores a value. Replaces the oldest entry if the cache is full.
    pub fn keep(&mut self, name: &str, value: V, now: Millis) {
        if self.values.len() >= self.max && !self.values.contains_key(name) {
            let oldest = self.values.iter().min_by_key(|(_, (_, learnt_at))| *learnt_at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.values.remove(&oldest);
            }
        }
        self.values.insert(name.to_owned(), (value, now));
    }

    pub fn forget(&mut self, name: &str) {
        self.values.remove(name);
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }
}
