//! The Worker: it receives every request first, and sends every response.

mod caller;
mod collapse;
mod console;
mod edge_socket;
mod entry;
mod forward;
mod key_lookup;
mod listing;
mod long_poll;
mod orphans;
mod rate_limit;
mod sse;
mod sse_client;
mod subscriptions;
mod upstream;
