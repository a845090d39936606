//! What a fork has inherited and its owner still has in its hot log: asked for, and where it is all of an answer passed on
//! without being looked at.

use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::Response;

use super::fetch::Waiting;
use super::forks::{read_told, text_of};
use super::requester::RequestHeaders;
use super::stream_object::ObjectHost;
use crate::cloudflare::budget::Payer;
use crate::cloudflare::calls::unreached;
use crate::cloudflare::reply;
use crate::cloudflare::telemetry::{self, Busy};
use crate::object::Answer;
use crate::object::fetch::{Fetch, Fetched};
use crate::protocol::fork::{Inherit, InheritedEvents, Question, Told};
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::storage::chunk::Chunk;

/// Where forks ask for bytes (`asking.js`), and the header that has their question.
pub(super) const INHERITED_URL: &str = "https://streams/inherited";
const QUESTION: &str = "question";

#[wasm_bindgen(module = "/src/cloudflare/js/asking.js")]
extern "C" {
    #[wasm_bindgen(js_name = inheritFrom)]
    fn inherit_from(namespace: &JsValue, path: &str, question: &str) -> Promise;

    #[wasm_bindgen(js_name = passOn)]
    fn pass_on(namespace: &JsValue, path: &str, question: &str, inheriting: Inheriting) -> Promise;
}

/// A read that waits for one owner and nothing else, in JavaScript: a promise that Rust awaits costs as much as the rest.
#[wasm_bindgen]
pub struct Inheriting {
    inner: Rc<ObjectHost>,
    waiting: Box<Waiting>,
    _busy: Busy,
}

#[wasm_bindgen]
impl Inheriting {
    /// The owner has answered: a response, or the promise of one.
    pub fn answer(self, response: Response) -> Result<JsValue, JsValue> {
        let Inheriting { inner, waiting, .. } = self;
        match read_told(&reply::told_by(&response)) {
            Ok(Told::Inherited(next))
                if waiting.pending.passes_on(next, waiting.read.mode) && response.body().is_some() =>
            {
                pass(&inner, waiting, next, &response)
            }
            _ => Ok(future_to_promise(async move {
                match fetched(response).await {
                    Ok(fetched) => {
                        JsFuture::from(inner.promise_of_fetched(waiting, Some(vec![fetched]))).await
                    }
                    Err(failure) => failed(&inner, &waiting, failure),
                }
            })
            .into()),
        }
    }

    /// The owner could not be asked.
    pub fn failed(self, error: &JsValue) -> Result<JsValue, JsValue> {
        failed(&self.inner, &self.waiting, unreached(error))
    }
}

fn failed(inner: &Rc<ObjectHost>, waiting: &Waiting, failure: Failure) -> Result<JsValue, JsValue> {
    let served = inner.resume(waiting, &[Fetched::Failed(failure)]);
    inner.respond(&waiting.requester, served).map(JsValue::from)
}

/// Answers with the body that came, if the read still is what it was.
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
        return reply::over(&waiting.requester.seen(answer.clone()), response.body()).map(JsValue::from);
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

/// Cancels a body that has no reader: otherwise it stays pending until the platform ends it.
fn give_up(response: &Response) {
    if let Some(body) = response.body() {
        let _nobody_waits_for_it = body.cancel();
    }
}

/// What an owner answered.
pub(super) async fn fetched(response: Response) -> Result<Fetched, Failure> {
    if response.status() == Reply::LATER.as_u16() {
        give_up(&response);
        return Ok(Fetched::Busy);
    }
    let (next, marks) = match read_told(&reply::told_by(&response))? {
        Told::Inherited(next) => (next, Vec::new()),
        Told::InheritedEvents(InheritedEvents { next, begins }) => (next, begins),
        Told::Rotated(hot_from) => return Ok(Fetched::Rotated(hot_from)),
        Told::Referenced(_) | Told::Released | Told::Walked(_) => {
            return Err(Failure::new("read inherited part", "its owner answered something else"));
        }
    };
    let body = response.array_buffer().map_err(|error| unreached(&error))?;
    let body = JsFuture::from(body).await.map_err(|error| unreached(&error))?;
    Ok(Fetched::Chunk(Chunk { body: Uint8Array::new(&body).to_vec(), next, marks }))
}

impl ObjectHost {
    /// Has a read wait for the one owner it needs; else it is given back.
    pub(super) fn passed_on(self: &Rc<Self>, waiting: Box<Waiting>) -> Result<Promise, Box<Waiting>> {
        let [Fetch::Inherit { path, ask }] = &waiting.pending.fetches[..] else { return Err(waiting) };
        let Ok(question) = text_of(&Question::Inherit(ask.clone())) else { return Err(waiting) };
        let (inner, path) = (Rc::clone(self), path.clone());
        let _busy = telemetry::busy(|| self.name(), |_| {});
        let inheriting = Inheriting { inner, waiting, _busy };
        Ok(pass_on(&self.namespace, &path, &question, inheriting))
    }

    /// Asks an owner for bytes.
    pub(super) async fn inherit(&self, path: &str, ask: &Inherit) -> Result<Fetched, Failure> {
        let question = text_of(&Question::Inherit(ask.clone()))?;
        let asked = JsFuture::from(inherit_from(&self.namespace, path, &question)).await;
        fetched(asked.map_err(|error| unreached(&error))?.unchecked_into()).await
    }

    /// A fork asks for bytes.
    pub(super) fn inherited(self: &Rc<Self>, headers: &RequestHeaders) -> Result<Response, JsValue> {
        let question = headers.get(&QUESTION.into()).unwrap_or_default();
        let (told, bytes) = self.asked(&question).map_err(|failure| self.thrown(&failure))?;
        reply::told(&told, &bytes, || Payer::of(&self.name(), String::new()))
    }
}
