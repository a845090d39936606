//! Reads that need something from elsewhere: the only ones that wait.

use std::rc::Rc;

use futures_util::future::join_all;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::Response;

use super::host::ObjectHost;
use super::requester::Requester;
use crate::cloudflare::{clock, telemetry};
use crate::object::fetch::{Fetch, Fetched, PendingRead};
use crate::object::{Answer, Error, Ports};
use crate::protocol::Millis;
use crate::protocol::command::{Command, Read};
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use crate::storage::Failure;
use crate::storage::segment_file::ENDING_BYTES;

/// How long a read waits for what it needs: longer than an object waits for another one.
const FETCH_MAX: Millis = 60_000;

/// A read that needs something from elsewhere.
pub(super) struct Waiting {
    pub(super) requester: Requester,
    pub(super) read: Read,
    pub(super) pending: PendingRead,
}

/// Nothing is fetched for a reader while others hold what there is room for.
fn busy(waiting: &Waiting) -> Result<Response, JsValue> {
    waiting.requester.refuse(&Refusal::Busy { why: TOO_MUCH_IS_HELD })
}

impl ObjectHost {
    /// Fetches what a read needs, and answers with it if things are still as they were.
    pub(super) fn promise_of_fetch(self: &Rc<Self>, waiting: Box<Waiting>) -> Promise {
        match self.passed_on(waiting) {
            Ok(promise) => promise,
            Err(waiting) => self.promise_of_fetched(waiting, None),
        }
    }

    /// The same, where the first of it may be here.
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
                    // What it needs was trimmed or rotated meanwhile, or is only known now.
                    Ok(Answer::Fetch(other)) => waiting.pending = other,
                    served => {
                        // The fetched bytes are freed here; the answer counts on its own.
                        drop((fetched, holding));
                        return inner.respond(&waiting.requester, served).map(JsValue::from);
                    }
                }
            }
        })
    }

    /// What it answers with what was fetched.
    pub(super) fn resume(self: &Rc<Self>, waiting: &Waiting, fetched: &[Fetched]) -> Result<Answer, Error> {
        let Waiting { requester, read, pending } = waiting;
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (mut object, now) = (self.object.borrow_mut(), clock::now());
        // It may be another stream by now.
        let admitted = requester.admit(&mut object, &ports, &Command::Read(read.clone()), now);
        let served = admitted.and_then(|()| object.resume(&ports, read, pending, fetched, now));
        self.follow_up(object);
        served
    }

    async fn fetch_all(&self, pending: &PendingRead) -> Vec<Fetched> {
        let fetched = join_all(pending.fetches.iter().map(|fetch| self.fetch(fetch)));
        let late = || Failure::new("fetch bytes", format_args!("nothing came within {FETCH_MAX} ms"));
        match clock::within(FETCH_MAX, fetched).await {
            Some(fetched) => {
                fetched.into_iter().map(|fetched| fetched.unwrap_or_else(Fetched::Failed)).collect()
            }
            None => pending.fetches.iter().map(|_| Fetched::Failed(late())).collect(),
        }
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Fetched, Failure> {
        let none = || Failure::new("read segment", "there is no bucket");
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
        };
        Ok(found.unwrap_or(Fetched::Missing))
    }
}
