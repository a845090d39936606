//! The one place that writes: a change is stored whole or not at all.

use super::forks::Link;
use super::messages::{self, Written};
use super::outbox::Event;
use super::registry::ReportMark;
use super::segments::{self, SegmentRow};
use super::{Failure, Sql, forks, outbox, producers, registry, schema, stream_row};
use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::protocol::producer::Producer;
use crate::protocol::registry::Registries;
use crate::stream::content::Content;
use crate::stream::fork::Fork;
use crate::stream::producer::ProducerState;
use crate::stream::{Closure, Ended, Stream};

/// A decided change of one stream.
#[derive(Debug)]
pub enum Change<'a> {
    /// What an older version has stored becomes what this one does.
    Upgrade {
        from: u64,
    },
    /// A stream is born, with its initial content.
    Create {
        path: &'a str,
        /// The stream, before its content.
        stream: &'a Stream,
        content: &'a Content<'a>,
        /// Whether the segment is full with it.
        seals: bool,
        /// Who is to know of the incarnations before.
        registries: Registries,
    },
    Append(AppendChange<'a>),
    /// A segment is in the bucket. `noted_at` says when, where there is a segment index; so it does below.
    Rotate {
        segment: &'a SegmentRow,
        noted_at: Option<Millis>,
    },
    /// The oldest segments need not be kept any more.
    Trim {
        /// The stream as it was.
        stream: &'a Stream,
        /// The first that it still has.
        first_segment: u64,
    },
    /// Segments are no longer in the bucket.
    Forget {
        through_segment: u64,
        noted_at: Option<Millis>,
    },
    /// All segments are noted for the segment index, which knows of none.
    List {
        /// The first segment that may be in the bucket.
        floor: u64,
        noted_at: Millis,
    },
    /// Notices have been delivered.
    Deliver {
        through_id: u64,
    },
    /// The registry knows of the stream's incarnations.
    Report {
        through: ReportMark,
        registries: Registries,
    },
    /// The stream gets another reader key.
    Rekey {
        reader_key: &'a str,
    },
    /// A read slid the stream's TTL.
    Touch {
        lease_until: Millis,
    },
    /// The stream was deleted, or it expired.
    End {
        /// The stream as it was.
        stream: &'a Stream,
        ended: Ended,
        /// A segment that may be on its way to the bucket.
        uploading: Option<u64>,
        /// The last fork that held it, which releases it.
        released: Option<Released<'a>>,
        now: Millis,
    },
    /// The stream was deleted, or it expired, but has forks.
    Leave {
        now: Millis,
    },
    /// A fork is to be created: its source may learn of it from now on.
    Intend {
        link: &'a Link,
    },
    /// A source has released the fork, or never knew of it.
    Forgo {
        link: &'a str,
    },
    /// A fork holds the stream.
    Hold {
        link: &'a str,
        path: &'a str,
        /// The first segment that it needs.
        first_segment: u64,
    },
    /// A fork releases the stream.
    Release(Released<'a>),
    /// What a fork has inherited has gone to the bucket.
    Inherit {
        fork: &'a Fork,
    },
}

/// Something is appended, or the stream is closed, or both.
#[derive(Debug)]
pub struct AppendChange<'a> {
    /// The stream as it was.
    pub stream: &'a Stream,
    pub content: Option<&'a Content<'a>>,
    /// The stream's last `Stream-Seq`, this append's included.
    pub stream_seq: Option<&'a str>,
    /// Whose it is, where its row has to tell that.
    pub producer: Option<&'a Producer>,
    /// What the table of producers is to tell from now on.
    pub stored_producers: &'a [(String, ProducerState)],
    /// Whether that table has to be made for it.
    pub makes_table: bool,
    /// How it is closed now.
    pub closes: Option<Closure>,
    pub now: Millis,
    /// Until when the stream lives at least, if that has to be stored.
    pub lease_until: Option<Millis>,
    /// Whether the segment is full with it.
    pub seals: bool,
}

/// A link that is no more.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    pub link: &'a str,
    /// Until when that must be remembered.
    pub remember_until: Option<Millis>,
    pub now: Millis,
}

/// Stores a change in one transaction.
pub fn commit(sql: &dyn Sql, change: &Change<'_>) -> Result<(), Failure> {
    // What is written most is one statement, which needs no transaction around it.
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
        Change::Report { through, registries } => registry::reported(sql, *through, *registries),
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
        // An append's own row tells when the stream was touched.
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
        // It is to be deleted in the bucket like those that have arrived there.
        segments::put(sql, &SegmentRow::unread(stream.incarnation, segment))?;
    }
    (stream.hot_from..=stream.tail.segment)
        .try_for_each(|segment| sql.run(&schema::drop_messages(segment), &[]))
}

/// The tail after an append that does not seal its segment.
pub fn tail_after(stream: &Stream, content: &Content<'_>) -> Offset {
    Offset { position: stream.tail.position + content.span, ..stream.tail }
}
