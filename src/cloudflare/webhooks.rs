//! Sends deliveries to webhooks, and generates the signing keys. JavaScript does both (`webhooks.js`), because it has
//! WebCrypto and `fetch`.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::config::settings;
use crate::edge::access::delivery_rules;
use crate::object::effect::Post;
use crate::protocol::Millis;
use crate::protocol::subscription::keys::{SIGNING_KEY_VALID, SigningKey};
use crate::storage::Failure;
use crate::subscription::delivery::Delivered;
use crate::subscription::response::WebhookResponse;

#[wasm_bindgen(module = "/src/cloudflare/js/webhooks.js")]
extern "C" {
    #[wasm_bindgen(js_name = deliver)]
    fn deliver_text(
        namespace: &JsValue,
        registry: &str,
        key_valid: f64,
        url: &str,
        body: &str,
        time_max: f64,
    ) -> Promise;

    #[wasm_bindgen(js_name = makeKey)]
    fn make_key_parts() -> Promise;
}

/// Signs a delivery and sends it, if the rules for URLs still allow its URL.
pub(super) async fn deliver(env: &Env, namespace: &JsValue, post: &Post) -> Result<Delivered, Failure> {
    match delivery_rules(&settings(env), &post.base) {
        Err(why) => return Ok(Delivered::Unsent { message: format!("not sent, because {why}") }),
        Ok(rules) => {
            if let Err(why) = rules.check(&post.url) {
                return Ok(Delivered::not_allowed(why));
            }
        }
    }
    let Post { url, body, registry, time_max, .. } = post;
    let key_valid = SIGNING_KEY_VALID as f64;
    let sent = deliver_text(namespace, registry, key_valid, url, body, *time_max as f64);
    let response = JsFuture::from(sent).await.map_err(|error| failure("deliver webhook", &error))?;
    let response: Array = response.unchecked_into();
    Ok(Delivered::of(&WebhookResponse {
        status: response.get(0).as_f64().unwrap_or_default() as u16,
        is_done: response.get(1).is_truthy(),
        text: &response.get(2).as_string().unwrap_or_default(),
        wait: response.get(3).as_f64().map(|millis| millis as Millis),
        is_unsent: response.get(4).is_truthy(),
    }))
}

pub(super) async fn make_key() -> Result<SigningKey, Failure> {
    let made = JsFuture::from(make_key_parts()).await.map_err(|error| failure("generate key", &error))?;
    let made: Array = made.unchecked_into();
    let part = |at: u32| made.get(at).as_string().unwrap_or_default();
    Ok(SigningKey { kid: part(0), x: part(1), d: part(2) })
}

fn failure(operation: &'static str, error: &JsValue) -> Failure {
    Failure::new(operation, format_args!("{error:?}"))
}
