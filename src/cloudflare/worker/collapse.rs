//! Reads that many clients of this data centre share.

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

/// Tells `collapse.js` which answers others may have.
pub(super) fn configure() {
    set_kinds(Reply::BYTES.as_u16(), Reply::NOTHING_NEW.as_u16());
}

/// A client whose read may be shared.
pub(super) struct Client {
    pub(super) request: Request,
    pub(super) path: String,
    /// When what its token allows ends: what somebody else has asked for is not waited for any longer.
    pub(super) until: Option<Millis>,
}

impl Client {
    fn to_js(&self) -> Result<Object, JsValue> {
        let client = Object::new();
        Reflect::set(&client, &"signal".into(), &self.request.signal())?;
        Reflect::set(&client, &"request".into(), &self.request)?;
        Reflect::set(&client, &"path".into(), &self.path.as_str().into())?;
        if let Some(until) = self.until {
            Reflect::set(&client, &"until".into(), &(until as f64).into())?;
        }
        Ok(client)
    }
}

/// Asks the object, or whoever has just asked it.
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

/// Who may share what is under way: what strangers are told of a stream is not what its readers are told.
pub(super) fn group(reader: Reader) -> &'static str {
    match reader {
        Reader::Anyone | Reader::Holder => "readers",
        Reader::Stranger => "strangers",
    }
}
