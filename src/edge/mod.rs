//! Sees every request first and decides what becomes of it. Pure: what an isolate has learnt is a value that it is given, and the
//! platform's part is in `cloudflare/`.

pub mod access;
pub mod admin;
pub mod admit;
pub mod auth;
pub mod collapse;
pub mod cors;
pub mod cpu;
pub mod gate;
pub mod grant;
pub mod host;
pub mod kept;
pub mod keyring;
pub mod listing;
pub mod live;
pub mod project;
pub mod route;
pub mod settings;
pub mod strangers;
pub mod target;
pub mod token;
