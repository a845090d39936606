//! Reads that need bytes of the bucket: the only ones that wait.

use std::rc::Rc;

use futures_util::future::join_all;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::asker::Asker;
use super::clock;
#[cfg(feature = "counters")]
use super::counters;
use super::sockets::ObjectSockets;
use super::stream_object::Inner;
use crate::object::cold::{Cold, Fetch, Fetched};
use crate::object::{Answer, Ports, Stop};
use crate::protocol::command::{Command, Read};
use crate::protocol::fork::{Question, Told};
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
            let served = loop {
                match inner.thaw(&asker, &read, &cold).await {
                    // What it needs was trimmed or rotated meanwhile, or is only known now.
                    Ok(Answer::Cold(other)) => cold = other,
                    served => break served,
                }
            };
            inner.respond(&asker, served).map(JsValue::from)
        })
    }

    async fn thaw(self: &Rc<Self>, asker: &Asker, read: &Read, cold: &Cold) -> Result<Answer, Stop> {
        let fetched = self.fetch_all(cold).await?;
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
        served
    }

    async fn fetch_all(&self, cold: &Cold) -> Result<Vec<Fetched>, Failure> {
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
                let (told, body) = self.ask_again(path, &Question::Inherit(ask.clone())).await?;
                return match told {
                    Told::Inherited(next) => Ok(Fetched::Chunk(Chunk { body, next })),
                    Told::Rotated(hot_from) => Ok(Fetched::Rotated(hot_from)),
                    Told::Referenced(_) | Told::Released | Told::Walked(_) => {
                        Err(Failure::new("read inherited part", format_args!("{told:?} is no answer")))
                    }
                };
            }
        };
        Ok(found.unwrap_or(Fetched::Missing))
    }
}
