//! The configuration of a subscription: the body of its PUT, normalised (PROTOCOL.md 6.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SubscriptionName;
use super::glob::Pattern;
use super::refusal::SubscriptionRefusal;
use super::webhook_url::UrlRules;
use crate::protocol::Millis;
use crate::protocol::path::StreamPath;

/// The largest body of a request to the subscription API, in bytes.
pub const REQUEST_MAX_BYTES: usize = 1 << 20;
/// The most explicit streams of one subscription.
pub const STREAMS_MAX: usize = 10_000;
/// The most bytes of their paths together, as JSON, in a PUT. The configuration is one row of at most 2 MB, together with
/// the wake in flight.
pub const STREAMS_MAX_BYTES: usize = 512 << 10;
/// The longest description, in bytes.
pub const DESCRIPTION_MAX_BYTES: usize = 1024;
/// The shortest lease, the longest, and the default (PROTOCOL.md 6.2).
pub const LEASE_TTL_MIN: Millis = 1_000;
pub const LEASE_TTL_MAX: Millis = 600_000;
pub const LEASE_TTL_DEFAULT: Millis = 30_000;

/// How a subscription wakes its workers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeChannel {
    /// The server calls a URL.
    Webhook { url: String },
    /// The server appends events to a wake stream, and workers claim. `wake_stream` is a whole path.
    PullWake { wake_stream: String },
}

/// The error message when a subscription links its own wake stream.
pub const OWN_WAKE_STREAM: &str =
    "streams has the wake_stream, whose events would wake the subscription again";

impl WakeChannel {
    /// Whether this stream receives the wake events.
    pub fn is_wake_stream(&self, path: &str) -> bool {
        matches!(self, WakeChannel::PullWake { wake_stream } if wake_stream == path)
    }
}

/// A normalised configuration. PUT compares whole configurations instead of the protocol's hash (PROTOCOL.md 6.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubscriptionConfig {
    pub channel: WakeChannel,
    /// Relative to the root.
    pub pattern: Option<String>,
    /// Whole paths, sorted, each once.
    pub streams: Vec<String>,
    pub lease_ttl_ms: Millis,
    pub description: Option<String>,
}

/// The changes that a PATCH makes (an extension).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Patch {
    pub url: Option<String>,
    pub lease_ttl_ms: Option<Millis>,
    /// `Some(None)` removes the description.
    pub description: Option<Option<String>>,
}

impl SubscriptionConfig {
    /// Parses the body of a PUT.
    pub fn parse(
        name: &SubscriptionName,
        body: &[u8],
        rules: &UrlRules,
    ) -> Result<SubscriptionConfig, SubscriptionRefusal> {
        let body = object(body)?;
        let pattern = text(&body, "pattern")?.filter(|pattern| !pattern.is_empty());
        if let Some(pattern) = &pattern {
            // The pattern may be too long once its root precedes it.
            Pattern::parse(&name.whole_pattern(pattern.trim_matches('/')))
                .map_err(|why| SubscriptionRefusal::invalid(format!("pattern: {why}")))?;
        }
        let streams = streams(name, &body)?.unwrap_or_default();
        let bytes: usize = streams.iter().map(|path| Value::from(path.as_str()).to_string().len()).sum();
        if bytes > STREAMS_MAX_BYTES {
            return Err(SubscriptionRefusal::StreamsTooLong);
        }
        if pattern.is_none() && streams.is_empty() {
            return Err(SubscriptionRefusal::invalid("it needs a pattern, or streams"));
        }
        let channel = channel(name, &body, rules)?;
        if streams.iter().any(|path| channel.is_wake_stream(path)) {
            return Err(SubscriptionRefusal::invalid(OWN_WAKE_STREAM));
        }
        Ok(SubscriptionConfig {
            channel,
            pattern: pattern.map(|pattern| pattern.trim_matches('/').to_owned()),
            streams,
            lease_ttl_ms: lease_ttl(&body)?.unwrap_or(LEASE_TTL_DEFAULT),
            description: description(&body)?,
        })
    }

    /// The pattern over whole paths.
    pub fn whole_pattern(&self, name: &SubscriptionName) -> Option<String> {
        self.pattern.as_deref().map(|pattern| name.whole_pattern(pattern))
    }
}

