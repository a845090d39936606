//! The listing of streams: the query, and the content of a page.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::command::query_of;
use super::names::query;
use super::offset::Offset;
use super::path::PATH_MAX_BYTES;
use super::refusal::Refusal;

/// The default page size. Each stream costs a request to its object, and the platform's smallest plan allows 50
/// per request.
pub const LIMIT_DEFAULT: u64 = 40;
pub const LIMIT_MAX: u64 = 100;

/// The query, both from the client to the Worker and from the Worker to a registry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListQuery {
    /// The prefix of the paths to list.
    pub prefix: String,
    /// List paths after this one; empty for the first page.
    pub after: String,
    /// The most streams on a page.
    pub limit: u64,
}

impl ListQuery {
    /// Parses a URL's query. Refuses repeated parameters, a `token`, and values out of bounds.
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
            return refused(query::TOKEN, "a listing takes no token in its URL: send it in Authorization");
        }
        let is_too_long =
            |path: &Option<String>| path.as_ref().is_some_and(|path| path.len() > PATH_MAX_BYTES);
        if is_too_long(&prefix) {
            return refused(query::PREFIX, "it is longer than any path, which has 741 bytes at most");
        }
        if is_too_long(&after) || after.as_deref() == Some("") {
            return refused(
                query::AFTER,
                "it must be the value of next on the previous page, or be left out",
            );
        }
        let limit = match limit.as_deref() {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=LIMIT_MAX) if text.bytes().all(|byte| byte.is_ascii_digit()) => limit,
                Ok(_) | Err(_) => return refused(query::LIMIT, "it must be a whole number from 1 to 100"),
            },
        };
        Ok(ListQuery { prefix: prefix.unwrap_or_default(), after: after.unwrap_or_default(), limit })
    }
}

/// A page of the listing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Page {
    /// The streams in the registry, ordered by path, without those that have ended since.
    pub streams: Vec<Described>,
    /// Where the next page begins; null on the last page. Any other page may also have fewer streams than the
    /// limit, or none.
    pub next: Option<String>,
}

/// One page of a registry's paths.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListedStreams {
    pub paths: Vec<String>,
    /// The next page begins after this path; `None` on the last page.
    pub next: Option<String>,
}

/// A stream's description of itself. If the stream did not answer, every field but its path is null.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    pub path: String,
    pub content_type: Option<String>,
    /// The creation time of the incarnation, in milliseconds since the Unix epoch, as in the registry.
    pub created_at: Option<Millis>,
    pub closed: Option<bool>,
    #[serde(default, serialize_with = "as_text", deserialize_with = "of_text")]
    pub tail: Option<Offset>,
}

fn as_text<S: serde::Serializer>(tail: &Option<Offset>, serializer: S) -> Result<S::Ok, S::Error> {
    tail.map(|tail| tail.to_string()).serialize(serializer)
}

fn of_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Offset>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(Offset::parse))
}
