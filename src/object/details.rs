//! Describes a stream to its owner. This is no read: it renews no TTL and writes no row.

use super::answer::Error;
use super::live::Sockets;
use super::ports::{Ports, Settings};
use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::bridge::{BridgeKind, Channel};
use crate::protocol::content_type::Format;
use crate::protocol::details::{
    DETAILS_MAX, Details, Inspected, ReadersDetails, RetentionDetails, SegmentsDetails, SourceDetails,
    SubscriptionsDetails,
};
use crate::protocol::lifetime::Lifetime;
use crate::protocol::refusal::Refusal;
use crate::protocol::retention::Retention;
use crate::protocol::subscription::SubscriptionName;
use crate::storage::details::{
    ROWS_COUNTED_MAX, forks, messages_before, newest_segments, producers, segments_bytes,
};
use crate::storage::{Failure, Sql, messages};
use crate::stream::Stream;
use crate::stream::fill::Fill;

/// The most segments of the hot log whose messages are counted. More than a few wait only while the bucket fails.
const HOT_SEGMENTS_MAX: u64 = 1000;

impl Object {
    pub(super) fn inspected<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        now: Millis,
    ) -> Result<Inspected, Failure> {
        match self.stream(ports, now) {
            Ok(_) => {}
            Err(Error::Refused(Refusal::Gone)) => return Ok(Inspected::Gone),
            Err(Error::Refused(_)) => return Ok(Inspected::NotFound),
            Err(Error::Failed(failure)) => return Err(failure),
        }
        let (registry, segment_index) = (self.registry_lag(ports.sql)?, self.index_lag(ports.sql)?);
        let Some(stream) = self.state.live() else { return Ok(Inspected::NotFound) };
        let (hot_messages, hot_bytes) = hot(ports.sql, stream)?;
        let trimmed = if stream.first_segment < stream.hot_from {
            messages_before(ports.sql, stream.first_segment)?
        } else {
            Some(stream.rotated_messages)
        };
        let has_messages = stream.rotated_messages > 0 || hot_messages > 0;
        let ttl_seconds = match stream.lifetime {
            Lifetime::Ttl { seconds } => Some(seconds),
            Lifetime::Unlimited | Lifetime::ExpiresAt { .. } => None,
        };
        Ok(Inspected::Found(Box::new(Details {
            path: path.to_owned(),
            content_type: stream.content_type.as_str().to_owned(),
            created_at: stream.created_at,
            written_at: has_messages.then_some(stream.written_at),
            expires_at: stream.expires_at(),
            ttl_seconds,
            closed: stream.closure.is_closed(),
            public: stream.public,
            retention: retention(stream, self.settings),
            start: stream.start().to_string(),
            tail: stream.tail.to_string(),
            messages: trimmed.map(|before| stream.rotated_messages.saturating_sub(before) + hot_messages),
            hot_messages,
            hot_bytes,
            segments: segments(ports.sql, stream)?,
            forked_from: source(stream),
            forks: forks(ports.sql)?,
            producers: producers(
                ports.sql,
                (stream.hot_from <= stream.tail.segment).then_some(stream.tail.segment),
            )?,
            readers: readers(ports.sockets, stream.incarnation),
            subscriptions: self.subscriptions(),
            registry,
            segment_index,
        })))
    }

    /// The subscriptions that watch the stream.
    fn subscriptions(&self) -> SubscriptionsDetails {
        let names = self.watchers.watching.iter().map(|watching| &watching.stored.watcher.subscription);
        let ids = names.filter_map(|name| SubscriptionName::parse(name)).map(|name| name.id);
        SubscriptionsDetails { count: self.watchers.watching.len(), ids: ids.take(DETAILS_MAX).collect() }
    }
}

/// The messages (JSON) or appends in the hot log, and their bytes.
fn hot(sql: &dyn Sql, stream: &Stream) -> Result<(u64, u64), Failure> {
    let is_json = stream.content_type.format() == Format::Json;
    let (mut messages_found, mut bytes_found) = (0, 0);
    let until = stream.tail.segment.min(stream.hot_from.saturating_add(HOT_SEGMENTS_MAX));
    for segment in stream.hot_from..=until {
        let begins = stream.segment_start(segment).position;
        let Some(last) = messages::last(sql, segment)? else { continue };
        let Fill { appends, bytes } = last.fill;
        messages_found += if is_json { last.next_position.saturating_sub(begins) } else { appends };
        bytes_found += bytes;
    }
    Ok((messages_found, bytes_found))
}

fn segments(sql: &dyn Sql, stream: &Stream) -> Result<SegmentsDetails, Failure> {
    let count = stream.hot_from.saturating_sub(stream.first_segment);
    if count == 0 {
        return Ok(SegmentsDetails { count, bytes: Some(0), newest: Vec::new() });
    }
    let is_counted = count <= ROWS_COUNTED_MAX;
    let bytes = is_counted.then(|| segments_bytes(sql, stream.first_segment)).transpose()?;
    let newest = newest_segments(sql, stream.first_segment, stream.incarnation)?;
    Ok(SegmentsDetails { count, bytes, newest })
}

/// The retention that applies to the stream.
fn retention(stream: &Stream, settings: Settings) -> Option<RetentionDetails> {
    let none = RetentionDetails::default();
    let applies = match stream.retention {
        Some(Retention::Seconds { seconds }) => RetentionDetails { seconds: Some(seconds), ..none },
        Some(Retention::Bytes { bytes }) => RetentionDetails { bytes: Some(bytes), ..none },
        None => {
            let defaults = settings.retention;
            RetentionDetails { seconds: defaults.seconds, segments: defaults.segments, ..none }
        }
    };
    (applies != none && settings.segments.is_some()).then_some(applies)
}

/// The source of a fork. With a sub-offset, the fork leaves it somewhere after the offset that the PUT named.
fn source(stream: &Stream) -> Option<SourceDetails> {
    let fork = stream.fork.as_deref()?;
    Some(SourceDetails::of(&fork.source, (fork.sub_offset == 0).then_some(fork.anchor)))
}

fn readers<S: Sockets>(sockets: &S, incarnation: u64) -> ReadersDetails {
    let count = |kind| sockets.connected(Channel { kind, incarnation }).len();
    ReadersDetails {
        sse: count(BridgeKind::Sse) + count(BridgeKind::SseAhead),
        long_poll: count(BridgeKind::LongPoll),
    }
}
