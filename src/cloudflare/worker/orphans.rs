//! The administrator's question after orphans: a page of the bucket is listed, and each stream on it is asked once which
//! of its keys it does not know, and deletes them.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::calls::{BINDING, unreached};
use crate::cloudflare::{bucket, telemetry};
use crate::protocol::orphans::{Ask, Page};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::storage::bucket_page::{PAGE_KEYS_MAX, by_stream};

#[wasm_bindgen(module = "/src/cloudflare/js/asking.js")]
extern "C" {
    #[wasm_bindgen(js_name = orphansOf)]
    fn orphans_of(namespace: &JsValue, streams: Vec<Array>, deletes: bool) -> Promise;
}

/// Answers what the administrator asks.
pub(super) async fn answer(env: &Env, ask: &Ask) -> Reply {
    let Some(bucket) = bucket::of(env) else {
        return Reply::refused(&Refusal::NotImplemented { what: "a bucket for segments, bound as SEGMENTS" });
    };
    match page(env, &bucket, ask).await {
        Ok(page) => Reply::page(&page),
        Err(failure) => {
            telemetry::failure("", &failure);
            Reply::failed()
        }
    }
}

async fn page(env: &Env, bucket: &bucket::SegmentBucket, ask: &Ask) -> Result<Page, Failure> {
    let (listed, is_last) = bucket.list(ask.after.as_deref(), PAGE_KEYS_MAX).await?;
    let listed = by_stream(listed, is_last)?;
    let streams = listed.streams.iter().map(|(path, segments)| {
        let keys = segments.iter().map(|stored| stored.key.as_str());
        std::iter::once(path.as_str()).chain(keys).map(JsValue::from).collect()
    });
    let namespace = js_sys::Reflect::get(env, &BINDING.into()).map_err(|error| unreached(&error))?;
    let asked = orphans_of(&namespace, streams.collect(), ask.deletes);
    let answers: Array = JsFuture::from(asked).await.map_err(|error| unreached(&error))?.unchecked_into();
    let mut page = Page { foreign: listed.foreign, cursor: listed.next, ..Page::default() };
    for ((path, segments), answer) in listed.streams.into_iter().zip(answers.iter()) {
        let unknown = strings(&answer);
        if unknown.is_none() {
            telemetry::failure(path.as_str(), &unreached(&answer));
        }
        page.take(segments, unknown.as_deref());
    }
    Ok(page)
}

/// The strings of an array, if it is one and has nothing else.
fn strings(value: &JsValue) -> Option<Vec<String>> {
    value.dyn_ref::<Array>()?.iter().map(|one| one.as_string()).collect()
}
