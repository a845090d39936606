//! Collapsing: the reads that may share one request to the object, and their key.
//!
//! A client gets a shared answer only after its own admission. Only answers whose `Cache-Control` is public are
//! stored, so private streams are shared only among reads with the reader key.

use super::target::{Target, with_query};
use crate::protocol::command::Query;
use crate::protocol::names::query;
use crate::protocol::offset::ReadFrom;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// Any client of an open server.
    Anyone,
    /// A client that may read this stream.
    Holder,
    /// A client that may read the stream if it is public.
    Stranger,
}

/// The key of a GET's answer: a URL with its parameters in a fixed order. `None` if the answer cannot be
/// shared: reads that begin at the start, at `now`, `at` or `last`, which mean different offsets at different times,
/// and server-sent events.
pub fn collapse_key(reader: Reader, target: &Target<'_>) -> Option<String> {
    let Query { offset, live, cursor, reader_key, .. } = target.query().ok()?;
    matches!(target.read_from(), Some(ReadFrom::At(_))).then_some(())?;
    if !matches!(live.as_deref(), None | Some("long-poll")) || target.query().ok()?.seeks() {
        return None;
    }
    match (reader, reader_key) {
        // Only the object knows whether the stream is public. Answers of private streams are stored under a
        // reader key, which grants nothing by itself.
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
