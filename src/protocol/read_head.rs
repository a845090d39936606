//! The head of the reply to a read: all that decides its headers.

use super::cache_policy::{Audience, CachePolicy};
use super::content_type::ContentType;
use super::offset::Offset;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadHead {
    pub content_type: ContentType,
    /// `Stream-Next-Offset`.
    pub next: Offset,
    /// `Stream-Up-To-Date`.
    pub up_to_date: bool,
    /// `Stream-Closed`.
    pub closed: bool,
    /// `Stream-Cursor`, on live reads.
    pub cursor: Option<u64>,
    /// `ETag`, on all reads but `now`.
    pub etag: Option<String>,
    pub cache: CachePolicy,
    pub audience: Audience,
}
