//! The object side: one Durable Object a stream.

mod answering;
mod debug;
mod fetch;
mod forks;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod group_commit;
mod host;
mod inherit;
mod requester;
mod segment_index;
mod shell;
mod sockets;
mod sql;
mod stream_object;
