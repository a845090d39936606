//! The Durable Object of a stream: its entry points, and what it needs of the platform.

mod answering;
mod debug;
mod fetch;
mod forks;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod group_commit;
mod host;
mod inherit;
mod requester;
mod shell;
mod sockets;
mod sql;
mod stream_object;
