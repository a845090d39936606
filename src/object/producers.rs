//! The producers of late, in memory: one that appends again is not looked up again.

use std::collections::HashMap;

use crate::protocol::producer::Producer;
use crate::storage::{Failure, Sql, producers};
use crate::stream::fence::ProducerState;

/// How many producers are kept. A stream has few that write at the same time; all others cost a row read each.
pub const PRODUCERS_KEPT_MAX: usize = 64;

/// What is known of each producer: what storage says.
#[derive(Debug, Default)]
pub struct Producers {
    kept: HashMap<String, ProducerState>,
}

impl Producers {
    /// What is known of a request's producer.
    pub fn known(
        &self,
        sql: &dyn Sql,
        producer: Option<&Producer>,
    ) -> Result<Option<ProducerState>, Failure> {
        match producer {
            Some(producer) => match self.kept.get(&producer.id) {
                Some(state) => Ok(Some(*state)),
                None => producers::load(sql, &producer.id),
            },
            None => Ok(None),
        }
    }

    /// Follows storage, which has accepted a request.
    pub fn accepted(&mut self, producer: &Producer) {
        let state = ProducerState { epoch: producer.epoch, seq: producer.seq };
        if let Some(kept) = self.kept.get_mut(&producer.id) {
            *kept = state;
            return;
        }
        if self.kept.len() == PRODUCERS_KEPT_MAX {
            self.kept.clear();
        }
        self.kept.insert(producer.id.clone(), state);
    }
}
