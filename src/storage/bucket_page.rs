//! A page of what the bucket holds, by streams: whose segment each object is by its key, whether or not that stream
//! knows it.

use super::Failure;
use super::segments::parse_key;
use crate::protocol::Millis;
use crate::protocol::orphans::Stored;
use crate::protocol::path::StreamPath;

/// How many objects are listed for a page.
pub const PAGE_KEYS_MAX: u32 = 500;

/// How many streams are on a page: each is asked, and the list is a request too. The platform allows a request 50 of
/// them on its smallest plan.
pub const PAGE_STREAMS_MAX: usize = 40;

/// An object of the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketObject {
    pub key: String,
    pub bytes: u64,
    pub uploaded: Millis,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ByStream {
    /// The streams that the keys name, with their segments.
    pub streams: Vec<(StreamPath, Vec<Stored>)>,
    /// The keys of what is no segment.
    pub foreign: Vec<String>,
    /// After which key the next page begins, if there is one.
    pub next: Option<String>,
}

/// Sorts what was listed, in the bucket's order, up to as many streams as a page may have.
pub fn by_stream(listed: Vec<BucketObject>, is_last: bool) -> Result<ByStream, Failure> {
    if listed.is_empty() && !is_last {
        // To take it for the end would be to say that there is nothing more.
        return Err(Failure::new("list segments", "an empty page that is not the last"));
    }
    let (mut page, mut last) = (ByStream::default(), None);
    for BucketObject { key, bytes, uploaded } in listed {
        let Some((path, incarnation, segment)) = parse_key(&key) else {
            page.foreign.push(key.clone());
            last = Some(key);
            continue;
        };
        // A stream's keys begin alike, so they come one after the other.
        if page.streams.last().is_none_or(|(known, _)| *known != path) {
            if page.streams.len() == PAGE_STREAMS_MAX {
                page.next = last;
                return Ok(page);
            }
            page.streams.push((path.clone(), Vec::new()));
        }
        let (_, segments) = page.streams.last_mut().expect("it was added above");
        last = Some(key.clone());
        segments.push(Stored { key, path: path.into(), incarnation, segment, bytes, uploaded });
    }
    page.next = if is_last { None } else { last };
    Ok(page)
}
