//! Looks up what a token needs: projects in KV, the keys of key servers, and signatures in the platform's own
//! cryptography.

use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use super::config::{REGISTRY, binding};
use super::log;
use crate::edge::keyring::Learnt;
use crate::edge::project::{Key, Project, parse_public};
use crate::edge::token::Signed;
use crate::protocol::Millis;
use crate::storage::Failure;

/// The longest answer of a key server that is looked at: some 30 keys with certificates.
const KEY_SET_MAX_BYTES: u32 = 64 << 10;

/// How long a key server may take.
const KEY_SET_TIMEOUT: Millis = 5_000;

/// What a project's key in KV begins with.
const KEY_PREFIX: &str = "project:";

#[wasm_bindgen]
extern "C" {
    /// A KV namespace.
    type Namespace;

    #[wasm_bindgen(method, catch)]
    fn get(this: &Namespace, key: &str) -> Result<Promise, JsValue>;
}

#[wasm_bindgen(module = "/src/cloudflare/keys.js")]
extern "C" {
    #[wasm_bindgen(js_name = fetchText)]
    fn fetch_text(url: &str, max_bytes: u32, millis: f64) -> Promise;

    fn verifies(algorithm: &str, jwk: &str, message: &str, signature: Uint8Array) -> Promise;
}

/// Looks a project up. One that cannot be read has no tokens, and whoever can put it right finds it in the log.
pub(super) async fn project(env: &Env, name: &str) -> Learnt<Rc<Project>> {
    let operation = "look up project";
    let text = match project_text(env, name).await {
        Ok(Some(text)) => text,
        Ok(None) => return Learnt::Nothing,
        Err(error) => {
            log::failure(name, &Failure::new(operation, format_args!("{error:?}")));
            return Learnt::Failed;
        }
    };
    match Project::parse(&text) {
        Ok(project) => Learnt::Found(Rc::new(project)),
        Err(why) => {
            log::failure(name, &Failure::new(operation, why));
            Learnt::Nothing
        }
    }
}

async fn project_text(env: &Env, name: &str) -> Result<Option<String>, JsValue> {
    let Some(namespace) = binding(env, REGISTRY) else { return Ok(None) };
    #[cfg(feature = "counters")]
    super::counters::add(|counts| counts.kv_reads += 1);
    let namespace: Namespace = namespace.unchecked_into();
    Ok(JsFuture::from(namespace.get(&format!("{KEY_PREFIX}{name}"))?).await?.as_string())
}

/// Asks a key server.
pub(super) async fn keys(url: &str) -> Learnt<Vec<Rc<Key>>> {
    let failed = |cause: &str| {
        log::failure(url, &Failure::new("fetch keys", cause));
        Learnt::Failed
    };
    match JsFuture::from(fetch_text(url, KEY_SET_MAX_BYTES, KEY_SET_TIMEOUT as f64)).await {
        Ok(text) => match parse_public(&text.as_string().unwrap_or_default()) {
            Some(keys) => Learnt::Found(keys),
            None => failed("it is no JSON Web Key Set"),
        },
        Err(error) => failed(&format!("{error:?}")),
    }
}

/// Whether a signature is right.
pub(super) async fn is_right(signed: &Signed) -> bool {
    let signature = Uint8Array::from(&*signed.signature);
    let verified = verifies(signed.algorithm.name(), &signed.jwk, &signed.message, signature);
    JsFuture::from(verified).await.is_ok_and(|right| right == JsValue::TRUE)
}
