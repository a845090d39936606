//! Caches producers in memory, and decides where storage records the state of each. The message row of an
//! append records it at no cost. The table of producers records it once for many appends.
//!
//! At most [`PRODUCERS_KEPT_MAX`] producers have states in message rows that are newer than the table. All of
//! them are in memory. A new object finds them in the rows written since all producers were last stored.

use std::collections::HashMap;

use crate::protocol::producer::Producer;
use crate::storage::{Failure, Sql, messages, producers, schema};
use crate::stream::Stream;
use crate::stream::fill::Fill;
use crate::stream::producer::ProducerState;

/// The most producers in memory. A stream has few concurrent producers. Beyond them, each append writes a row
/// of the table, and each request reads one.
pub const PRODUCERS_KEPT_MAX: usize = 64;
/// The number of appends to a segment after which all producers are written to the table. A new object reads
/// at most that many rows for the first request with a producer. The number is part of the stored format:
/// rows are read from its last multiple on. It may only be raised to a multiple of itself, or the object
/// could miss rows.
pub const STORED_EACH_APPENDS: u64 = 256;

/// The producers of one stream, as storage records them.
#[derive(Debug)]
pub struct Producers {
    limits: ProducerLimits,
    kept: HashMap<String, KnownProducer>,
    /// Whether the table exists, once that is known. From then on, `kept` has every state that only rows
    /// record.
    has_table: Option<bool>,
    /// Whether the producers are listed (as in a registry), so that each append writes the table.
    are_listed: bool,
}

/// The two limits above, which tests lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerLimits {
    /// The most producers in memory.
    pub kept_max: usize,
    /// The number of appends after which all producers are stored.
    pub stored_each_appends: u64,
}

impl ProducerLimits {
    /// The limits of a server.
    pub const SERVED: ProducerLimits =
        ProducerLimits { kept_max: PRODUCERS_KEPT_MAX, stored_each_appends: STORED_EACH_APPENDS };
}

#[derive(Clone, Copy, Debug)]
struct KnownProducer {
    state: ProducerState,
    /// Whether the table records the state.
    is_stored: bool,
}

/// Where storage records the producer of an accepted request.
#[derive(Debug)]
pub struct Memo<'p> {
    /// The producer that the message row records.
    pub in_row: Option<&'p Producer>,
    /// The states that the same transaction writes to the table.
    pub stored: Vec<(String, ProducerState)>,
    /// Whether the table must be created first.
    pub makes_table: bool,
}

impl Memo<'_> {
    /// Nothing to store: the request has no producer, or it closes the stream, after which producers no
    /// longer matter.
    pub const NOTHING: Memo<'static> = Memo { in_row: None, stored: Vec::new(), makes_table: false };
}

impl Producers {
    pub fn new(limits: ProducerLimits) -> Producers {
        Producers { limits, kept: HashMap::new(), has_table: None, are_listed: false }
    }

    /// From now on, each append writes the table.
    pub fn are_listed(&mut self) {
        self.are_listed = true;
    }

    /// The state of the producer of a request. `None` for a closed stream.
    pub fn known(
        &mut self,
        sql: &dyn Sql,
        stream: &Stream,
        producer: Option<&Producer>,
    ) -> Result<Option<ProducerState>, Failure> {
        let Some(producer) = producer.filter(|_| !stream.closure.is_closed()) else { return Ok(None) };
        let has_table = self.load(sql, stream)?;
        match self.kept.get(&producer.id) {
            Some(kept) => Ok(Some(kept.state)),
            None if has_table => producers::load(sql, &producer.id),
            None => Ok(None),
        }
    }

    /// Reads the states that only rows record, once per object. Returns whether the table exists.
    fn load(&mut self, sql: &dyn Sql, stream: &Stream) -> Result<bool, Failure> {
        if let Some(has_table) = self.has_table {
            return Ok(has_table);
        }
        let has_table = schema::has_table(sql, schema::PRODUCERS)?;
        // All producers were stored at the last multiple, so only later rows can be newer than the table.
        let stored_appends = stream.fill.appends - stream.fill.appends % self.limits.stored_each_appends;
        let in_rows = messages::producers_since(sql, stream.tail.segment, stored_appends, stream.fill)?;
        for (id, state) in in_rows {
            // An earlier version may have stored producers more often, so the table may be as new as the row.
            let stored = if has_table { producers::load(sql, &id)? } else { None };
            if stored < Some(state) {
                self.kept.insert(id, KnownProducer { state, is_stored: false });
            }
        }
        self.has_table = Some(has_table);
        Ok(has_table)
    }

    /// Decides where storage records the producer of an accepted request. `fill` is the segment's fill
    /// including the request.
    pub fn memo<'p>(
        &mut self,
        sql: &dyn Sql,
        stream: &Stream,
        producer: Option<&'p Producer>,
        fill: Fill,
        seals: bool,
    ) -> Result<Memo<'p>, Failure> {
        // Only rows of the tail's segment are read back, so all producers are stored when it is sealed.
        let stores_all = seals || fill.appends.is_multiple_of(self.limits.stored_each_appends);
        if !stores_all && producer.is_none() {
            return Ok(Memo::NOTHING);
        }
        let has_table = self.load(sql, stream)?;
        let mut memo = Memo { in_row: None, stored: Vec::new(), makes_table: !has_table };
        if stores_all {
            // The producer of this request is stored below, with its new state.
            let is_other = |id: &String| producer.is_none_or(|producer| producer.id != *id);
            let unstored = self.kept.iter().filter(|(id, kept)| !kept.is_stored && is_other(id));
            memo.stored.extend(unstored.map(|(id, kept)| (id.clone(), kept.state)));
            memo.stored.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        if let Some(producer) = producer {
            // A producer that is not in memory must be in the table, or the next request would find an older
            // state.
            if stores_all || self.are_listed || !self.has_room(&producer.id) {
                memo.stored.push((producer.id.clone(), ProducerState::of(producer)));
            } else {
                memo.in_row = Some(producer);
            }
        }
        Ok(memo)
    }

    /// Whether a producer fits in memory, after evicting those whose state is in the table.
    fn has_room(&mut self, id: &str) -> bool {
        if self.kept.contains_key(id) {
            return true;
        }
        if self.kept.len() >= self.limits.kept_max {
            // The table has the evicted states. Of the others it has only older ones, so they must stay.
            self.kept.retain(|_, kept| !kept.is_stored);
        }
        self.kept.len() < self.limits.kept_max
    }

    /// Updates memory after storage accepted a request.
    pub fn remembered(&mut self, memo: Memo<'_>) {
        if !memo.stored.is_empty() {
            self.has_table = Some(true);
        }
        if let Some(producer) = memo.in_row {
            let kept = KnownProducer { state: ProducerState::of(producer), is_stored: false };
            match self.kept.get_mut(&producer.id) {
                Some(known) => *known = kept,
                None => drop(self.kept.insert(producer.id.clone(), kept)),
            }
        }
        for (id, state) in memo.stored {
            if self.has_room(&id) {
                self.kept.insert(id, KnownProducer { state, is_stored: true });
            }
        }
    }
}
