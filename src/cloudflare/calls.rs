//! Calls of Durable Objects: where they are found, and what it means that one could not be reached.

use wasm_bindgen::prelude::*;

use crate::storage::Failure;

/// The binding of the streams' objects.
pub(super) const BINDING: &str = "STREAMS";

/// The object could not be asked.
pub(super) fn unreached(error: &JsValue) -> Failure {
    Failure::new("ask object", format_args!("{error:?}"))
}
