//! A listing: the registry says which streams there are, and each stream what it is.

use js_sys::{Array, Promise};
use serde_json::value::RawValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::calls::{BINDING, unreached};
use crate::cloudflare::telemetry;
use crate::edge::listing::Listing;
use crate::protocol::listing::{Described, Page};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/asking.js")]
extern "C" {
    fn list(namespace: &JsValue, registry: &str, ask: Vec<String>) -> Promise;

    fn describe(namespace: &JsValue, paths: Vec<String>) -> Promise;
}

/// Answers a listing that may be made.
pub(super) async fn answer(env: &Env, listing: &Listing) -> Reply {
    match page(env, listing).await {
        Ok(page) => Reply::page(&page),
        Err(failure) => {
            telemetry::failure(&listing.registry, &failure);
            Reply::unavailable()
        }
    }
}

async fn page(env: &Env, Listing { registry, ask }: &Listing) -> Result<Page, Failure> {
    let namespace = js_sys::Reflect::get(env, &BINDING.into()).map_err(|error| unreached(&error))?;
    let asked = vec![ask.prefix.clone(), ask.after.clone(), ask.limit.to_string()];
    let listed =
        JsFuture::from(list(&namespace, registry, asked)).await.map_err(|error| unreached(&error))?;
    let listed: Array = listed.unchecked_into();
    let mut words = listed.iter().map(|word| word.as_string().unwrap_or_default());
    let next = words.next().filter(|path| !path.is_empty());
    let paths: Vec<String> = words.collect();
    let described = JsFuture::from(describe(&namespace, paths.clone())).await;
    let described: Array = described.map_err(|error| unreached(&error))?.unchecked_into();
    let streams = paths.iter().zip(described.iter()).filter_map(|(path, described)| shown(path, &described));
    Ok(Page { streams: streams.collect(), next })
}

/// How a page shows a stream; not at all if it is gone.
fn shown(path: &str, described: &JsValue) -> Option<Box<RawValue>> {
    if described.is_undefined() {
        return None;
    }
    described.as_string().and_then(|json| RawValue::from_string(json).ok()).or_else(|| {
        telemetry::failure(path, &unreached(described));
        Some(Described { path, ..Described::default() }.to_json())
    })
}
