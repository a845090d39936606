//! The protocol's promises by section of PROTOCOL.md: states, requests and expected responses.

mod alarm;
mod append;
mod caching;
mod close;
mod cpu;
mod create;
mod delete;
mod details;
pub(crate) mod errors;
mod events;
mod forks;
mod gate;
mod headers;
mod json;
mod lifetime;
mod listing;
mod live;
mod long_poll;
mod message_counts;
mod mirror;
mod offsets;
mod one_past;
mod orphans;
mod paths;
mod producers;
mod read;
mod registry;
mod retention;
mod rotation;
mod rotation_faults;
mod seek;
mod sse;
mod subscriptions;

/// Creates an empty stream of each format.
const TEXT: &str = "PUT | content-type: text/plain";
const JSON: &str = "PUT | content-type: application/json";
const BYTES: &str = "PUT | content-type: application/octet-stream";
/// Appends five bytes to a text stream.
const HELLO: &str = "POST | content-type: text/plain << hello";
/// Closes the stream.
const CLOSE: &str = "POST | stream-closed: true";
