//! A Durable Streams server on Cloudflare: one Worker, and one Durable Object per stream.
//!
//! The modules, and which other modules each may name:
//!
//! ```text
//! cloudflare/  the platform: requests in, effects out                  -> everything
//! edge/        admits, routes and caches every request; pure           -> protocol
//! object/      serves one stream                                       -> storage, stream, protocol
//! storage/     what an object stores; the port to its SQLite           -> stream, protocol
//! stream/      the rules of one stream; pure                           -> protocol
//! telemetry/   counters, as values; pure                               -> protocol
//! protocol/    the wire format, and the calls between objects; pure    -> nothing
//! ```
//!
//! ARCHITECTURE.md follows one append and one read through these modules, and says where to add things.

pub mod edge;
pub mod object;
pub mod protocol;
pub mod storage;
pub mod stream;
pub mod telemetry;

#[cfg(target_arch = "wasm32")]
mod cloudflare;
