//! The one place that writes: a change is stored whole or not at all.

use super::forks::Link;
use super::messages::{self, Written};
use super::outbox::Event;
use super::registry::Mark;
use super::segments::{self, Segment};
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
    /// A stream is born, with its initial content.
    Create {
        /// The stream's normalised path.
        path: &'a str,
        /// The stream, before its content.
        stream: &'a Stream,
        /// What it begins with.
        content: &'a Content<'a>,
        /// Whether the segment is full with it.
        seals: bool,
        /// Who is to know of the lives before.
        registries: Registries,
    },
    /// Something is appended, or the stream is closed, or both.
    Append {
        /// The stream as it was.
        stream: &'a Stream,
        /// The bytes, if any.
        content: Option<&'a Content<'a>>,
        /// The stream's last `Stream-Seq`, this append's included.
        stream_seq: Option<&'a str>,
        /// Whose it is, where its row has to tell that.
        producer: Option<&'a Producer>,
        /// What the table of producers is to tell from now on.
        stored_producers: &'a [(String, ProducerState)],
        /// Whether that table has to be made for it.
        makes_table: bool,
        /// How it is closed now.
        closes: Option<Closure>,
        /// When.
        now: Millis,
        /// Until when the stream lives at least, if that has to be stored.
        lease_until: Option<Millis>,
        /// Whether the segment is full with it.
        seals: bool,
    },
    /// A segment is in the bucket.
    Rotate {
        /// The segment.
        segment: &'a Segment,
        /// When, where that is to be noted for the mirror.
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
        /// The last of them.
        through_segment: u64,
        /// When, where that is to be noted for the mirror.
        noted_at: Option<Millis>,
    },
    /// All segments are noted for the mirror, which knows of none.
    List {
        /// The first segment that may be in the bucket.
        floor: u64,
        /// When.
        noted_at: Millis,
    },
    /// Notices have been delivered.
    Deliver {
        /// The last of them.
        through_id: u64,
    },
    /// The registry knows of the stream's lives.
    Report {
        /// How far.
        through: Mark,
        /// Which registry.
        registries: Registries,
    },
    /// The stream gets another reader key.
    Rekey {
        /// Which.
        reader_key: &'a str,
    },
    /// A read slid the stream's TTL.
    Touch {
        /// Until when it lives at least.
        lease_until: Millis,
    },
    /// The stream was deleted, or it expired.
    End {
        /// The stream as it was.
        stream: &'a Stream,
        /// What remains.
        ended: Ended,
        /// A segment that may be on its way to the bucket.
        uploading: Option<u64>,
        /// The last fork that held it, which lets it go.
        released: Option<Released<'a>>,
        /// When.
        now: Millis,
    },
    /// The stream was deleted, or it expired, but has forks.
    Leave {
        /// When.
        now: Millis,
    },
    /// A fork is to be created: its source may learn of it from now on.
    Intend {
        /// What will hold the source.
        link: &'a Link,
    },
    /// A source has let go, or never knew.
    Forgo {
        /// The link's name.
        link: &'a str,
    },
    /// A fork holds the stream.
    Hold {
        /// The link's name.
        link: &'a str,
        /// The fork's path.
        path: &'a str,
        /// The first segment that it needs.
        first_segment: u64,
    },
    /// A fork lets the stream go.
    Release(Released<'a>),
    /// What a fork has inherited has gone to the bucket.
    Inherit {
        /// The fork, as it is now.
        fork: &'a Fork,
    },
}

/// A link that is no more.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    /// Its name.
    pub link: &'a str,
    /// Until when that must be remembered.
    pub remember_until: Option<Millis>,
    /// When.
    pub now: Millis,
}

/// Stores a change in one transaction.
pub fn commit(sql: &dyn Sql, change: &Change<'_>) -> Result<(), Failure> {
    // What is written most is one statement, which needs no transaction around it.
    if let Change::Append {
        stream,
        content: Some(content),
        stream_seq,
        producer,
        stored_producers: [],
        closes: None,
        seals: false,
        now,
        ..
    } = change
        && messages::is_one_row(content)
    {
        let written = written(stream, content, (*stream_seq, *producer), *now);
        return messages::insert_alone(sql, content, written);
    }
    sql.transaction(&mut || match change {
        Change::Create { path, stream, content, seals, registries } => {
            create(sql, path, (stream, content), (*seals, *registries))
        }
        Change::Append { .. } => append(sql, change),
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

fn append(sql: &dyn Sql, change: &Change<'_>) -> Result<(), Failure> {
    let Change::Append {
        stream,
        content,
        stream_seq,
        producer,
        stored_producers,
        makes_table,
        closes,
        now,
        lease_until,
        seals,
    } = change
    else {
        return Ok(());
    };
    if let Some(content) = content {
        let written = written(stream, content, (*stream_seq, *producer), *now);
        messages::insert(sql, stream.content_type.format(), content, written)?;
    }
    if !stored_producers.is_empty() && *makes_table {
        producers::make_table(sql)?;
    }
    stored_producers.iter().try_for_each(|(id, state)| producers::put(sql, id, *state))?;
    if *seals {
        let next = stream.tail.segment + 1;
        sql.run(&schema::create_messages(next), &[])?;
        stream_row::seal(sql, next)?;
    }
    match (closes, lease_until) {
        (Some(closure), lease) => stream_row::close(sql, closure, lease.unwrap_or(stream.lease_until)),
        // An append's own row tells when the stream was touched.
        (None, _) => Ok(()),
    }
}

fn release(sql: &dyn Sql, released: &Released<'_>) -> Result<(), Failure> {
    forks::release(sql, released.link, released.remember_until, released.now)
}

fn create(
    sql: &dyn Sql,
    path: &str,
    (stream, content): (&Stream, &Content<'_>),
    (seals, registries): (bool, Registries),
) -> Result<(), Failure> {
    let segment = stream.tail.segment;
    let tail = if seals { segment + 1 } else { segment };
    sql.run(schema::CREATE_STREAM, &[])?;
    registry::keep(sql, registries)?;
    (segment..=tail).try_for_each(|segment| sql.run(&schema::create_messages(segment), &[]))?;
    stream_row::put(sql, path, stream, tail)?;
    if content.span == 0 {
        return Ok(());
    }
    let written = written(stream, content, (None, None), stream.created_at);
    messages::insert(sql, stream.content_type.format(), content, written)
}

fn rotate(sql: &dyn Sql, segment: &Segment, noted_at: Option<Millis>) -> Result<(), Failure> {
    let Segment { incarnation, number, .. } = *segment;
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
        segments::put(sql, &Segment::unread(stream.incarnation, segment))?;
    }
    (stream.hot_from..=stream.tail.segment)
        .try_for_each(|segment| sql.run(&schema::drop_messages(segment), &[]))
}

fn written<'w>(
    stream: &Stream,
    content: &Content<'_>,
    (stream_seq, producer): (Option<&'w str>, Option<&'w Producer>),
    written_at: Millis,
) -> Written<'w> {
    Written { at: stream.tail, written_at, stream_seq, fill: stream.fill.with(content), producer }
}

/// The tail after an append that does not seal its segment.
pub fn tail_after(stream: &Stream, content: &Content<'_>) -> Offset {
    Offset { position: stream.tail.position + content.span, ..stream.tail }
}
