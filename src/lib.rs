//! A Durable Streams server on Cloudflare: one Durable Object per stream.
//!
//! The map, and the direction in which modules may name each other:
//!
//! ```text
//! cloudflare/  the platform: requests in, effects out                  -> everything
//! edge/        sees every request first; pure                          -> protocol
//! object/      serves one stream                                       -> storage, stream, protocol
//! storage/     what an object stores; the port to its SQLite           -> stream, protocol
//! stream/      the rules of one stream; pure                           -> protocol
//! telemetry/   what is counted, as values; pure                        -> protocol
//! protocol/    the wire, and what objects say to each other; pure      -> nothing
//! ```
//!
//! ARCHITECTURE.md tells the life of an append and of a read through these, and where to add things.

pub mod edge;
pub mod object;
pub mod protocol;
pub mod storage;
pub mod stream;
pub mod subscription;
pub mod telemetry;

#[cfg(target_arch = "wasm32")]
mod cloudflare;
