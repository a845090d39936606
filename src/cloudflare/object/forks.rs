//! Creates forks, which first need the answers of their source and its owners. The pure part is `src/object/forks.rs`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::host::ObjectHost;
use super::requester::Requester;
use crate::cloudflare::{calls, clock, telemetry};
use crate::object::links::Asking;
use crate::object::{Answer, Ports};
use crate::protocol::command::Create;

impl ObjectHost {
    /// Creates a fork: makes one call after the other until the object has all answers it needs.
    pub(super) fn promise_of_fork(
        self: &Rc<Self>,
        requester: Requester,
        request: Create<'static>,
        asking: Asking,
    ) -> Promise {
        let inner = Rc::clone(self);
        future_to_promise(async move {
            let _busy = telemetry::busy(|| inner.name(), |_| {});
            let mut asking = asking;
            let served = loop {
                let answered = calls::call(&inner.namespace, &asking.path, &asking.call).await;
                if let Err(failure) = &answered {
                    telemetry::failure(&requester.path, Some(&requester.id), failure);
                }
                let sockets = inner.sockets();
                let ports = Ports { sql: &inner.sql, sockets: &sockets };
                let mut object = inner.object.borrow_mut();
                let path = requester.path.as_str();
                let confirmed = object.confirm(&ports, path, &request, asking, answered, clock::now());
                inner.follow_up(object);
                if inner.config.debug {
                    telemetry::worked(&requester.path, "confirmed", None, inner.sql.take_row_counts());
                }
                match confirmed {
                    Ok(Answer::Ask(next)) => asking = next,
                    served => break served,
                }
            };
            inner.respond(&requester, served).map(JsValue::from)
        })
    }
}
