//! Writes to SQLite. This is the only module that does. Each change is stored whole or not at all.

use super::forks::Link;
use super::messages::{self, Written};
use super::outbox::Event;
use super::registry::ReportMark;
use super::segments::{self, SegmentRow};
use super::subscription::{self, SubscriptionChange};
use super::watchers::{self, StoredWatcher};
use super::webhook_keys::{self, StoredKey};
use super::{Failure, Sql, forks, outbox, patterns, producers, registry, schema, stream_row, summaries};
use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::registry::Registries;
use crate::protocol::subscription::summary::SubscriptionSummary;
use crate::protocol::subscription::watch::Watcher;
use crate::stream::content::Content;
use crate::stream::fork::Fork;
use crate::stream::producer::ProducerState;
use crate::stream::{Closure, Ended, Stream};

/// A decided change of one stream, stored by [`commit`].
#[derive(Debug)]
pub enum Change<'a> {
    /// Converts data stored by an older version to the current schema.
    Upgrade {
        from: u64,
    },
    /// Creates a stream with its initial content.
    Create {
        path: &'a str,
        /// The stream before its content.
        stream: &'a Stream,
        content: &'a Content<'a>,
        /// Whether the content fills the segment.
        seals: bool,
        /// The kind of registry to which earlier incarnations are reported.
        registries: Registries,
    },
    Append(AppendChange<'a>),
    /// A segment has been uploaded. Here and below, `noted_at` is the current time if there is a segment
    /// index.
    Rotate {
        segment: &'a SegmentRow,
        noted_at: Option<Millis>,
    },
    /// Retention drops the oldest segments.
    Trim {
        /// The stream before the change.
        stream: &'a Stream,
        /// The first segment that the stream retains.
        first_segment: u64,
    },
    /// Segments have been deleted from the bucket.
    Forget {
        through_segment: u64,
        noted_at: Option<Millis>,
    },
    /// Notes all segments for a segment index that knows none of them.
    List {
        /// The first segment that may be in the bucket.
        floor: u64,
        noted_at: Millis,
    },
    /// The segment index has received the notices.
    Deliver {
        through_id: u64,
    },
    /// The registry has recorded the stream's incarnations.
    Report {
        through: ReportMark,
        registries: Registries,
        /// Subscriptions that watch the stream from its beginning, as the registry has answered.
        watchers: &'a [StoredWatcher],
    },
    /// Replaces the stream's reader key.
    Rekey {
        reader_key: &'a str,
    },
    /// A read renewed the stream's TTL.
    Touch {
        lease_until: Millis,
    },
    /// The stream was deleted or has expired.
    End {
        /// The stream before the change.
        stream: &'a Stream,
        ended: Ended,
        /// A segment whose upload may be in progress.
        uploading: Option<u64>,
        /// The last fork that referenced the stream, if its release ends the stream.
        released: Option<Released<'a>>,
        now: Millis,
    },
    /// The stream was deleted or has expired, but forks still reference it.
    Leave {
        now: Millis,
    },
    /// Notes a link before the fork's source is called.
    Intend {
        link: &'a Link,
    },
    /// The source has released the link, or never knew of it.
    Forgo {
        link: &'a str,
    },
    /// A fork now references the stream.
    Hold {
        link: &'a str,
        path: &'a str,
        /// The first segment that the fork needs.
        first_segment: u64,
    },
    /// A fork no longer references the stream.
    Release(Released<'a>),
    /// A fork has learned that an owner rotated inherited segments.
    Inherit {
        fork: &'a Fork,
    },
    /// A subscription watches the stream, or watches it otherwise.
    Watch {
        watcher: &'a StoredWatcher,
    },
    /// Subscriptions watch the stream no longer.
    Unwatch {
        subscriptions: &'a [String],
        /// Whether no other is left.
        is_last: bool,
    },
    /// A registry stores the pattern of a subscription, or deletes it.
    Enlist {
        watcher: &'a Watcher,
        pattern: Option<&'a str>,
    },
    /// A registry stores the summary of a subscription.
    Summarize {
        subscription: &'a str,
        summary: &'a SubscriptionSummary,
    },
    /// A registry stores a key that signs webhooks, and deletes those that are published no longer.
    AddKey {
        key: &'a StoredKey,
        dropped: &'a [String],
    },
    Subscription(SubscriptionChange<'a>),
}

/// An append, a close, or both in one.
#[derive(Debug)]
pub struct AppendChange<'a> {
    /// The stream before the change.
    pub stream: &'a Stream,
    pub content: Option<&'a Content<'a>>,
    /// The stream's last accepted `Stream-Seq`, including this append's.
    pub stream_seq: Option<&'a str>,
    /// The producer, if the message row must store it.
    pub producer: Option<&'a Producer>,
    /// The producers to write to the table `producers`.
    pub stored_producers: &'a [(String, ProducerState)],
    /// Whether that table must be created first.
    pub makes_table: bool,
    /// How this change closes the stream.
    pub closes: Option<Closure>,
    pub now: Millis,
    /// The stream's new lease, if it must be stored.
    pub lease_until: Option<Millis>,
    /// Whether the content fills the segment.
    pub seals: bool,
}

/// A link that its fork has released.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    pub link: &'a str,
    /// The time until which the release must be remembered.
    pub remember_until: Option<Millis>,
    pub now: Millis,
}

