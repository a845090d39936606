//! The entry points, and the implementations of the ports on Cloudflare. No other folder names the platform.

mod bucket;
mod budget;
mod calls;
mod clock;
mod config;
mod index_database;
mod interned;
mod object;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod receiving;
mod reply;
mod telemetry;
mod webhooks;
mod worker;
