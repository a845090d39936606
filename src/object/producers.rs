//! The producers of late, in memory, and where storage remembers what each has done: in the row of the message that it
//! appended, which costs nothing, and later, once for many appends, in the table of producers.
//!
//! Whoever is not in memory has nothing newer in the rows than in the table: at most [`PRODUCERS_KEPT_MAX`] have, and those
//! are found again in the rows since the last time that all were stored.

use std::collections::HashMap;

use crate::protocol::producer::Producer;
use crate::storage::{Failure, Sql, messages, producers, schema};
use crate::stream::Stream;
use crate::stream::fill::Fill;
use crate::stream::producer::ProducerState;

/// How many producers are kept. A stream has few that write at the same time; of those beyond, each append writes a row of
/// the table, and each request reads one.
pub const PRODUCERS_KEPT_MAX: usize = 64;
/// After how many appends to a segment the table is brought up to date; at most so many rows are read when an object that has
/// been away is asked by a producer. It is a part of the format: rows are read from the last multiple of it on, so what was
/// written with a larger one, or one that does not divide it, could be missed. It may only grow, to a multiple.
pub const STORED_EACH_APPENDS: u64 = 256;

/// What is known of each producer: what storage says.
#[derive(Debug)]
pub struct Producers {
    limits: ProducerLimits,
    kept: HashMap<String, KnownProducer>,
    /// Whether there is a table, once that was asked. Whatever only rows tell is then in `kept`.
    has_table: Option<bool>,
    /// Whether somebody lists them, so that each is in the table at once.
    are_listed: bool,
}

/// Both of the above, for whoever tests them with less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerLimits {
    /// How many are kept.
    pub kept_max: usize,
    /// After how many appends all of them are stored.
    pub stored_each_appends: u64,
}

impl ProducerLimits {
    /// Those of a server.
    pub const SERVED: ProducerLimits =
        ProducerLimits { kept_max: PRODUCERS_KEPT_MAX, stored_each_appends: STORED_EACH_APPENDS };
}

#[derive(Clone, Copy, Debug)]
struct KnownProducer {
    state: ProducerState,
    /// Whether the table tells it.
    is_stored: bool,
}

/// Where an accepted request is to be remembered.
#[derive(Debug)]
pub struct Memo<'p> {
    /// By the row of its message.
    pub in_row: Option<&'p Producer>,
    /// What the table is told in the same transaction.
    pub stored: Vec<(String, ProducerState)>,
    /// Whether the table has to be made for that.
    pub makes_table: bool,
}

impl Memo<'_> {
    /// Nothing to remember: nobody did it whom one would know again, or it ends the stream, and nobody appends to that.
    pub const NOTHING: Memo<'static> = Memo { in_row: None, stored: Vec::new(), makes_table: false };
}

impl Producers {
    /// Of a stream of which nothing has been read.
    pub fn new(limits: ProducerLimits) -> Producers {
        Producers { limits, kept: HashMap::new(), has_table: None, are_listed: false }
    }

    /// From now on each of them is in the table with its append.
    pub fn are_listed(&mut self) {
        self.are_listed = true;
    }

    /// What is known of the producer of a request to a stream that is open.
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

    /// Reads what only rows tell, once in the object's life; whether there is a table.
    fn load(&mut self, sql: &dyn Sql, stream: &Stream) -> Result<bool, Failure> {
        if let Some(has_table) = self.has_table {
            return Ok(has_table);
        }
        let has_table = schema::has_table(sql, schema::PRODUCERS)?;
        // All producers were stored at the last multiple, so only the rows after it can say more than the table.
        let stored_appends = stream.fill.appends - stream.fill.appends % self.limits.stored_each_appends;
        let told = messages::producers_since(sql, stream.tail.segment, stored_appends, stream.fill)?;
        for (id, state) in told {
            // Newer than the table, unless a version before this one has stored them more often.
            let stored = if has_table { producers::load(sql, &id)? } else { None };
            if stored < Some(state) {
                self.kept.insert(id, KnownProducer { state, is_stored: false });
            }
        }
        self.has_table = Some(has_table);
        Ok(has_table)
    }

    /// Decides where a request that is accepted will be remembered, given how full the segment is with it.
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
            // The producer of this request is stored with its new state, below.
            let is_other = |id: &String| producer.is_none_or(|producer| producer.id != *id);
            let unstored = self.kept.iter().filter(|(id, kept)| !kept.is_stored && is_other(id));
            memo.stored.extend(unstored.map(|(id, kept)| (id.clone(), kept.state)));
            memo.stored.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        if let Some(producer) = producer {
            // A producer that is not in memory must be in the table, or the next request would read too little.
            if stores_all || self.are_listed || !self.has_room(&producer.id) {
                memo.stored.push((producer.id.clone(), ProducerState::of(producer)));
            } else {
                memo.in_row = Some(producer);
            }
        }
        Ok(memo)
    }

    /// Whether one can be kept, if need be instead of those that the table knows, too.
    fn has_room(&mut self, id: &str) -> bool {
        if self.kept.contains_key(id) {
            return true;
        }
        if self.kept.len() >= self.limits.kept_max {
            // The table has these too. Of the others it has an older state, which would be taken for theirs.
            self.kept.retain(|_, kept| !kept.is_stored);
        }
        self.kept.len() < self.limits.kept_max
    }

    /// Follows storage, which has accepted a request.
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
