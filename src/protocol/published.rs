//! Replies with what the server publishes about itself, which caches may store.

use super::cache_policy::PUBLISHED;
use super::names::header;
use super::reply::Reply;
use super::subscription::keys::{PublicKey, key_set};

impl Reply {
    /// 200: the keys that verify webhooks (PROTOCOL.md 6.5).
    pub fn keys(keys: &[PublicKey]) -> Reply {
        published("application/jwk-set+json", key_set(keys).to_string())
    }

    /// 200: the description of the HTTP API.
    pub fn description(text: &str) -> Reply {
        published("application/json", text.to_owned())
    }
}

fn published(content_type: &str, text: String) -> Reply {
    let reply = Reply::made(Reply::PUBLISHED, PUBLISHED.to_owned()).with(header::VARY, "Origin");
    Reply { body: text.into_bytes(), ..reply }.with(header::CONTENT_TYPE, content_type)
}