/// Stores a change in one transaction.
pub fn commit(sql: &dyn Sql, change: &Change<'_>) -> Result<(), Failure> {
    // The most frequent change is a single statement, which needs no explicit transaction.
    if let Change::Append(append) = change
        && let AppendChange {
            content: Some(content), stored_producers: [], closes: None, seals: false, ..
        } = append
        && messages::is_one_row(content)
    {
        return messages::insert_alone(sql, content, append.written(content));
    }
    sql.transaction(&mut || match change {
        Change::Upgrade { from } => schema::upgrade(sql, *from),
        Change::Create { path, stream, content, seals, registries } => {
            create(sql, path, stream, content, *seals, *registries)
        }
        Change::Append(change) => append(sql, change),
        Change::Rotate { segment, noted_at } => rotate(sql, segment, *noted_at),
        Change::Trim { stream, first_segment } => stream_row::trim(sql, stream, *first_segment),
        Change::Forget { through_segment, noted_at } => forget(sql, *through_segment, *noted_at),
        Change::List { floor, noted_at } => outbox::list(sql, *floor, *noted_at),
        Change::Deliver { through_id } => outbox::forget(sql, *through_id),
        Change::Report { through, registries, watchers } => {
            watchers::put(sql, watchers)?;
            registry::reported(sql, *through, *registries)
        }
        Change::Watch { watcher } => watchers::put(sql, std::slice::from_ref(*watcher)),
        Change::Unwatch { subscriptions, is_last } => watchers::drop(sql, subscriptions, *is_last),
        Change::AddKey { key, dropped } => webhook_keys::add(sql, key, dropped),
        Change::Enlist { watcher, pattern } => patterns::put(sql, watcher, *pattern),
        Change::Summarize { subscription, summary } => summaries::put(sql, subscription, summary),
        Change::Subscription(change) => subscription::put(sql, change),
        Change::Rekey { reader_key } => stream_row::rekey(sql, reader_key),
        Change::Touch { lease_until } => stream_row::lease(sql, *lease_until),
        Change::End { stream, ended, uploading, released, now } => {
            drop_content(sql, stream, *uploading)?;
            released.iter().try_for_each(|released| release(sql, released))?;
            stream_row::end(sql, *ended, *now)
        }
        Change::Leave { now } => {
            sql.run(schema::DROP_PRODUCERS, &[])?;
            stream_row::leave(sql, *now)
        }
        Change::Intend { link } => forks::intend(sql, link),
        Change::Forgo { link } => forks::forgo(sql, link),
        Change::Hold { link, path, first_segment } => forks::put(sql, link, path, *first_segment),
        Change::Release(released) => release(sql, released),
        Change::Inherit { fork } => stream_row::inherit(sql, fork),
    })
}

