//! The answers of a subscription's object, and their bodies (PROTOCOL.md 6.3, 7.1 and 7.2).

use serde::{Deserialize, Serialize};

use super::SubscriptionName;
use super::keys::PublicKey;
use super::refusal::SubscriptionRefusal;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SubscriptionAnswer {
    Created(Box<Shown>),
    Confirmed(Box<Shown>),
    Shown(Box<Shown>),
    /// 204.
    Done,
    Acked {
        next_wake: bool,
    },
    Claimed(Claimed),
    Refused(SubscriptionRefusal),
}

/// The description of a subscription in responses. Members after `description` are extensions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Shown {
    pub id: String,
    pub subscription_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub pattern: Option<String>,
    pub streams: Vec<ShownLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<ShownWebhook>,
    pub wake_stream: Option<String>,
    pub lease_ttl_ms: u64,
    /// RFC 3339.
    pub created_at: String,
    /// `active`, or `failed` while a retry is scheduled or the subscription is parked.
    pub status: String,
    pub description: Option<String>,
    /// `linking`, `active` or `parked`.
    pub phase: String,
    pub generation: u64,
    /// The worker that holds the lease.
    pub holder: Option<String>,
    /// The streams with messages after their cursors, as far as the subscription knows.
    pub pending: Vec<String>,
    pub last_error: Option<LastError>,
    /// RFC 3339.
    pub next_attempt_at: Option<String>,
    /// Whether there are more links than this description contains.
    #[serde(default)]
    pub has_more_streams: bool,
    /// The number of links.
    #[serde(default)]
    pub stream_count: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShownLink {
    pub path: String,
    /// `explicit` or `glob`.
    pub link_type: String,
    pub acked_offset: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShownWebhook {
    pub url: String,
    /// The Worker adds the key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signing: Option<Signing>,
}

/// How deliveries are signed (PROTOCOL.md 6.3).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Signing {
    pub alg: String,
    pub kid: String,
    pub jwks_url: String,
}

/// Why the last delivery failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastError {
    /// RFC 3339.
    pub at: String,
    pub message: String,
}

/// A stream in a wake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WokenStream {
    pub path: String,
    pub link_type: String,
    pub acked_offset: String,
    pub tail_offset: String,
    pub has_pending: bool,
    /// Whether the stream is closed at its tail (an extension).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub closed: bool,
}

/// The answer to a claim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claimed {
    pub wake_id: String,
    pub generation: u64,
    pub token: String,
    pub streams: Vec<WokenStream>,
    pub lease_ttl_ms: u64,
}

/// The body of a webhook delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WebhookBody<'a> {
    pub subscription_id: &'a str,
    pub wake_id: &'a str,
    pub generation: u64,
    pub streams: &'a [WokenStream],
    pub callback_url: &'a str,
    pub callback_token: &'a str,
}

/// The message that a pull-wake subscription appends to its wake stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WakeEvent<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub subscription_id: &'a str,
    /// The first stream with pending messages, relative to the root.
    pub stream: &'a str,
    pub generation: u64,
    pub ts: u64,
}

/// One page of the list of subscriptions (an extension).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SubscriptionPage {
    pub subscriptions: Vec<Shown>,
    /// Where the next page begins; null on the last page. Any other page may have fewer subscriptions than the limit,
    /// or none.
    pub next: Option<String>,
}

impl Shown {
    /// The entry for a subscription whose object did not answer, from the object's name.
    pub fn unanswered(object: &str) -> Option<Shown> {
        let id = SubscriptionName::parse(object)?.id;
        let unknown = || "unknown".to_owned();
        Some(Shown {
            subscription_id: id.clone(),
            id,
            kind: unknown(),
            status: unknown(),
            phase: unknown(),
            has_more_streams: true,
            ..Shown::default()
        })
    }
}

impl Signing {
    /// The description of signatures made with this key.
    pub fn of(key: &PublicKey, jwks_url: &str) -> Signing {
        Signing { alg: "ed25519".to_owned(), kid: key.kid.clone(), jwks_url: jwks_url.to_owned() }
    }
}
