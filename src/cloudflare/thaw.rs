//! Reads that need bytes of the bucket: the only ones that wait.

use std::rc::Rc;

use futures_util::future::join_all;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::Response;

use super::asker::Asker;
use super::clock;
#[cfg(feature = "counters")]
use super::counters;
use super::reply;
use super::sockets::ObjectSockets;
use super::stream_object::Inner;
use super::upstream::unreached;
use crate::object::cold::{Cold, Fetch, Fetched};
use crate::object::{Answer, Ports, Stop};
use crate::protocol::command::{Command, Read};
use crate::protocol::fork::Told;
use crate::storage::Failure;
use crate::storage::messages::Chunk;
use crate::storage::segment_file::ENDING_BYTES;

impl Inner {
    /// Fetches what a read needs of the bucket, and answers with it if things are still as they were.
    pub(super) fn promise_of_cold(self: &Rc<Self>, asker: Asker, read: Read, cold: Cold) -> Promise {
        let inner = Rc::clone(self);
        future_to_promise(async move {
            #[cfg(feature = "counters")]
            let _busy = counters::busy(inner.name(), |_| {});
            let mut cold = cold;
            loop {
                let (served, passed) = inner.thaw(&asker, &read, &cold).await;
                match (served, passed) {
                    // What it needs was trimmed or rotated meanwhile, or is only known now.
                    (Ok(Answer::Cold(other)), _) => cold = other,
                    (Ok(Answer::Reply(reply)), Some(passed)) if reply.has_bytes() => {
                        return reply::over(&reply, passed.body()).map(JsValue::from);
                    }
                    (served, passed) => {
                        if let Some(body) = passed.and_then(|passed| passed.body()) {
                            let _nobody_reads_it = body.cancel();
                        }
                        return inner.respond(&asker, served).map(JsValue::from);
                    }
                }
            }
        })
    }

    /// What it answers, and the response whose body is the answer's, if that is passed on as it came.
    async fn thaw(
        self: &Rc<Self>,
        asker: &Asker,
        read: &Read,
        cold: &Cold,
    ) -> (Result<Answer, Stop>, Option<Response>) {
        let mut passed = None;
        let fetched = match self.fetch_all((read, cold), &mut passed).await {
            Ok(fetched) => fetched,
            Err(failure) => return (Err(failure.into()), None),
        };
        let sockets = ObjectSockets::new(&self.state);
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (mut object, now) = (self.object.borrow_mut(), clock::now());
        let served = if asker.is_stranger {
            // It may be another stream by now.
            let admitted = object.admit_stranger(&ports, &Command::Read(read.clone()), now);
            admitted.and_then(|()| object.thaw(&ports, read, (cold, &fetched), now))
        } else {
            object.thaw(&ports, read, (cold, &fetched), now)
        };
        self.follow_up(&asker.path, object);
        (served, passed)
    }

    async fn fetch_all(
        &self,
        (read, cold): (&Read, &Cold),
        passed: &mut Option<Response>,
    ) -> Result<Vec<Fetched>, Failure> {
        if let [Fetch::Inherit { path, ask }] = &cold.fetches[..] {
            let (told, response) = self.inherit(path, ask).await?;
            if let Told::Inherited(next) = told
                && cold.passes_on(next, read.mode)
            {
                *passed = Some(response);
                return Ok(vec![Fetched::Passed(next)]);
            }
            return Ok(vec![inherited(told, &response).await?]);
        }
        join_all(cold.fetches.iter().map(|fetch| self.fetch(fetch))).await.into_iter().collect()
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
                let (told, response) = self.inherit(path, ask).await?;
                return inherited(told, &response).await;
            }
        };
        Ok(found.unwrap_or(Fetched::Missing))
    }
}

async fn inherited(told: Told, response: &Response) -> Result<Fetched, Failure> {
    match told {
        Told::Inherited(next) => {
            let body = response.array_buffer().map_err(|error| unreached(&error))?;
            let body = JsFuture::from(body).await.map_err(|error| unreached(&error))?;
            Ok(Fetched::Chunk(Chunk { body: Uint8Array::new(&body).to_vec(), next }))
        }
        Told::Rotated(hot_from) => Ok(Fetched::Rotated(hot_from)),
        Told::Referenced(_) | Told::Released | Told::Walked(_) => {
            Err(Failure::new("read inherited part", format_args!("{told:?} is no answer")))
        }
    }
}
