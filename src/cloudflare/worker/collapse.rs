//! Rust's side of `collapse.js`: reads that several clients of a data centre share. Only clients that may read the same stream
//! share one.

use std::future::Future;

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{AbortSignal, Request, Response};
use worker::Context;

use crate::edge::collapse::Reader;
use crate::protocol::Millis;
use crate::protocol::reply::Reply;

#[wasm_bindgen(module = "/src/cloudflare/js/collapse.js")]
extern "C" {
    #[wasm_bindgen(js_name = collapse)]
    fn collapse(
        key: &str,
        group: &str,
        context: &JsValue,
        client: &Object,
        ask: &Closure<dyn FnMut(AbortSignal) -> Promise>,
    ) -> Promise;

    #[wasm_bindgen(js_name = setKinds)]
    fn set_kinds(whole: u16, nothing_new: u16);
}

/// Passes to `collapse.js` the status codes of responses that clients may share.
pub(super) fn configure() {
    set_kinds(Reply::BYTES.as_u16(), Reply::NOTHING_NEW.as_u16());
}

/// A client whose read may be shared.
pub(super) struct Client {
    pub(super) request: Request,
    pub(super) path: String,
    /// When its token expires, in milliseconds since 1970. The client does not wait for another's read any longer.
    pub(super) until: Option<Millis>,
    /// The id of the request.
    pub(super) id: String,
}

impl Client {
    fn to_js(&self) -> Result<Object, JsValue> {
        let client = Object::new();
        Reflect::set(&client, &"signal".into(), &self.request.signal())?;
        Reflect::set(&client, &"request".into(), &self.request)?;
        Reflect::set(&client, &"path".into(), &self.path.as_str().into())?;
        Reflect::set(&client, &"id".into(), &self.id.as_str().into())?;
        if let Some(until) = self.until {
            Reflect::set(&client, &"until".into(), &(until as f64).into())?;
        }
        Ok(client)
    }
}

/// Reads from the object with `ask`, or shares the response to an identical read in progress.
pub(super) async fn read<F>(
    key: &str,
    group: &str,
    context: &Context,
    client: &Client,
    ask: impl Fn(AbortSignal) -> F + 'static,
) -> Result<Response, JsValue>
where
    F: Future<Output = Result<Response, JsValue>> + 'static,
{
    let ask = Closure::new(move |client| {
        let answered = ask(client);
        future_to_promise(async move { answered.await.map(JsValue::from) })
    });
    let client = client.to_js()?;
    let answered = JsFuture::from(collapse(key, group, context.as_ref(), &client, &ask)).await?;
    Ok(answered.unchecked_into())
}

/// The group of clients that may share a read. Strangers may see less of a stream than its readers.
pub(super) fn group(reader: Reader) -> &'static str {
    match reader {
        Reader::Anyone | Reader::Holder => "readers",
        Reader::Stranger => "strangers",
    }
}
