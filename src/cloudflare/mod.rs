//! The only folder that names the platform: entry points, and the real implementations of the ports.

mod asker;
mod bucket;
mod budget;
mod caller;
mod chores;
mod clock;
mod collapse;
mod config;
#[cfg(feature = "counters")]
mod counters;
mod edge_socket;
mod entry;
mod errand;
mod forks;
mod inherit;
mod interned;
mod key_lookup;
mod limits;
mod listing;
mod log;
mod long_poll;
mod mirror;
mod orphans;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod receiving;
mod registry;
mod reply;
mod sockets;
mod sql;
mod sse;
mod sse_client;
mod stream_object;
mod thaw;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod together;
mod upstream;
mod work;
