//! Reads inherited messages of a fork from the hot log of their owner. If they are the whole answer, the bytes pass from the
//! owner to the client without entering the module.

use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::Response;

use super::fetch::Waiting;
use super::host::ObjectHost;
use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::reply;
use crate::cloudflare::telemetry::{self, Busy};
use crate::object::Answer;
use crate::object::fetch::{Fetch, Fetched};
use crate::object::said::Said;
use crate::protocol::call::{Answered, Call};
use crate::protocol::fork::Inherit;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// A read that waits for one owner only. JavaScript awaits the owner's response, because a promise that Rust awaits costs as
/// much as the rest of the read.
#[wasm_bindgen]
pub struct Inheriting {
    inner: Rc<ObjectHost>,
    waiting: Box<Waiting>,
    _busy: Busy,
}

#[wasm_bindgen]
impl Inheriting {
    /// Answers the read with the owner's response: returns a response, or the promise of one.
    pub fn answer(self, response: Response) -> Result<JsValue, JsValue> {
        let Inheriting { inner, waiting, .. } = self;
        if let Answered::Inherited(next) = calls::answered_in(&response)
            && waiting.pending.passes_on(next, waiting.read.mode)
            && response.body().is_some()
        {
            return pass(&inner, waiting, next, &response);
        }
        Ok(future_to_promise(async move {
            match fetched(response).await {
                Ok(fetched) => JsFuture::from(inner.promise_of_fetched(waiting, Some(vec![fetched]))).await,
                Err(failure) => failed(&inner, &waiting, failure),
            }
        })
        .into())
    }

    /// Answers the read after the call to the owner has failed.
    pub fn failed(self, error: &JsValue) -> Result<JsValue, JsValue> {
        failed(&self.inner, &self.waiting, unreached(error))
    }
}

fn failed(inner: &Rc<ObjectHost>, waiting: &Waiting, failure: Failure) -> Result<JsValue, JsValue> {
    let served = inner.resume(waiting, &[Fetched::Failed(failure)]);
    inner.respond(&waiting.requester, served).map(JsValue::from)
}

/// Answers with the owner's body, if the read still needs exactly these bytes.
fn pass(
    inner: &Rc<ObjectHost>,
    mut waiting: Box<Waiting>,
    next: Offset,
    response: &Response,
) -> Result<JsValue, JsValue> {
    let served = inner.resume(&waiting, &[Fetched::Passed(next)]);
    if let Ok(Answer::Reply(answer)) = &served
        && waiting.pending.has_bytes_of(next, answer)
    {
        return reply::over(&waiting.requester.addressed(answer.clone()), response.body()).map(JsValue::from);
    }
    give_up(response);
    match served {
        Ok(Answer::Fetch(other)) => {
            waiting.pending = other;
            Ok(inner.promise_of_fetch(waiting).into())
        }
        served => inner.respond(&waiting.requester, served).map(JsValue::from),
    }
}

/// Cancels a body that will not be read: otherwise it stays open until the platform ends it.
fn give_up(response: &Response) {
    if let Some(body) = response.body() {
        let _nobody_waits_for_it = body.cancel();
    }
}

/// Reads an owner's response into memory.
pub(super) async fn fetched(response: Response) -> Result<Fetched, Failure> {
    if response.status() == Reply::LATER.as_u16() {
        give_up(&response);
        return Ok(Fetched::Busy);
    }
    let answered = calls::answered_in(&response);
    let bytes = response.array_buffer().map_err(|error| unreached(&error))?;
    let bytes = JsFuture::from(bytes).await.map_err(|error| unreached(&error))?;
    Fetched::of(Said { bytes: Uint8Array::new(&bytes).to_vec(), ..answered.into() })
}

impl ObjectHost {
    /// Lets JavaScript wait for the owner if the read needs one owner only; otherwise gives the read back.
    pub(super) fn passed_on(self: &Rc<Self>, waiting: Box<Waiting>) -> Result<Promise, Box<Waiting>> {
        let [Fetch::Inherit { path, ask }] = &waiting.pending.fetches[..] else { return Err(waiting) };
        let (inner, path, call) = (Rc::clone(self), path.clone(), Call::Inherit(ask.clone()));
        let _busy = telemetry::busy(|| self.name(), |_| {});
        let inheriting = Inheriting { inner, waiting, _busy };
        Ok(calls::pass_on(&self.namespace, &path, &call, inheriting.into()))
    }

    /// Requests inherited bytes from their owner.
    pub(super) async fn inherit(&self, path: &str, inherit: &Inherit) -> Result<Fetched, Failure> {
        fetched(calls::call_for_bytes(&self.namespace, path, &Call::Inherit(inherit.clone())).await?).await
    }
}
