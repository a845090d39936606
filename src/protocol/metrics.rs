//! What a registry counts for `GET /metrics`, and the reply with the metrics.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::names::header;
use super::reply::Reply;
use super::subscription::summary::WakeTotals;

/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a registry answers to [`Call::Count`](super::call::Call::Count).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RegistryCounts {
    /// `None` if the registry has too many rows to count.
    #[serde(default)]
    pub counted: Option<StreamCounts>,
    /// The time of its newest event; `None` if it has none.
    #[serde(default)]
    pub written_at: Option<Millis>,
    /// The subscriptions and their totals, by type and status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summaries: Vec<SummaryCounts>,
    /// The longest delay between an event and its record, among the newest ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Millis>,
}

/// The summaries of one type and one status.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryCounts {
    pub kind: String,
    /// Empty if the subscriptions do not exist any more, or their status is out of date.
    pub status: String,
    pub subscriptions: u64,
    pub totals: WakeTotals,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StreamCounts {
    /// The streams that exist.
    pub streams: u64,
    /// All streams ever created, a URL's next incarnation included.
    pub created: u64,
    /// All streams ever deleted or expired.
    pub deleted: u64,
    /// The subscriptions that exist.
    pub subscriptions: u64,
}

impl Reply {
    /// 200: metrics in Prometheus's text format.
    pub fn metrics(text: String) -> Reply {
        let reply = Reply::new(Reply::ANSWERED).with(header::CONTENT_TYPE, TEXT_FORMAT);
        Reply { body: text.into_bytes(), ..reply }
    }
}
