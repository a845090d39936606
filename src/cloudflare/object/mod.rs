//! The object side: one Durable Object a stream.

mod asker;
mod chores;
mod forks;
mod inherit;
mod listing;
mod mirror;
mod orphans;
mod registry;
mod sockets;
mod sql;
mod stream_object;
mod thaw;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod together;
mod work;
