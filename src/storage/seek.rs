//! Finds places in a stream's own messages by time and by number. A row has the time of its append. The row of a segment
//! in the bucket has only the time of its last message, so there a search ends at the start of a segment.
//!
//! Each search ends at the first match in the order of offsets. Times normally rise with offsets. If the clock was set
//! back, earlier messages may have later times. A segment whose last message is older than the searched time is then
//! passed over as a whole.

use super::message_row::PART_BITS;
use super::{Columns, Failure, Param, Sql, messages, only_row, segments};
use crate::protocol::Millis;
use crate::protocol::offset::Offset;
use crate::stream::Stream;

/// The offset before the first message from segment `from` on that was written at `since` or later: exact in the hot log,
/// and the start of its segment in the bucket. `None` if there is no such message.
pub fn first_since(
    sql: &dyn Sql,
    stream: &Stream,
    from: u64,
    since: Millis,
) -> Result<Option<Offset>, Failure> {
    if stream.written_at < since {
        return Ok(None);
    }
    if stream.created_at >= since {
        return Ok(Some(stream.segment_start(from)));
    }
    if stream.hot_from > from
        && let Some(segment) = segments::first_since(sql, from, since)?
    {
        return Ok(Some(stream.segment_start(segment)));
    }
    for segment in stream.hot_from.max(from)..=stream.tail.segment {
        let is_sealed = segment < stream.tail.segment;
        if is_sealed && messages::last(sql, segment)?.is_none_or(|last| last.written_at < since) {
            continue;
        }
        let statement =
            format!("SELECT key FROM messages_{segment} WHERE written_at >= ? ORDER BY key LIMIT 1");
        if let Some(row) = only_row(sql, &statement, &[Param::Integer(since)])? {
            let position = Columns::new("messages", row).integer()? >> PART_BITS;
            return Ok(Some(Offset { segment, position }));
        }
    }
    Ok(None)
}

/// The rows of a segment that were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows {
    pub count: u64,
    /// The position of the first one.
    pub first: u64,
}

/// The last rows, at most `count_max`, that begin at position `from` or later and before `until`.
pub fn rows_before(
    sql: &dyn Sql,
    segment: u64,
    from: u64,
    until: u64,
    count_max: u64,
) -> Result<Rows, Failure> {
    let statement = format!(
        "SELECT count(*), min(key) FROM (SELECT key FROM messages_{segment} WHERE key >= ? AND key < ? \
         ORDER BY key DESC LIMIT +?)"
    );
    let params = [from << PART_BITS, until << PART_BITS, count_max].map(Param::Integer);
    let missing = || Failure::new("count messages", "the query returned no row");
    let mut columns = Columns::new("messages", only_row(sql, &statement, &params)?.ok_or_else(missing)?);
    let count = columns.integer()?;
    let first = columns.optional_integer()?.map_or(from, |key| key >> PART_BITS);
    Ok(Rows { count, first })
}
