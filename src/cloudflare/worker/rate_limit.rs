//! The platform's rate limits of requests and of creations, where the deployment binds them. A limit that fails lets the
//! request pass.

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

use crate::cloudflare::config::{CREATE_LIMIT, REQUEST_LIMIT, binding};
use crate::cloudflare::telemetry;
use crate::edge::keyring::counted_as;
use crate::protocol::refusal::Refusal;
use crate::storage::Failure;

/// The longest period that a limit can have, in seconds. The platform reports neither a limit's period nor the time left.
const PERIOD_SECONDS: u64 = 60;

#[wasm_bindgen]
extern "C" {
    type Limit;

    #[wasm_bindgen(method, catch)]
    fn limit(this: &Limit, options: &Object) -> Result<Promise, JsValue>;
}

/// Whether any limit is bound. If so, every request is counted before it is passed on.
pub(super) fn are_bound(env: &Env) -> bool {
    [REQUEST_LIMIT, CREATE_LIMIT].iter().any(|name| binding(env, name).is_some())
}

/// Counts a request without a valid token against the limit of its network.
pub(super) async fn count_address(env: &Env, network: &str, request: &str) -> Result<(), Refusal> {
    count_one(env, REQUEST_LIMIT, &format!("address {network}"), request).await
}

/// Counts a request against the limit of its token. The token must be valid, or strangers could use up its limit.
pub(super) async fn count_token(env: &Env, token: &str, request: &str) -> Result<(), Refusal> {
    count_one(env, REQUEST_LIMIT, &counted_as(token), request).await
}

/// Counts an allowed PUT against the limit of its project.
pub(super) async fn count_creation(env: &Env, project: &str, request: &str) -> Result<(), Refusal> {
    count_one(env, CREATE_LIMIT, project, request).await
}

async fn count_one(env: &Env, name: &str, key: &str, request: &str) -> Result<(), Refusal> {
    let Some(limit) = binding(env, name) else { return Ok(()) };
    match is_within(limit.unchecked_ref(), key).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::TooManyRequests { after_seconds: PERIOD_SECONDS }),
        Err(error) => {
            // A limit bounds the cost. If it fails, the server keeps serving.
            let failure = Failure::new("hold limit", format_args!("{name}: {error:?}"));
            telemetry::failure("", Some(request), &failure);
            Ok(())
        }
    }
}

async fn is_within(limit: &Limit, key: &str) -> Result<bool, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &"key".into(), &key.into())?;
    let outcome = JsFuture::from(limit.limit(&options)?).await?;
    Ok(Reflect::get(&outcome, &"success".into())?.is_truthy())
}
