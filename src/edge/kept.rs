//! What an isolate remembers for a while, up to a number of things.

use std::collections::HashMap;

use crate::protocol::Millis;

/// Values by name, each with the time it was learnt.
pub struct Kept<V> {
    values: HashMap<String, (V, Millis)>,
    max: usize,
}

impl<V> Kept<V> {
    /// Remembers at most so many.
    pub fn new(max: usize) -> Kept<V> {
        Kept { values: HashMap::new(), max }
    }

    /// A value, and how old it is.
    pub fn find(&self, name: &str, now: Millis) -> Option<(&V, Millis)> {
        self.values.get(name).map(|(value, learnt_at)| (value, now.saturating_sub(*learnt_at)))
    }

    /// A value, to change it: it gets no younger.
    pub fn find_mut(&mut self, name: &str) -> Option<&mut V> {
        self.values.get_mut(name).map(|(value, _)| value)
    }

    /// Remembers a value, instead of the oldest if there is no room.
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
