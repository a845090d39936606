//! Reads that one request to the object answers for many readers, and the key under which they are found.
//!
//! Whoever gets a shared answer was let in first. What is kept is what its `Cache-Control` calls public, so of a private
//! stream only what was asked for with its reader key.

use super::target::{Target, with_query};
use crate::protocol::command::Query;
use crate::protocol::names::query;
use crate::protocol::offset::ReadFrom;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// Somebody, where everybody may do everything.
    Anyone,
    /// Somebody who may read this stream.
    Holder,
    /// Somebody who may read it if it is public.
    Stranger,
}

/// The key of a GET's answer, a URL; `None` where each reader has to ask for itself: at the start and at `now`, which are
/// other places for other requests, and for server-sent events. Parameters in other orders have one key.
pub fn collapse_key(reader: Reader, target: &Target<'_>) -> Option<String> {
    let Query { offset, live, cursor, reader_key, .. } = target.query().ok()?;
    matches!(target.read_from(), Some(ReadFrom::At(_))).then_some(())?;
    if !matches!(live.as_deref(), None | Some("long-poll")) {
        return None;
    }
    match (reader, reader_key) {
        // Only the object knows whether the stream is public. What is not is kept under a reader key, which alone opens
        // nothing.
        (Reader::Holder, None) | (Reader::Stranger, Some(_)) => return None,
        (Reader::Anyone, _) | (Reader::Holder, Some(_)) | (Reader::Stranger, None) => {}
    }
    let given = [
        (query::CURSOR, cursor),
        (query::LIVE, live),
        (query::OFFSET, offset),
        (query::READER_KEY, reader_key),
    ];
    Some(with_query(target.base(), |parameters| {
        parameters.extend_pairs(given.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    }))
}
