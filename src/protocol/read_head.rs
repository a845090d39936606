//! What the reply to a read has besides its bytes.

use super::cache_policy::{Audience, CachePolicy};
use super::content_type::ContentType;
use super::offset::Offset;

/// The head of a read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadHead {
    pub content_type: ContentType,
    /// Where to read on.
    pub next: Offset,
    /// `Stream-Up-To-Date`.
    pub up_to_date: bool,
    /// `Stream-Closed`.
    pub closed: bool,
    /// `Stream-Cursor`, on live reads.
    pub cursor: Option<u64>,
    /// The entity tag, on all reads but `now`.
    pub etag: Option<String>,
    /// What caches may do.
    pub cache: CachePolicy,
    /// For whom it is.
    pub audience: Audience,
}
