//! Caches the stored state of the stream in memory.

use super::producers::{ProducerLimits, Producers};
use super::shapes::Shapes;
use crate::storage::{Failure, Sql, load};
use crate::stream::{Life, Stream};

#[derive(Debug)]
pub(super) struct StreamState {
    life: Option<Life>,
    producers: Producers,
    shapes: Shapes,
}

/// What a load found besides the state.
pub(super) struct JustLoaded {
    pub(super) reported: Option<u64>,
    pub(super) has_links: bool,
    pub(super) has_watchers: bool,
    pub(super) has_subscription: bool,
}

impl StreamState {
    pub(super) fn unknown(producers: ProducerLimits) -> StreamState {
        StreamState { life: None, producers: Producers::new(producers), shapes: Shapes::default() }
    }

    /// Reads the state from storage unless it is in memory.
    pub(super) fn load(&mut self, sql: &dyn Sql, hides_public: bool) -> Result<Option<JustLoaded>, Failure> {
        if self.life.is_some() {
            return Ok(None);
        }
        let load::Loaded { mut life, reported, has_links, has_watchers, has_subscription } = load::load(sql)?;
        if let Some(stream) = life.stored_mut() {
            stream.public &= !hides_public;
        }
        self.life = Some(life);
        Ok(Some(JustLoaded { reported, has_links, has_watchers, has_subscription }))
    }

    pub(super) fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    pub(super) fn life_mut(&mut self) -> Option<&mut Life> {
        self.life.as_mut()
    }

    pub(super) fn live(&self) -> Option<&Stream> {
        match &self.life {
            Some(Life::Live(stream)) => Some(stream),
            Some(Life::Unborn | Life::Ended(_) | Life::Gone(_)) | None => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.life {
            Some(Life::Live(stream)) => Some(stream),
            Some(Life::Unborn | Life::Ended(_) | Life::Gone(_)) | None => None,
        }
    }

    /// Takes the state out of memory for a change. The caller puts it back after the commit, because the
    /// state of storage is unknown until then.
    pub(super) fn take_life(&mut self) -> Option<Life> {
        self.life.take()
    }

    pub(super) fn put_life(&mut self, life: Life) {
        self.life = Some(life);
    }

    pub(super) fn producers(&mut self) -> &mut Producers {
        &mut self.producers
    }

    pub(super) fn stream_and_producers(&mut self) -> Option<(&mut Stream, &mut Producers)> {
        match &mut self.life {
            Some(Life::Live(stream)) => Some((stream, &mut self.producers)),
            Some(Life::Unborn | Life::Ended(_) | Life::Gone(_)) | None => None,
        }
    }

    pub(super) fn stream_and_shapes(&mut self) -> Option<(&Stream, &mut Shapes)> {
        match &self.life {
            Some(Life::Live(stream)) => Some((stream, &mut self.shapes)),
            Some(Life::Unborn | Life::Ended(_) | Life::Gone(_)) | None => None,
        }
    }

    /// Drops all producers, because the stream has ended.
    pub(super) fn forget_producers(&mut self, limits: ProducerLimits) {
        self.producers = Producers::new(limits);
    }
}
