//! A Durable Streams server on Cloudflare: one Durable Object per stream.
//!
//! The map, and the direction in which modules may name each other:
//!
//! ```text
//! cloudflare/  entry points and the real implementations of the ports  -> everything
//! edge/        sees every request first; stateless                     -> protocol
//! object/      serves one stream                                       -> storage, stream, protocol
//! storage/     where bytes live, behind a port                         -> stream, protocol
//! stream/      the rules of one stream; pure                           -> protocol
//! telemetry/   what is counted, as values; pure                        -> protocol
//! protocol/    the wire; pure                                          -> nothing
//! ```
//!
//! ARCHITECTURE.md tells the life of an append and of a read through these.

pub mod edge;
pub mod object;
pub mod protocol;
pub mod storage;
pub mod stream;
pub mod telemetry;

#[cfg(target_arch = "wasm32")]
mod cloudflare;
