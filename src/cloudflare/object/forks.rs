//! Forks: waits for whoever is asked before one is created, and lets sources go.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::chores::Done;
use super::requester::Requester;
use super::stream_object::ObjectHost;
use crate::cloudflare::{calls, clock, telemetry};
use crate::object::alarm::RETRY;
use crate::object::forks::Asking;
use crate::object::{Answer, Ports};
use crate::protocol::call::{Answered, Call};
use crate::protocol::command::Create;
use crate::protocol::fork::Release;
use crate::storage::Failure;
use crate::storage::forks::Link;

impl ObjectHost {
    /// Creates a fork, which others have to be asked for.
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
                    telemetry::failure(&requester.path, failure);
                }
                let sockets = inner.sockets();
                let ports = Ports { sql: &inner.sql, sockets: &sockets };
                let mut object = inner.object.borrow_mut();
                let path = requester.path.as_str();
                let confirmed = object.confirm(&ports, path, &request, asking, answered, clock::now());
                inner.follow_up(&requester.path, object);
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

    /// Lets sources go.
    pub(super) async fn release(&self) -> Done {
        self.release_all().await.map_err(|failure| (failure, clock::now() + RETRY))
    }

    async fn release_all(&self) -> Result<(), Failure> {
        let sockets = self.sockets();
        let ports = Ports { sql: &self.sql, sockets: &sockets };
        let (mut failed, mut failure): (Option<Link>, Option<Failure>) = (None, None);
        loop {
            let next = self.object.borrow_mut().next_release(&ports, failed.as_ref());
            let before = self.sql.take_row_counts();
            let Some(link) = next? else { return failure.map_or(Ok(()), Err) };
            let call = Call::Release(Release { link: link.id.clone(), valid_until: link.valid_until });
            let answered = calls::call(&self.namespace, &link.source, &call).await;
            if answered != Ok(Answered::Released) {
                // Whoever does not answer holds up no other.
                failure = failure.or(Some(Failure::new("release source", format_args!("{answered:?}"))));
                failed = Some(link);
                continue;
            }
            self.object.borrow_mut().let_go(&ports, &link)?;
            if self.config.debug {
                let after = self.sql.take_row_counts();
                telemetry::worked(&self.name(), "released", None, before + after);
            }
        }
    }
}
