//! Shared parts of the host tests: implementations of the ports, a world that plays Worker and object, and
//! clients that read live responses as real ones do.

pub(crate) mod bucket;
pub(crate) mod event_source;
pub(crate) mod family;
pub(crate) mod histories;
pub(crate) mod http;
pub(crate) mod live;
pub(crate) mod mirror;
pub(crate) mod network;
pub(crate) mod objects;
pub(crate) mod registry;
pub(crate) mod shell;
pub(crate) mod sockets;
pub(crate) mod sql;
pub(crate) mod world;

pub(crate) use bucket::all_messages;
pub(crate) use family::Family;
pub(crate) use http::{Request, Response};
pub(crate) use live::{LongPoll, SseClient};
pub(crate) use world::{Outcome, World, check};

/// Removes the white space between JSON tokens, character by character.
pub(crate) fn compact(text: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let is_kept = |c: &char| {
        in_string ^= *c == '"' && !is_escaped;
        is_escaped = in_string && *c == '\\' && !is_escaped;
        in_string || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    text.chars().filter(is_kept).collect()
}
