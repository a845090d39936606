//! Answers calls from other objects and from the Worker. No client can make a call.

use std::rc::Rc;

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::Response;

use super::host::ObjectHost;
use super::requester::RequestHeaders;
use crate::cloudflare::budget::{self, Payer};
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::{reply, telemetry, webhooks};
use crate::object::said::{SETTLES_MAX, Said};
use crate::object::subscription::{After, Responded};
use crate::object::{Object, Ports};
use crate::protocol::call::{Answered, Call};
use crate::protocol::subscription::answer::SubscriptionAnswer;
use crate::storage::Failure;

/// The URL and the header of a call whose answer carries bytes (`calls.js`).
pub(super) const BYTES_URL: &str = "https://streams/inherited";
const CALL: &str = "question";

/// Work that takes time, after which a call is answered.
enum Rest {
    /// Delete these objects from the bucket.
    Delete(Vec<String>),
    /// Generate a key; then answer the call.
    MakeKey(Call),
    /// Wait until a subscription has called its streams and the registry.
    Settle(After),
}

impl ObjectHost {
    /// Answers a call without bytes: returns the answer as JSON, or the promise of it.
    pub(super) fn asked(self: &Rc<Self>, text: &str) -> Result<JsValue, JsValue> {
        let call = Call::parse(text);
        match self.answer_or_rest(call).map_err(|failure| self.to_error(&failure))? {
            Ok(answered) => Ok(answered.to_json().into()),
            Err(rest) => {
                let host = Rc::clone(self);
                let answered = async move {
                    let answered = host.answer_after(rest).await;
                    answered
                        .map(|answered| answered.to_json().into())
                        .map_err(|failure| host.to_error(&failure))
                };
                Ok(future_to_promise(answered).into())
            }
        }
    }

    /// The answer to a call, or the work to do before it.
    fn answer_or_rest(self: &Rc<Self>, call: Call) -> Result<Result<Answered, Rest>, Failure> {
        if matches!(call, Call::SigningKey | Call::PublicKeys)
            && self.object.borrow().needs_key(&self.sql, clock::now())?
        {
            return Ok(Err(Rest::MakeKey(call)));
        }
        let deletes = matches!(call, Call::Orphans { deletes: true, .. });
        let Said { answered, after, .. } = self.answer_call(call)?;
        Ok(match (answered, after) {
            (_, Some(after)) => Err(Rest::Settle(after)),
            (Answered::Orphans(orphans), None) if deletes => Err(Rest::Delete(orphans)),
            (answered, None) => Ok(answered),
        })
    }

    async fn answer_after(self: &Rc<Self>, rest: Rest) -> Result<Answered, Failure> {
        let _busy = telemetry::busy(|| self.name(), |_| {});
        match rest {
            Rest::Delete(orphans) => self.delete_orphans(orphans).await,
            Rest::MakeKey(call) => {
                let key = webhooks::make_key().await?;
                self.object.borrow_mut().add_key(&self.sql, key, clock::now())?;
                self.answer_call(call).map(|said| said.answered)
            }
            Rest::Settle(after) => self.answer_when_settled(after).await.map(Answered::Subscription),
        }
    }

    /// Completes the answer to a request once the object has settled, or after [`SETTLES_MAX`].
    async fn answer_when_settled(self: &Rc<Self>, mut after: After) -> Result<SubscriptionAnswer, Failure> {
        let timer = Timer::new(SETTLES_MAX);
        loop {
            let is_settled = |object: &Object| object.is_settled(clock::now()).then_some(());
            clock::before(&timer, self.until(is_settled)).await;
            let sockets = self.sockets();
            let ports = Ports { sql: &self.sql, sockets: &sockets };
            let mut object = self.object.borrow_mut();
            let responded = object.go_on_after(&ports, after, clock::now());
            self.log_work("settled");
            self.follow_up(object);
            match responded? {
                Responded::Answer(answer) => return Ok(answer),
                Responded::Settle(next) => after = next,
            }
        }
    }

    /// Answers a call with bytes.
    pub(super) fn answer_with_bytes(self: &Rc<Self>, headers: &RequestHeaders) -> Result<Response, JsValue> {
        let call = Call::parse(&headers.get(&CALL.into()).unwrap_or_default());
        let Said { answered, bytes, .. } =
            self.answer_call(call).map_err(|failure| self.to_error(&failure))?;
        reply::answered(&answered.to_json(), &bytes, || Payer::of(&self.name(), String::new()))
    }

    fn answer_call(self: &Rc<Self>, mut call: Call) -> Result<Said, Failure> {
        let _busy = telemetry::busy(|| self.name(), |counts| counts.object_requests += 1);
        if matches!(call, Call::Orphans { .. }) && self.bucket.is_none() {
            return Err(Failure::new("delete orphans", "no bucket is bound: bind SEGMENTS"));
        }
        if let Call::Inherit(inherit) = &mut call {
            // No address: the fork, which may run in another isolate, counts the bytes of its own readers.
            let payer = || Payer::of(&self.name(), String::new());
            inherit.max_bytes = budget::chunk_bytes(inherit.max_bytes, payer);
        }
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let path = self.name();
        let mut object = self.object.borrow_mut();
        let said = object.answer(&ports, &path, &call, &clock::random, clock::now());
        self.log_work(event_of(&call));
        self.follow_up(object);
        said
    }

    /// Deletes orphans in one request: a page of the bucket has fewer than the platform deletes at once.
    async fn delete_orphans(self: &Rc<Self>, orphans: Vec<String>) -> Result<Answered, Failure> {
        let deleted = match &self.bucket {
            Some(bucket) if !orphans.is_empty() => bucket.delete(orphans.clone()).await,
            Some(_) | None => Ok(()),
        };
        let mut object = self.object.borrow_mut();
        object.swept();
        self.follow_up(object);
        deleted.map(|()| Answered::Orphans(orphans))
    }

    /// Logs a failure, and makes the error that the caller receives.
    fn to_error(&self, failure: &Failure) -> JsValue {
        telemetry::failure(&self.name(), failure);
        js_sys::Error::new(&failure.to_string()).into()
    }
}

/// The name of the debug event for a call.
fn event_of(call: &Call) -> &'static str {
    match call {
        Call::Refer(_)
        | Call::Release(_)
        | Call::Walk(_)
        | Call::Seek(_)
        | Call::Inherit(_)
        | Call::SigningKey
        | Call::PublicKeys
        | Call::Unknown => "asked",
        Call::Subscription(_) => "requested",
        Call::Notify(_) => "noted",
        Call::Watch(_) | Call::Unwatch(_) => "watched",
        Call::Wake(_) => "appended_wake",
        Call::Enlist(_) => "enlisted",
        Call::Record(_) => "recorded",
        Call::List(_) => "listed",
        Call::Describe | Call::Inspect => "described",
        Call::Orphans { deletes: false, .. } => "audited",
        Call::Orphans { deletes: true, .. } => "swept",
    }
}
