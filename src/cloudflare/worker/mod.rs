//! The Worker: it receives every request first, and sends every response.

#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod application;
mod caller;
mod collapse;
mod console;
mod edge_socket;
mod entry;
mod forward;
mod inspecting;
mod key_lookup;
mod listing;
mod long_poll;
mod metrics;
mod orphans;
mod rate_limit;
mod ready;
mod sse;
mod sse_client;
mod subscriptions;
mod upstream;
