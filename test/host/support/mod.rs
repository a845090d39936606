//! What the tests stand on: the host's implementations of the ports, a world that plays edge and object, and
//! clients that read its live answers as the real ones do.

pub(crate) mod bucket;
pub(crate) mod event_source;
pub(crate) mod family;
pub(crate) mod http;
pub(crate) mod live;
pub(crate) mod mirror;
pub(crate) mod registry;
pub(crate) mod sockets;
pub(crate) mod sql;
pub(crate) mod world;

pub(crate) use bucket::all_messages;
pub(crate) use family::Family;
pub(crate) use http::{Request, Response};
pub(crate) use live::{LongPoll, SseClient};
pub(crate) use world::{Outcome, World, check};
