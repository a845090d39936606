//! Groups one page of the bucket's listing by stream. The object's key names its stream and segment, whether
//! or not that stream has a row for it.

use super::Failure;
use super::segments::parse_key;
use crate::protocol::Millis;
use crate::protocol::orphans::Stored;
use crate::protocol::path::StreamPath;

/// The most objects one page lists.
pub const PAGE_KEYS_MAX: u32 = 500;

/// The most streams one page covers. The Worker calls each of them, and the listing is a request too; the
/// platform's smallest plan allows 50 subrequests per request.
pub const PAGE_STREAMS_MAX: usize = 40;

/// One object in the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketObject {
    pub key: String,
    pub bytes: u64,
    pub uploaded: Millis,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ByStream {
    /// The streams named by the keys, each with its segments.
    pub streams: Vec<(StreamPath, Vec<Stored>)>,
    /// Keys that do not name a segment.
    pub foreign: Vec<String>,
    /// The key after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Groups listed objects, in the bucket's order, until the page has [`PAGE_STREAMS_MAX`] streams. Fails if
/// the list is empty but not the last.
pub fn by_stream(listed: Vec<BucketObject>, is_last: bool) -> Result<ByStream, Failure> {
    if listed.is_empty() && !is_last {
        // Taking an empty list for the last page would hide every object after it.
        return Err(Failure::new("list segments", "an empty page that is not the last"));
    }
    let (mut page, mut last) = (ByStream::default(), None);
    for BucketObject { key, bytes, uploaded } in listed {
        let Some((path, incarnation, segment)) = parse_key(&key) else {
            page.foreign.push(key.clone());
            last = Some(key);
            continue;
        };
        // All keys of a stream share a prefix, so they are adjacent in the listing.
        if page.streams.last().is_none_or(|(known, _)| *known != path) {
            if page.streams.len() == PAGE_STREAMS_MAX {
                page.next = last;
                return Ok(page);
            }
            page.streams.push((path.clone(), Vec::new()));
        }
        let (_, segments) = page.streams.last_mut().expect("a stream was added above");
        last = Some(key.clone());
        segments.push(Stored { key, path: path.into(), incarnation, segment, bytes, uploaded });
    }
    page.next = if is_last { None } else { last };
    Ok(page)
}
