//! The outbox: what others are to be told, noted in the very transaction of what it tells of, and forgotten once they
//! know. So they learn of everything at least once, of nothing that did not happen, and in its order.

use super::{Columns, Failure, Param, Sql, schema, segments, stream_row};
use crate::protocol::Millis;

const NEXT: &str = "SELECT id, noted_at, kind, notice FROM outbox ORDER BY id LIMIT +?";
const DELETE: &str = "DELETE FROM outbox WHERE id <= ?";
/// Of the present life only: what is left of an earlier one is about to be forgotten.
const ROTATED: &str = "INSERT INTO outbox (noted_at, kind, notice) SELECT ?, 'rotated', \
    json_object('incarnation', segment.incarnation, 'read_seq', segment.read_seq, 'object_key', ?, \
    'content_type', content_type, 'end_position', end_position, 'message_count', message_count, \
    'object_bytes', object_bytes, 'written_at', written_at) FROM segments AS segment, stream \
    WHERE segment.read_seq = ? AND segment.incarnation = stream.incarnation AND live <> 0";
const FORGOTTEN: &str = "INSERT INTO outbox (noted_at, kind, notice) \
    VALUES (?, 'forgotten', json_object('through_read_seq', ?))";

/// How many segments are in memory at the same time while all are listed.
pub const LISTED_AT_ONCE_MAX: u64 = 1000;

/// Something that others are to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A segment is in the bucket.
    Rotated { incarnation: u64, segment: u64 },
    /// Segments are no longer in the bucket.
    Forgotten { through_segment: u64 },
}

impl Event {
    /// The first segment that may be in the bucket then, if it is not known which there are.
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

/// What somebody has not been told yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Later ones have larger ones.
    pub id: u64,
    pub noted_at: Millis,
    pub kind: NoticeKind,
    /// What it says, a JSON object. Delivered by whatever version finds it, so its fields stay.
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
            other => return Err(Failure::new("read notice", format_args!("its kind is {other:?}"))),
        };
        notices.push(Notice { id, noted_at, kind, text: columns.text()? });
        Ok(())
    })?;
    Ok(notices)
}

/// Notes what happened, if it is to be told.
pub(super) fn note(sql: &dyn Sql, event: Event, noted_at: Option<Millis>) -> Result<(), Failure> {
    let Some(noted_at) = noted_at else {
        // Whoever is told again one day has missed something, and begins anew.
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

/// Begins with what there is, for somebody who knows nothing, or what was true long ago.
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

/// Forgets what has been told.
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
