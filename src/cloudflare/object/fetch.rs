//! Reads that need bytes from the bucket or from another object. No other read suspends, and after each wait the object
//! checks the stream again.

use std::rc::Rc;

use futures_util::future::join_all;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::Response;

use super::host::ObjectHost;
use super::requester::Requester;
use crate::cloudflare::{calls, clock, telemetry};
use crate::object::fetch::{Fetch, Fetched, PendingRead};
use crate::object::{Answer, Error, Ports};
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::command::{Command, Read};
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use crate::storage::Failure;
use crate::storage::segment_file::ENDING_BYTES;

/// How long a read waits for its bytes, in milliseconds. This is longer than the time limit of a call (`calls.js`).
const FETCH_MAX: Millis = 60_000;

/// A read that waits for bytes.
pub(super) struct Waiting {
    pub(super) requester: Requester,
    pub(super) read: Read,
    pub(super) pending: PendingRead,
}

/// Refuses the read: the budget has no room for the bytes to fetch.
fn busy(waiting: &Waiting) -> Result<Response, JsValue> {
    waiting.requester.refuse(&Refusal::Busy { why: TOO_MUCH_IS_HELD })
}

impl ObjectHost {
    /// Fetches what a read needs, and answers it.
    pub(super) fn promise_of_fetch(self: &Rc<Self>, waiting: Box<Waiting>) -> Promise {
        match self.passed_on(waiting) {
            Ok(promise) => promise,
            Err(waiting) => self.promise_of_fetched(waiting, None),
        }
    }

    /// Does the same; `fetched` is what has arrived already for the first attempt.
    pub(super) fn promise_of_fetched(
        self: &Rc<Self>,
        mut waiting: Box<Waiting>,
        mut fetched: Option<Vec<Fetched>>,
    ) -> Promise {
        let inner = Rc::clone(self);
        future_to_promise(async move {
            let _busy = telemetry::busy(|| inner.name(), |_| {});
            let payer = waiting.requester.payer();
            loop {
                let Some(holding) = payer.hold(waiting.pending.bytes()) else {
                    return busy(&waiting).map(JsValue::from);
                };
                let fetched = match fetched.take() {
                    Some(fetched) => fetched,
                    None => inner.fetch_all(&waiting.pending).await,
                };
                match inner.resume(&waiting, &fetched) {
                    // The bytes were rotated or trimmed meanwhile, or the index of a segment says only now where they are.
                    Ok(Answer::Fetch(other)) => waiting.pending = other,
                    served => {
                        // Free the fetched bytes before the response reserves its own.
                        drop((fetched, holding));
                        return inner.respond(&waiting.requester, served).map(JsValue::from);
                    }
                }
            }
        })
    }

    /// Answers a read with the fetched bytes, or says what else it needs.
    pub(super) fn resume(self: &Rc<Self>, waiting: &Waiting, fetched: &[Fetched]) -> Result<Answer, Error> {
        let Waiting { requester, read, pending } = waiting;
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (mut object, now) = (self.object.borrow_mut(), clock::now());
        // The URL may have a new incarnation by now, with other access rights.
        let admitted = requester.admit(&mut object, &ports, &Command::Read(read.clone()), now);
        let served = admitted.and_then(|()| object.resume(&ports, read, pending, fetched, now));
        self.follow_up(object);
        served
    }

    async fn fetch_all(&self, pending: &PendingRead) -> Vec<Fetched> {
        let fetched = join_all(pending.fetches.iter().map(|fetch| self.fetch(fetch)));
        let late = || Failure::new("fetch bytes", format_args!("no answer within {FETCH_MAX} ms"));
        match clock::within(FETCH_MAX, fetched).await {
            Some(fetched) => {
                fetched.into_iter().map(|fetched| fetched.unwrap_or_else(Fetched::Failed)).collect()
            }
            None => pending.fetches.iter().map(|_| Fetched::Failed(late())).collect(),
        }
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Fetched, Failure> {
        let none = || Failure::new("read segment", "no bucket is bound: bind SEGMENTS");
        let bucket = self.bucket.as_ref().ok_or_else(none);
        let found = match fetch {
            Fetch::Object { key, range } => bucket?.get(key, range).await?.map(Fetched::Bytes),
            Fetch::Ending { key } => bucket?
                .ending(key, ENDING_BYTES)
                .await?
                .map(|(bytes, object_bytes)| Fetched::Ending(bytes, object_bytes)),
            Fetch::Inherit { path, ask } => {
                return self.inherit(path, ask).await;
            }
            Fetch::Seek { path, ask } => {
                let call = Call::Seek(ask.clone());
                return Fetched::of(calls::call(&self.namespace, path, &call).await?.into());
            }
        };
        Ok(found.unwrap_or(Fetched::Missing))
    }
}
