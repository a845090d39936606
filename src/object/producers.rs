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
    /// Whether storage knows any, once that was asked.
    any: Option<bool>,
}

impl Producers {
    /// What is known of a request's producer.
    pub fn known(
        &mut self,
        sql: &dyn Sql,
        producer: Option<&Producer>,
    ) -> Result<Option<ProducerState>, Failure> {
        let Some(producer) = producer else { return Ok(None) };
        if let Some(state) = self.kept.get(&producer.id) {
            return Ok(Some(*state));
        }
        let any = match self.any {
            Some(any) => any,
            None => *self.any.insert(producers::any(sql)?),
        };
        if any { producers::load(sql, &producer.id) } else { Ok(None) }
    }

    /// Whether a producer that is [`known`](Self::known) now is the stream's first.
    pub fn is_first(&self) -> bool {
        self.any == Some(false)
    }

    /// Follows storage, which has accepted a request.
    pub fn accepted(&mut self, producer: &Producer) {
        self.any = Some(true);
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
