//! The wire format: the meaning of requests, and the content of replies. Pure; names no other module.

pub mod bridge;
mod browser;
pub mod cache_policy;
pub mod call;
pub mod command;
pub mod console;
pub mod content_type;
pub mod cors;
pub mod cursor;
pub mod etag;
pub mod fork;
pub mod fork_refusal;
pub mod json;
pub mod lifetime;
pub mod listing;
pub mod names;
pub mod offset;
pub mod orphans;
pub mod path;
pub mod producer;
pub mod read_head;
pub mod refusal;
mod refused;
pub mod registry;
pub mod reply;
pub mod request_head;
pub mod retention;
pub mod sse;
pub mod subscription;
pub mod text;

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = u64;

/// The largest integer that JavaScript represents exactly, and the bound for epochs and sequence numbers
/// (PROTOCOL.md 5.2.1).
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
