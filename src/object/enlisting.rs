//! Stores the patterns of subscriptions at their registry, and finds the subscriptions that watch a new stream.

use super::state::Object;
use crate::protocol::path::StreamPath;
use crate::protocol::registry::{Operation, Record};
use crate::protocol::subscription::glob::Pattern;
use crate::protocol::subscription::watch::{Enlist, Enlisted, PATTERNS_MAX, Watcher};
use crate::storage::commit::Change;
use crate::storage::{Failure, Sql};

impl Object {
    /// Stores or deletes the pattern of a subscription. A late call from an earlier incarnation changes nothing.
    pub(super) fn enlist(&mut self, sql: &dyn Sql, enlist: &Enlist) -> Result<Enlisted, Failure> {
        let Enlist { watcher, pattern } = enlist;
        let known = self.patterns.load(sql)?;
        let found = known.iter().position(|(known, _)| known.subscription == watcher.subscription);
        let is_late = found.is_some_and(|at| known[at].0.incarnation > watcher.incarnation);
        let parsed = match pattern {
            Some(text) => Some(Pattern::parse(text).map_err(|why| Failure::new("enlist subscription", why))?),
            None => None,
        };
        let is_known = match (&parsed, found) {
            (None, None) => true,
            (Some(parsed), Some(at)) => known[at] == (watcher.clone(), parsed.clone()),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_late || is_known {
            return Ok(Enlisted::Done);
        }
        if parsed.is_some() && found.is_none() && known.len() as u64 >= PATTERNS_MAX {
            return Ok(Enlisted::TooMany);
        }
        self.commit(sql, &Change::Enlist { watcher, pattern: pattern.as_deref() })?;
        let known = self.patterns.load(sql)?;
        known.retain(|(known, _)| known.subscription != watcher.subscription);
        known.extend(parsed.map(|parsed| (watcher.clone(), parsed)));
        Ok(Enlisted::Done)
    }

    /// If the reported stream exists, the subscriptions whose patterns match it.
    pub(super) fn watchers_of(&mut self, sql: &dyn Sql, record: &Record) -> Result<Vec<Watcher>, Failure> {
        let is_there = record.events.last().is_some_and(|event| event.seq == Operation::Insert.seq());
        let path = StreamPath::of_text(record.path.clone());
        if !is_there || path.is_ok_and(|path| path.is_protocols()) {
            return Ok(Vec::new());
        }
        let matching = self.patterns.load(sql)?.iter().filter(|(_, pattern)| pattern.matches(&record.path));
        Ok(matching.map(|(watcher, _)| watcher.clone()).collect())
    }
}
