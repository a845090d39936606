//! The only folder that names the platform: entry points, and the real implementations of the ports.

mod bucket;
mod budget;
mod calls;
mod clock;
mod config;
mod interned;
mod object;
#[expect(unreachable_pub, reason = "wasm-bindgen exports what is `pub`")]
mod receiving;
mod reply;
mod telemetry;
mod webhooks;
mod worker;
