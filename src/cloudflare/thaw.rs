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
use crate::object::read::Cold;
use crate::object::{Answer, Ports, Stop};
use crate::protocol::command::{Command, Read};
use crate::storage::Failure;

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
                    // What it needed was trimmed meanwhile.
                    Ok(Answer::Cold(other)) => cold = other,
                    served => break served,
                }
            };
            inner.respond(&asker, served).map(JsValue::from)
        })
    }

    async fn thaw(self: &Rc<Self>, asker: &Asker, read: &Read, cold: &Cold) -> Result<Answer, Stop> {
        let fetched = self.fetch(cold).await?;
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
        self.set_alarm(&asker.path, object.take_alarm());
        if object.may_have_work() {
            self.work_soon();
        }
        served
    }

    async fn fetch(&self, cold: &Cold) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let none = || Failure::new("read segment", "there is no bucket");
        let bucket = self.bucket.as_ref().ok_or_else(none)?;
        join_all(cold.parts.iter().map(|part| bucket.get(&part.key, &part.range))).await.into_iter().collect()
    }
}
