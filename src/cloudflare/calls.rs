//! Sends calls to Durable Objects, for the Worker and for objects. An answer that this build cannot read is a failure, just
//! like a missing answer: the caller knows nothing yet and may retry.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

use super::reply;
use crate::protocol::call::{Answered, Call};
use crate::storage::Failure;

#[wasm_bindgen(module = "/src/cloudflare/js/calls.js")]
extern "C" {
    #[wasm_bindgen(js_name = call)]
    fn call_by_text(namespace: &JsValue, path: &str, text: &str) -> Promise;

    #[wasm_bindgen(js_name = callAll)]
    fn call_all_by_text(namespace: &JsValue, paths: Vec<String>, texts: Vec<String>) -> Promise;

    #[wasm_bindgen(js_name = callForBytes)]
    fn call_for_bytes_by_text(namespace: &JsValue, path: &str, text: &str) -> Promise;

    #[wasm_bindgen(js_name = passOn)]
    fn pass_on_by_text(namespace: &JsValue, path: &str, text: &str, inheriting: JsValue) -> Promise;
}

pub(super) async fn call(namespace: &JsValue, path: &str, call: &Call) -> Result<Answered, Failure> {
    let answered = JsFuture::from(call_by_text(namespace, path, &call.to_json())).await;
    known(&answered.map_err(|error| unreached(&error))?)
}

/// Calls several objects concurrently, and returns their answers in the order of `calls`.
pub(super) async fn call_all(
    namespace: &JsValue,
    calls: &[(String, Call)],
) -> Result<Vec<Result<Answered, Failure>>, Failure> {
    let (paths, texts) = calls.iter().map(|(path, call)| (path.clone(), call.to_json())).unzip();
    let answers = JsFuture::from(call_all_by_text(namespace, paths, texts)).await;
    let answers: Array = answers.map_err(|error| unreached(&error))?.unchecked_into();
    Ok(answers.iter().map(|answered| known(&answered)).collect())
}

/// Calls an object whose answer carries bytes. [`answered_in`] reads the answer from the response; the body has the bytes.
pub(super) async fn call_for_bytes(
    namespace: &JsValue,
    path: &str,
    call: &Call,
) -> Result<Response, Failure> {
    let answered = JsFuture::from(call_for_bytes_by_text(namespace, path, &call.to_json())).await;
    answered.map(JsCast::unchecked_into).map_err(|error| unreached(&error))
}

/// Does the same without a task in the module: JavaScript passes the response to `inheriting`, and resolves with its answer.
pub(super) fn pass_on(namespace: &JsValue, path: &str, call: &Call, inheriting: JsValue) -> Promise {
    pass_on_by_text(namespace, path, &call.to_json(), inheriting)
}

/// The answer in the headers of a response with bytes.
pub(super) fn answered_in(response: &Response) -> Answered {
    Answered::parse(&reply::answered_in(response))
}

/// The failure of a call or a request that did not reach its object.
pub(super) fn unreached(error: &JsValue) -> Failure {
    Failure::new("call object", format_args!("{error:?}"))
}

fn known(answered: &JsValue) -> Result<Answered, Failure> {
    let Some(text) = answered.as_string() else { return Err(unreached(answered)) };
    let answered = Answered::parse(&text);
    if answered == Answered::Unknown {
        return Err(Failure::new(
            "call object",
            format_args!("this build cannot read the answer: {text:.200}"),
        ));
    }
    Ok(answered)
}
