//! The listing of streams, page by page: the query, and what a page has.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::command::query_of;
use super::names::query;
use super::offset::Offset;
use super::path::PATH_MAX_BYTES;
use super::refusal::Refusal;

/// The default size of a page: each stream is a request to its object, and the platform's smallest plan allows 50 in one
/// request.
pub const LIMIT_DEFAULT: u64 = 40;
pub const LIMIT_MAX: u64 = 100;

/// The query, as the Worker receives it and as it passes it to a registry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListQuery {
    /// What the paths must begin with.
    pub prefix: String,
    /// After which path; empty for the first page.
    pub after: String,
    /// How many streams at most.
    pub limit: u64,
    /// List subscriptions instead of streams.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscriptions: bool,
}

impl ListQuery {
    /// Reads a URL's query.
    pub fn parse(url: &str) -> Result<ListQuery, Refusal> {
        let (mut prefix, mut after, mut limit, mut token) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query_of(url).as_bytes()) {
            let (slot, name) = match &*name {
                query::PREFIX => (&mut prefix, query::PREFIX),
                query::AFTER => (&mut after, query::AFTER),
                query::LIMIT => (&mut limit, query::LIMIT),
                query::TOKEN => (&mut token, query::TOKEN),
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Refusal::InvalidQuery { name, why: "it must be given once" });
            }
        }
        let refused = |name, why| Err(Refusal::InvalidQuery { name, why });
        if token.is_some() {
            return refused(query::TOKEN, "what may delete streams is sent in Authorization");
        }
        let is_too_long =
            |path: &Option<String>| path.as_ref().is_some_and(|path| path.len() > PATH_MAX_BYTES);
        if is_too_long(&prefix) {
            return refused(query::PREFIX, "it is longer than any path, which has 741 bytes at most");
        }
        if is_too_long(&after) || after.as_deref() == Some("") {
            return refused(query::AFTER, "it must be what the last page has as next, or not be there");
        }
        let limit = match limit.as_deref() {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=LIMIT_MAX) if text.bytes().all(|byte| byte.is_ascii_digit()) => limit,
                Ok(_) | Err(_) => return refused(query::LIMIT, "it must be a whole number from 1 to 100"),
            },
        };
        let (prefix, after) = (prefix.unwrap_or_default(), after.unwrap_or_default());
        Ok(ListQuery { prefix, after, limit, subscriptions: false })
    }
}

/// A page of the streams there are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Page {
    /// The streams that the registry names, in the order of their paths, without those that have ended meanwhile.
    pub streams: Vec<Described>,
    /// Where the next page begins; null on the last. A page that is not the last may have fewer streams than the
    /// limit, or none.
    pub next: Option<String>,
}

/// The streams that a registry knows to be there, page by page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListedStreams {
    pub paths: Vec<String>,
    /// After which path the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// A stream, as it describes itself. Where it did not answer, all but its path is null.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    pub path: String,
    pub content_type: Option<String>,
    /// When it was created, in milliseconds since the Unix epoch, as in the registry.
    pub created_at: Option<Millis>,
    pub closed: Option<bool>,
    /// The offset after its last message.
    #[serde(default, serialize_with = "as_text", deserialize_with = "of_text")]
    pub tail: Option<Offset>,
}

fn as_text<S: serde::Serializer>(tail: &Option<Offset>, serializer: S) -> Result<S::Ok, S::Error> {
    tail.map(|tail| tail.to_string()).serialize(serializer)
}

fn of_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Offset>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(Offset::parse))
}
