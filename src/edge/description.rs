//! The description of the HTTP API (OpenAPI 3.1). `build.rs` composes it from the parts in `openapi/`, without white
//! space.

/// The text of the description.
pub const DESCRIPTION: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));
