//! The Worker side: every request comes here first, and its answer leaves from here.

mod caller;
mod collapse;
mod edge_socket;
mod entry;
mod errand;
mod key_lookup;
mod limits;
mod listing;
mod long_poll;
mod orphans;
mod sse;
mod sse_client;
mod upstream;
