//! A listing: the registry says which streams there are, and each stream what it is.

use std::rc::Rc;

use js_sys::{Array, Promise};
use serde_json::value::RawValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::clock;
#[cfg(feature = "counters")]
use super::counters;
use super::log;
use super::stream_object::{Inner, StreamObject};
use super::upstream::{self, unreached};
use crate::edge::listing::Listing;
use crate::object::Ports;
use crate::protocol::listing::{Ask, Described, LIMIT_DEFAULT, Page};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/asking.js")]
extern "C" {
    fn list(namespace: &JsValue, registry: &str, ask: Vec<String>) -> Promise;

    fn describe(namespace: &JsValue, paths: Vec<String>) -> Promise;
}

/// Answers a listing that may be made.
pub(super) async fn answer(env: &Env, listing: &Listing) -> Reply {
    match page(env, listing).await {
        Ok(page) => Reply::page(&page),
        Err(failure) => {
            log::failure(&listing.registry, &failure);
            Reply::unavailable()
        }
    }
}

async fn page(env: &Env, Listing { registry, ask }: &Listing) -> Result<Page, Failure> {
    let namespace =
        js_sys::Reflect::get(env, &upstream::BINDING.into()).map_err(|error| unreached(&error))?;
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
        log::failure(path, &unreached(described));
        Some(Described { path, ..Described::default() }.to_json())
    })
}

#[wasm_bindgen]
impl StreamObject {
    /// Which streams a registry knows.
    pub fn listed(&self, prefix: String, after: String, limit: &str) -> Result<Vec<String>, JsValue> {
        let ask = Ask { prefix, after, limit: limit.parse().unwrap_or(LIMIT_DEFAULT) };
        self.inner.listed(&ask).map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }

    /// What the stream is, if it is there.
    pub fn described(&self) -> Result<Option<String>, JsValue> {
        self.inner.described().map_err(|failure| js_sys::Error::new(&failure.to_string()).into())
    }
}

impl Inner {
    /// The registry's part: where the next page begins, or nothing; and this page's paths.
    pub(super) fn listed(&self, ask: &Ask) -> Result<Vec<String>, Failure> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |counts| counts.object_requests += 1);
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let listed = self.object.borrow_mut().listed(&ports, ask)?;
        self.log_work("listed");
        Ok(std::iter::once(listed.next.unwrap_or_default()).chain(listed.paths).collect())
    }

    /// The stream's part: what it is, if it is there.
    pub(super) fn described(self: &Rc<Self>) -> Result<Option<String>, Failure> {
        #[cfg(feature = "counters")]
        let _busy = counters::busy(self.name(), |counts| counts.object_requests += 1);
        let path = self.name();
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let mut object = self.object.borrow_mut();
        let described = object.described(&ports, &path, clock::now());
        self.log_work("described");
        self.follow_up(&path, object);
        described
    }
}
