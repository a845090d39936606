//! The Worker's decisions: it receives every request first, and admits, routes and caches it. Pure: an
//! isolate's knowledge is a value, and `cloudflare/` does the I/O.

pub mod access;
pub mod admin;
pub mod admit;
pub mod auth;
pub mod collapse;
pub mod cors;
pub mod cpu;
pub mod description;
pub mod forward;
pub mod gate;
pub mod grant;
pub mod host;
pub mod inspecting;
pub mod kept;
pub mod keyring;
pub mod listing;
pub mod live;
pub mod metrics;
pub mod project;
pub mod route;
pub mod settings;
pub mod strangers;
pub mod subscriptions;
pub mod target;
pub mod token;
pub mod webhooks;