impl Patch {
    /// Parses the body of a PATCH.
    pub fn parse(body: &[u8], rules: &UrlRules) -> Result<Patch, SubscriptionRefusal> {
        let body = object(body)?;
        let known = ["webhook", "lease_ttl_ms", "description"];
        if let Some(other) = body.keys().find(|key| !known.contains(&key.as_str())) {
            let why =
                format!("{other:.80} cannot be changed: only webhook.url, lease_ttl_ms and description can");
            return Err(SubscriptionRefusal::invalid(why));
        }
        let url = if body.contains_key("webhook") { Some(webhook_url(&body, rules)?) } else { None };
        let described = body.contains_key("description").then(|| description(&body)).transpose()?;
        Ok(Patch { url, lease_ttl_ms: lease_ttl(&body)?, description: described })
    }
}

/// Parses a body that must be a JSON object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, SubscriptionRefusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(SubscriptionRefusal::invalid("the body must be a JSON object")),
        Err(error) => Err(SubscriptionRefusal::invalid(format!("the body is not JSON ({error})"))),
    }
}

/// A member that must be a string; `null` counts as absent.
pub(super) fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, SubscriptionRefusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(SubscriptionRefusal::invalid(format!("{name} must be a string"))),
    }
}

/// The member `streams`, as whole paths, sorted, each once.
pub(super) fn streams(
    name: &SubscriptionName,
    body: &Map<String, Value>,
) -> Result<Option<Vec<String>>, SubscriptionRefusal> {
    let refused = |why: &str| Err(SubscriptionRefusal::invalid(why));
    let named = match body.get("streams") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(named)) => named,
        Some(_) => return refused("streams must be an array of stream paths"),
    };
    if named.len() > STREAMS_MAX {
        return Err(SubscriptionRefusal::TooManyStreams);
    }
    let mut streams = Vec::with_capacity(named.len());
    for named in named {
        let Value::String(named) = named else { return refused("streams must be an array of stream paths") };
        match name.stream(named) {
            Some(path) => streams.push(path),
            None => {
                let why = format!("{named:.200} in streams is not the path of a stream");
                return Err(SubscriptionRefusal::invalid(why));
            }
        }
    }
    streams.sort_unstable();
    streams.dedup();
    Ok(Some(streams))
}

fn channel(
    name: &SubscriptionName,
    body: &Map<String, Value>,
    rules: &UrlRules,
) -> Result<WakeChannel, SubscriptionRefusal> {
    match text(body, "type")?.as_deref() {
        Some("webhook") => Ok(WakeChannel::Webhook { url: webhook_url(body, rules)? }),
        Some("pull-wake") => {
            let named = text(body, "wake_stream")?;
            let wake_stream = named.as_deref().and_then(|named| name.stream(named));
            wake_stream
                .filter(|path| StreamPath::of_text(path.clone()).is_ok_and(|path| !path.is_registry()))
                .map(|wake_stream| WakeChannel::PullWake { wake_stream })
                .ok_or_else(|| SubscriptionRefusal::invalid("wake_stream must be the path of a stream"))
        }
        _ => Err(SubscriptionRefusal::invalid("type must be webhook or pull-wake")),
    }
}

fn webhook_url(body: &Map<String, Value>, rules: &UrlRules) -> Result<String, SubscriptionRefusal> {
    let url = match body.get("webhook") {
        Some(Value::Object(webhook)) => text(webhook, "url")?,
        _ => None,
    };
    let url = url.ok_or_else(|| SubscriptionRefusal::invalid("webhook.url must be a URL"))?;
    match rules.check(&url) {
        Ok(()) => Ok(url),
        Err(why) => Err(SubscriptionRefusal::WebhookUrlRejected { why: why.to_owned() }),
    }
}

fn lease_ttl(body: &Map<String, Value>) -> Result<Option<Millis>, SubscriptionRefusal> {
    match body.get("lease_ttl_ms") {
        None | Some(Value::Null) => Ok(None),
        Some(ttl) => match ttl.as_u64() {
            Some(ttl @ LEASE_TTL_MIN..=LEASE_TTL_MAX) => Ok(Some(ttl)),
            _ => Err(SubscriptionRefusal::invalid("lease_ttl_ms must be a whole number from 1000 to 600000")),
        },
    }
}

fn description(body: &Map<String, Value>) -> Result<Option<String>, SubscriptionRefusal> {
    let description = text(body, "description")?;
    if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
        return Err(SubscriptionRefusal::invalid("description is longer than 1,024 bytes"));
    }
    Ok(description)
}