impl<'a> AppendChange<'a> {
    fn written(&self, content: &Content<'_>) -> Written<'a> {
        Written {
            at: self.stream.tail,
            written_at: self.now,
            stream_seq: self.stream_seq,
            fill: self.stream.fill.with(content),
            producer: self.producer,
        }
    }
}

fn append(sql: &dyn Sql, change: &AppendChange<'_>) -> Result<(), Failure> {
    let AppendChange { stream, content, stored_producers, closes, .. } = change;
    if let Some(content) = content {
        messages::insert(sql, stream.content_type.format(), content, change.written(content))?;
    }
    if !stored_producers.is_empty() && change.makes_table {
        producers::make_table(sql)?;
    }
    stored_producers.iter().try_for_each(|(id, state)| producers::put(sql, id, *state))?;
    if change.seals {
        let next = stream.tail.segment + 1;
        sql.run(&schema::create_messages(next), &[])?;
        stream_row::seal(sql, next)?;
    }
    match closes {
        Some(closure) => stream_row::close(sql, closure, change.lease_until.unwrap_or(stream.lease_until)),
        // An append's own row stores when the stream was touched.
        None => Ok(()),
    }
}

fn release(sql: &dyn Sql, released: &Released<'_>) -> Result<(), Failure> {
    forks::release(sql, released.link, released.remember_until, released.now)
}

fn create(
    sql: &dyn Sql,
    path: &str,
    stream: &Stream,
    content: &Content<'_>,
    seals: bool,
    registries: Registries,
) -> Result<(), Failure> {
    let segment = stream.tail.segment;
    let tail = if seals { segment + 1 } else { segment };
    sql.run(stream_row::CREATE, &[])?;
    registry::keep(sql, registries)?;
    (segment..=tail).try_for_each(|segment| sql.run(&schema::create_messages(segment), &[]))?;
    stream_row::put(sql, stream, schema::SCHEMA_VERSION, path, tail)?;
    if content.span == 0 {
        return Ok(());
    }
    let written = Written {
        at: stream.tail,
        written_at: stream.created_at,
        stream_seq: None,
        fill: stream.fill.with(content),
        producer: None,
    };
    messages::insert(sql, stream.content_type.format(), content, written)
}

fn rotate(sql: &dyn Sql, segment: &SegmentRow, noted_at: Option<Millis>) -> Result<(), Failure> {
    let SegmentRow { incarnation, number, .. } = *segment;
    segments::put(sql, segment)?;
    sql.run(&schema::drop_messages(number), &[])?;
    outbox::note(sql, Event::Rotated { incarnation, segment: number }, noted_at)
}

fn forget(sql: &dyn Sql, through_segment: u64, noted_at: Option<Millis>) -> Result<(), Failure> {
    segments::forget(sql, through_segment)?;
    outbox::note(sql, Event::Forgotten { through_segment }, noted_at)
}

fn drop_content(sql: &dyn Sql, stream: &Stream, uploading: Option<u64>) -> Result<(), Failure> {
    sql.run(schema::DROP_PRODUCERS, &[])?;
    if let Some(segment) = uploading {
        // The upload may still arrive. This row has it deleted like the other segments.
        segments::put(sql, &SegmentRow::unread(stream.incarnation, segment))?;
    }
    (stream.hot_from..=stream.tail.segment)
        .try_for_each(|segment| sql.run(&schema::drop_messages(segment), &[]))
}

/// The tail after an append that does not fill its segment.
pub fn tail_after(stream: &Stream, content: &Content<'_>) -> Offset {
    Offset { position: stream.tail.position + content.span, ..stream.tail }
}
