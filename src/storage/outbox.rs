//! Stores notices for the segment index until they are delivered. A notice is written in the transaction of
//! the change it describes and deleted after delivery. So each change is delivered at least once, in order,
//! and only if it was committed.

use super::{Columns, Failure, Param, Sql, only_row, schema, segments, stream_row};
use crate::protocol::Millis;

const NEXT: &str = "SELECT id, noted_at, kind, notice FROM outbox ORDER BY id LIMIT +?";
const OLDEST: &str = "SELECT noted_at FROM outbox ORDER BY id LIMIT 1";
const DELETE: &str = "DELETE FROM outbox WHERE id <= ?";
/// Only segments of the current incarnation: those of earlier ones are about to be deleted.
const ROTATED: &str = "INSERT INTO outbox (noted_at, kind, notice) SELECT ?, 'rotated', \
    json_object('incarnation', segment.incarnation, 'read_seq', segment.read_seq, 'object_key', ?, \
    'content_type', content_type, 'end_position', end_position, 'message_count', message_count, \
    'object_bytes', object_bytes, 'written_at', written_at) FROM segments AS segment, stream \
    WHERE segment.read_seq = ? AND segment.incarnation = stream.incarnation AND live <> 0";
const FORGOTTEN: &str = "INSERT INTO outbox (noted_at, kind, notice) \
    VALUES (?, 'forgotten', json_object('through_read_seq', ?))";

/// The most segments in memory while all of them are listed.
pub const LISTED_AT_ONCE_MAX: u64 = 1000;

/// A change that the segment index must receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A segment has been uploaded.
    Rotated { incarnation: u64, segment: u64 },
    /// Segments have been deleted from the bucket.
    Forgotten { through_segment: u64 },
}

impl Event {
    /// The first segment that may be in the bucket after this event, if no rows say which are there.
    fn floor(self) -> u64 {
        match self {
            Event::Rotated { segment, .. } => segment,
            Event::Forgotten { through_segment } => through_segment + 1,
        }
    }
}

/// What a notice is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeKind {
    Rotated,
    Forgotten,
}

/// A notice that has not been delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Increases with each notice.
    pub id: u64,
    pub noted_at: Millis,
    pub kind: NoticeKind,
    /// The content, a JSON object. A newer version may deliver it, so its fields never change.
    pub text: String,
}

pub fn next(sql: &dyn Sql, count_max: u64) -> Result<Vec<Notice>, Failure> {
    let mut notices = Vec::new();
    sql.query(NEXT, &[Param::Integer(count_max)], &mut |row| {
        let mut columns = Columns::new("outbox", row);
        let (id, noted_at) = (columns.integer()?, columns.integer()?);
        let kind = match columns.text()?.as_str() {
            "rotated" => NoticeKind::Rotated,
            "forgotten" => NoticeKind::Forgotten,
            other => return Err(Failure::new("read notice", format_args!("unknown kind {other:?}"))),
        };
        notices.push(Notice { id, noted_at, kind, text: columns.text()? });
        Ok(())
    })?;
    Ok(notices)
}

/// The time of the oldest notice.
pub fn oldest(sql: &dyn Sql) -> Result<Option<Millis>, Failure> {
    let row = only_row(sql, OLDEST, &[])?;
    row.map(|row| Columns::new("outbox", row).integer()).transpose()
}

/// Adds a notice, or drops the outbox if there is no segment index.
pub(super) fn note(sql: &dyn Sql, event: Event, noted_at: Option<Millis>) -> Result<(), Failure> {
    let Some(noted_at) = noted_at else {
        // An index that is turned on again has missed changes, so it needs the full list.
        return sql.run(schema::DROP_OUTBOX, &[]);
    };
    if !schema::has_table(sql, schema::OUTBOX)? {
        return list(sql, event.floor(), noted_at);
    }
    match event {
        Event::Rotated { incarnation, segment } => {
            rotated(sql, &stream_row::path(sql)?, incarnation, segment, noted_at)
        }
        Event::Forgotten { through_segment } => forgotten(sql, through_segment, noted_at),
    }
}

/// Creates the outbox with a notice for every segment, for an index that knows none of them or is out of
/// date.
pub(super) fn list(sql: &dyn Sql, floor: u64, noted_at: Millis) -> Result<(), Failure> {
    sql.run(schema::CREATE_OUTBOX, &[])?;
    let mut page = segments::from(sql, 0, LISTED_AT_ONCE_MAX)?;
    let first = page.first().map_or(floor, |(segment, _)| *segment);
    if let Some(through_segment) = first.checked_sub(1) {
        forgotten(sql, through_segment, noted_at)?;
    }
    let path = stream_row::path(sql)?;
    while let Some((last, _)) = page.last().copied() {
        for (segment, incarnation) in page {
            rotated(sql, &path, incarnation, segment, noted_at)?;
        }
        page = segments::from(sql, last + 1, LISTED_AT_ONCE_MAX)?;
    }
    Ok(())
}

/// Deletes notices up to `through_id`.
pub(super) fn forget(sql: &dyn Sql, through_id: u64) -> Result<(), Failure> {
    sql.run(DELETE, &[Param::Integer(through_id)])
}

fn rotated(
    sql: &dyn Sql,
    path: &str,
    incarnation: u64,
    segment: u64,
    noted_at: Millis,
) -> Result<(), Failure> {
    let key = segments::key(path, incarnation, segment);
    sql.run(ROTATED, &[Param::Integer(noted_at), Param::Text(&key), Param::Integer(segment)])
}

fn forgotten(sql: &dyn Sql, through_segment: u64, noted_at: Millis) -> Result<(), Failure> {
    sql.run(FORGOTTEN, &[Param::Integer(noted_at), Param::Integer(through_segment)])
}
