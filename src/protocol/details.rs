//! What a stream says about itself to its owner (an extension). Each list is bounded. `None` is what the object does not
//! know, or could only find out at a cost that grows with the stream.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::offset::Offset;

/// The most entries in each list of a description.
pub const DETAILS_MAX: usize = 100;

/// The answer of a stream that was asked for its description.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Inspected {
    Found(Box<Details>),
    NotFound,
    /// It was deleted, and is retained for its forks only.
    Gone,
}

/// The description of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    pub path: String,
    pub content_type: String,
    pub created_at: Millis,
    /// When its newest own message was written.
    pub written_at: Option<Millis>,
    pub expires_at: Option<Millis>,
    pub ttl_seconds: Option<u64>,
    pub closed: bool,
    pub public: bool,
    /// Its own retention, or otherwise that of the deployment.
    pub retention: Option<RetentionDetails>,
    pub start: String,
    pub tail: String,
    /// Its own retained messages.
    pub messages: Option<u64>,
    pub hot_messages: u64,
    pub hot_bytes: u64,
    pub segments: SegmentsDetails,
    pub forked_from: Option<SourceDetails>,
    pub forks: ForksDetails,
    pub producers: ProducersDetails,
    pub readers: ReadersDetails,
    pub subscriptions: SubscriptionsDetails,
    /// What the registry does not know yet; `None` if the stream reports to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<LagDetails>,
    /// What the segment index does not know yet; `None` if there is no index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_index: Option<LagDetails>,
}

/// How far something is behind the stream.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LagDetails {
    /// The time of the oldest change that it does not know; `None` if it knows all.
    pub behind_since: Option<Millis>,
    /// Why the last attempt to send that change failed, if it is known and the owner is also the operator.
    pub error: Option<String>,
}

/// When segments are dropped; the first of these that permits it drops one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RetentionDetails {
    pub seconds: Option<u64>,
    pub bytes: Option<u64>,
    pub segments: Option<u64>,
}

/// The retained segments in the bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SegmentsDetails {
    pub count: u64,
    pub bytes: Option<u64>,
    pub newest: Vec<SegmentDetails>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentDetails {
    pub number: u64,
    pub messages: u64,
    pub bytes: u64,
    /// When its last message was written.
    pub written_at: Millis,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceDetails {
    /// Unknown to a token that does not cover the source.
    pub path: Option<String>,
    /// Where the fork leaves the source, as an offset of the source.
    pub offset: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ForksDetails {
    pub count: Option<u64>,
    pub paths: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProducersDetails {
    pub count: Option<u64>,
    pub newest: Vec<ProducerDetails>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProducerDetails {
    pub id: String,
    pub epoch: u64,
    pub seq: u64,
    /// The time of its last append, if that is among the newest rows.
    pub at: Option<Millis>,
}

/// The live responses that wait for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadersDetails {
    pub sse: usize,
    pub long_poll: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SubscriptionsDetails {
    pub count: usize,
    pub ids: Vec<String>,
}

impl Details {
    /// Leaves out names that a token does not cover.
    pub fn without_hidden(mut self, is_shown: impl Fn(&str) -> bool, shows_subscriptions: bool) -> Details {
        self.forks.paths.retain(|path| is_shown(path));
        if let Some(source) = &mut self.forked_from {
            source.path = source.path.take().filter(|path| is_shown(path));
        }
        if !shows_subscriptions {
            self.subscriptions.ids.clear();
        }
        self
    }
}

impl SourceDetails {
    pub fn of(path: &str, offset: Option<Offset>) -> SourceDetails {
        SourceDetails { path: Some(path.to_owned()), offset: offset.map(|offset| offset.to_string()) }
    }
}
