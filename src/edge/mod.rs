//! Sees every request first. Stateless and pure; the platform's part is in `cloudflare/`.

pub mod gate;
pub mod route;
