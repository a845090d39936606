//! Caches the JavaScript strings of texts that cross the boundary repeatedly. The cache has a bound.

use std::cell::RefCell;
use std::collections::HashMap;

use wasm_bindgen::JsValue;

/// The most strings in one cache, which is more than are ever in use at a time.
const STRINGS_MAX: usize = 64;

/// JavaScript strings by their text.
#[derive(Default)]
pub(super) struct Interned {
    strings: RefCell<HashMap<String, JsValue>>,
}

impl Interned {
    /// Calls `call` with the same JavaScript string each time for the same text.
    pub(super) fn with<T>(&self, text: &str, call: impl FnOnce(&JsValue) -> T) -> T {
        let mut strings = self.strings.borrow_mut();
        if let Some(known) = strings.get(text) {
            return call(known);
        }
        if strings.len() == STRINGS_MAX {
            strings.clear();
        }
        call(strings.entry(text.to_owned()).or_insert_with(|| JsValue::from_str(text)))
    }
}
