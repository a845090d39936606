//! The patterns of subscriptions, in their registry's memory.

use crate::protocol::subscription::glob::Pattern;
use crate::protocol::subscription::watch::Watcher;
use crate::storage::patterns::load;
use crate::storage::{Failure, Sql};

/// The registry's patterns, once they are loaded.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: Option<Vec<(Watcher, Pattern)>>,
}

impl Patterns {
    pub(super) fn load(&mut self, sql: &dyn Sql) -> Result<&mut Vec<(Watcher, Pattern)>, Failure> {
        if self.known.is_none() {
            let parsed = |(watcher, text): (Watcher, String)| Some((watcher, Pattern::parse(&text).ok()?));
            self.known = Some(load(sql)?.into_iter().filter_map(parsed).collect());
        }
        Ok(self.known.get_or_insert_default())
    }
}
